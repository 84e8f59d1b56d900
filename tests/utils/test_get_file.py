"""`get_file`: the cache folder, and downloads that are cut off."""

import gzip
import http.server
import io
import os
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest

import cdl
from cdl._common import keras_home
from cdl._common.keras_home import cache_folder, in_cache

get_file = cdl.utils.get_file


@pytest.fixture
def serve():
    """Serve one answer: headers and a body, after which the connection is closed."""
    servers = []

    def start(body, **headers):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/d.bin"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("one two three")
    return path.as_uri()


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The temporary folder of all users of a machine, where another one has put a file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    theirs = tmp_path / "tmp" / ".keras" / "datasets" / "words.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("another user's")
    return theirs


# --- the folder ---


@pytest.mark.parametrize("given", ["cache", "a/b/c", Path("p"), "~/there"])
def test_a_cache_that_is_not_there_is_made(given, source, shared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = Path(get_file(origin=source, cache_dir=given))
    assert path == Path(os.path.expanduser(given)) / "datasets" / "words.txt"
    assert path.read_text() == "one two three"
    assert capsys.readouterr().out == f"Downloading data from {source}\n"
    assert shared.read_text() == "another user's"


def test_the_cache_of_keras_home_is_made(source, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "k" / "home"))
    path = tmp_path / "k" / "home" / "datasets" / "words.txt"
    assert get_file(origin=source) == str(path) and path.read_text() == "one two three"


def test_a_whole_path_as_subfolder_needs_no_cache(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "none"))
    path = get_file(origin=source, cache_subdir=str(tmp_path / "whole"))
    assert Path(path).read_text() == "one two three" and Path(path).parent.name == "whole"


@pytest.mark.parametrize("how", ["file", "rights"])
@pytest.mark.parametrize("told", [True, False])
def test_a_cache_that_cannot_be_written_is_refused(
    told, how, source, shared, tmp_path, monkeypatch
):
    folder = tmp_path / "home"
    if how == "file":
        folder.write_text("a file in the place of the folder")
    else:  # root may write anywhere
        (folder / "datasets").mkdir(parents=True)
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setenv("KERAS_HOME", str(folder))
    with pytest.raises(OSError, match="must be a folder that can be written") as caught:
        get_file(origin=source, **({"cache_dir": folder} if told else {}))
    assert str(folder) in str(caught.value) and "KERAS_HOME" in str(caught.value)
    assert shared.read_text() == "another user's"


def test_a_file_of_a_cache_that_cannot_be_written_is_used(source, tmp_path, monkeypatch):
    path = get_file(origin=source, cache_dir=tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert get_file(origin=source, cache_dir=tmp_path) == path
    with pytest.raises(OSError, match="written"):
        get_file(origin=source, cache_dir=tmp_path, force_download=True)
    assert Path(path).read_text() == "one two three"


def test_a_home_that_nobody_knows_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    for call in (lambda: get_file(origin=source), lambda: in_cache("models", "a", "b", "c")):
        with pytest.raises(OSError, match="KERAS_HOME"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["words.txt"]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o773])
def test_a_home_in_which_all_may_write_is_told_of(mode, source, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras").chmod(mode)
    with pytest.warns(UserWarning, match=r"\.keras.*every user of this machine may write"):
        get_file(origin=source)
    (tmp_path / ".keras" / "datasets" / "mnist.npz").write_text("")
    with pytest.warns(UserWarning, match="every user of this machine may write"):
        in_cache("datasets", "mnist.npz", "", "mnist.load_data")
    (tmp_path / ".keras").chmod(0o755)
    get_file(origin=source)


def test_a_home_of_another_user_is_told_of(source, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    get_file(origin=source)
    real = os.stat

    def as_seen(path, **kwargs):
        found = list(real(path, **kwargs))
        found[4] = 4242 if str(path).endswith(".keras") else found[4]
        return os.stat_result(found)

    monkeypatch.setattr(keras_home.os, "stat", as_seen)
    with pytest.warns(UserWarning, match="belongs to another user"):
        get_file(origin=source)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / ".keras"))
    get_file(origin=source)  # the user says that it is theirs


def test_no_room_uses_the_folder_of_all_users(root):
    named = [p for p in (root / "cdl").rglob("*.py") if "gettempdir" in p.read_text()]
    assert not named
    assert cache_folder("x", None) != os.path.join(tempfile.gettempdir(), ".keras")


# --- a download that is cut off ---


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 1000, {"Content_Length": "100000"}),
        (b"", {"Content_Length": "1"}),
        (b"3e8\r\n" + b"x" * 500, {"Transfer_Encoding": "chunked"}),
        (b"3e8\r\n" + b"x" * 1000 + b"\r\n", {"Transfer_Encoding": "chunked"}),
    ],
    ids=["short", "empty", "half a chunk", "no last chunk"],
)
def test_a_download_that_is_cut_off_leaves_nothing(body, headers, serve, tmp_path):
    url = serve(body, **headers)
    with pytest.raises(OSError, match="URL fetch failure") as caught:
        get_file("d.bin", url, cache_dir=tmp_path)
    assert url in str(caught.value)
    assert not list((tmp_path / "datasets").iterdir())


def test_a_download_that_is_cut_off_leaves_the_older_file(serve, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "d.bin").write_text("older")
    with pytest.raises(OSError, match="URL fetch failure"):
        get_file("d.bin", serve(b"x", Content_Length="9"), cache_dir=tmp_path, force_download=True)
    with pytest.raises(ValueError, match="corrupted"):
        get_file("d.bin", serve(b"x"), cache_dir=tmp_path, force_download=True, file_hash="0" * 64)
    assert (tmp_path / "datasets" / "d.bin").read_text() == "older"
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_a_file_with_another_hash_is_not_kept(serve, tmp_path):
    with pytest.raises(ValueError, match="corrupted"):
        get_file("d.bin", serve(b"x"), cache_dir=tmp_path, md5_hash="0" * 32)
    assert not list((tmp_path / "datasets").iterdir())


@pytest.mark.parametrize("headers", [{"Content_Length": "1000"}, {}])
def test_a_download_of_all_its_bytes_is_kept(headers, serve, tmp_path):
    path = get_file("d.bin", serve(b"x" * 1000, **headers), cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"x" * 1000


def test_an_archive_that_is_cut_off_is_loaded_again(serve, tmp_path):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        info = tarfile.TarInfo("a/big.bin")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    cut = serve(whole.getvalue()[:50_000])  # of a server that says no length
    given = {"cache_dir": tmp_path, "extract": True}
    with pytest.raises((OSError, EOFError, tarfile.ReadError, gzip.BadGzipFile)):
        get_file("a.tar.gz", cut, **given)
    assert not (tmp_path / "datasets" / "a.tar.gz").exists()
    folder = get_file("a.tar.gz", serve(whole.getvalue()), **given)
    assert (Path(folder) / "a" / "big.bin").stat().st_size == 100_000


def test_threads_that_load_one_file_do_not_mix_it(serve, tmp_path):
    url, found = serve(b"x" * 200_000, Content_Length="200000"), []
    threads = [
        threading.Thread(target=lambda: found.append(get_file("d", url, cache_dir=tmp_path)))
        for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 6 and Path(found[0]).read_bytes() == b"x" * 200_000
    assert len(list((tmp_path / "datasets").iterdir())) == 1
