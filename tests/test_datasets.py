"""`cdl.datasets`, on small files that stand in for those of Keras's cache."""

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import cdl
from cdl import datasets

DRAW = np.random.RandomState(0)


def ragged(lengths):
    texts = np.empty(len(lengths), object)
    texts[:] = [DRAW.randint(1, 40, n).tolist() for n in lengths]
    return texts


def image_batch(n, *labels):
    data = DRAW.randint(0, 256, (n, 3072)).astype("uint8")
    return {b"data": data} | {name: DRAW.randint(0, 10, n).tolist() for name in labels}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (datasets.mnist.load_data, "mnist.npz"),
        (datasets.fashion_mnist.load_data, "train-labels-idx1-ubyte.gz"),
        (datasets.cifar10.load_data, "cifar-10-batches-py-target"),
        (datasets.cifar100.load_data, "cifar-100-python-target"),
        (datasets.imdb.load_data, "imdb.npz"),
        (datasets.imdb.get_word_index, "imdb_word_index.json"),
        (datasets.reuters.load_data, "reuters.npz"),
        (datasets.reuters.get_word_index, "reuters_word_index.json"),
        (datasets.boston_housing.load_data, "boston_housing.npz"),
        (datasets.california_housing.load_data, "california_housing.npz"),
    ],
)
def test_what_is_not_there_is_named_with_the_place(load, file, home):
    with pytest.raises(FileNotFoundError) as caught:
        load()
    assert file in str(caught.value)
    assert str(home) in str(caught.value)
    assert "utils.get_file" in str(caught.value)


@pytest.mark.parametrize("load", [datasets.cifar10.load_data, datasets.cifar100.load_data])
def test_what_is_read_from_a_folder_is_to_be_unpacked(load, home):
    with pytest.raises(FileNotFoundError, match=r"cache_subdir='datasets', extract=True\)"):
        load()


def test_mnist_from_the_cache_and_by_path(home, tmp_path):
    parts = {}
    for part, n in (("train", 6), ("test", 2)):
        parts[f"x_{part}"] = DRAW.randint(0, 256, (n, 28, 28)).astype("uint8")
        parts[f"y_{part}"] = DRAW.randint(0, 10, n).astype("uint8")
    np.savez(home / "mnist.npz", **parts)
    np.savez(tmp_path / "other.npz", **parts)
    for path in ("mnist.npz", str(tmp_path / "other.npz")):
        (x, y), (x_test, y_test) = datasets.mnist.load_data(path)
        assert np.array_equal(x, parts["x_train"]) and np.array_equal(y, parts["y_train"])
        assert np.array_equal(x_test, parts["x_test"]) and np.array_equal(y_test, parts["y_test"])


def test_fashion_mnist(home):
    (home / "fashion-mnist").mkdir()
    for part, n in (("train", 5), ("t10k", 2)):
        for kind, head, count in (("labels-idx1", 8, n), ("images-idx3", 16, n * 784)):
            path = home / "fashion-mnist" / f"{part}-{kind}-ubyte.gz"
            with gzip.open(path, "wb") as file:
                file.write(bytes(head) + bytes(i % 7 for i in range(count)))
    (x, y), (x_test, y_test) = datasets.fashion_mnist.load_data()
    assert x.shape == (5, 28, 28) and x_test.shape == (2, 28, 28)
    assert y.tolist() == [0, 1, 2, 3, 4] and y_test.dtype == "uint8"
    assert x[0, 0, :3].tolist() == [0, 1, 2]


def test_cifar(home):
    ten = home / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    hundred = home / "cifar-100-python-target" / "cifar-100-python"
    ten.mkdir(parents=True), hundred.mkdir(parents=True)
    batches = [image_batch(2, b"labels") for _ in range(6)]
    for name, batch in zip(
        [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], batches, strict=True
    ):
        (ten / name).write_bytes(pickle.dumps(batch, 4))
    (x, y), (x_test, y_test) = datasets.cifar10.load_data()
    assert x.shape == (10, 32, 32, 3) and y.shape == (10, 1) and y.dtype == "uint8"
    assert np.array_equal(x[2], batches[1][b"data"][0].reshape(3, 32, 32).transpose(1, 2, 0))
    assert y_test[:, 0].tolist() == batches[5][b"labels"] and x_test.shape == (2, 32, 32, 3)
    for name in ("train", "test"):
        batch = image_batch(3, b"fine_labels", b"coarse_labels")
        (hundred / name).write_bytes(pickle.dumps(batch, 4))
    (x, y), (x_test, y_test) = datasets.cifar100.load_data("coarse")
    assert y_test[:, 0].tolist() == batch[b"coarse_labels"] and x.shape == (3, 32, 32, 3)
    cdl.config.set_image_data_format("channels_first")
    try:
        assert datasets.cifar10.load_data()[0][0].shape == (10, 3, 32, 32)
    finally:
        cdl.config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="label_mode"):
        datasets.cifar100.load_data("all")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_calls_something_is_refused(home, capsys):
    folder = home / "cifar-100-python-target" / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "train").write_bytes(pickle.dumps(Evil(), 4))
    with pytest.raises(pickle.UnpicklingError, match="print"):
        datasets.cifar100.load_data()
    np.savez(home / "imdb.npz", x_train=np.array([Evil()], object))
    with pytest.raises(pickle.UnpicklingError, match="print"):
        datasets.imdb.load_data()
    assert "run" not in capsys.readouterr().out


def save_texts(home):
    parts = {
        "x_train": ragged([3, 9, 5, 2]), "y_train": np.array([0, 1, 1, 0]),
        "x_test": ragged([4, 8, 1]), "y_test": np.array([1, 0, 1]),
    }  # fmt: skip
    np.savez(home / "imdb.npz", **parts)
    np.savez(home / "reuters.npz", x=parts["x_train"], y=np.array([3, 45, 4, 4]))
    return parts


def test_imdb(home):
    parts = save_texts(home)
    (x, y), (x_test, y_test) = datasets.imdb.load_data()
    rng, order = np.random.RandomState(113), np.arange(4)
    rng.shuffle(order)
    most = max(w + 3 for part in ("train", "test") for t in parts[f"x_{part}"] for w in t)
    shifted = [[1] + [w + 3 if w + 3 < most else 2 for w in parts["x_train"][i]] for i in order]
    assert x.tolist() == shifted and y.tolist() == parts["y_train"][order].tolist()
    assert x.dtype == object and len(x_test) == len(y_test) == 3
    (x, _), _ = datasets.imdb.load_data(num_words=20, skip_top=5, oov_char=None)
    assert all(5 <= w < 20 for text in x for w in text)
    (x, y), (x_test, _) = datasets.imdb.load_data(maxlen=6, start_char=None, index_from=0)
    assert sorted(map(len, x)) == [2, 3, 5] and len(y) == 3 and len(x_test) == 2
    with pytest.raises(ValueError, match="maxlen=1"):
        datasets.imdb.load_data(maxlen=1)
    (home / "imdb_word_index.json").write_text(json.dumps({"the": 1}))
    assert datasets.imdb.get_word_index() == {"the": 1}


def test_reuters(home):
    save_texts(home)
    (x, y), (x_test, y_test) = datasets.reuters.load_data(test_split=0.5)
    assert len(x) == len(y) == len(x_test) == len(y_test) == 2
    assert all(text[0] == 1 for text in x)
    assert datasets.reuters.get_label_names()[3:5] == ("earn", "acq")
    assert len(datasets.reuters.get_label_names()) == 46


@pytest.mark.parametrize("name", ["boston_housing", "california_housing"])
def test_housing(name, home):
    x, y = DRAW.normal(size=(20, 3)), np.arange(20.0)
    np.savez(home / f"{name}.npz", x=x, y=y)
    load = getattr(datasets, name).load_data
    (_, y_train), (x_test, _) = load(test_split=0.25, seed=7)
    order = np.arange(20)
    np.random.RandomState(7).shuffle(order)
    assert np.array_equal(y_train, y[order][:15]) and np.array_equal(x_test, x[order][15:])
    with pytest.raises(ValueError, match="test_split"):
        load(test_split=1)
    if name == "california_housing":
        assert len(load("small")[0][0]) == 16
        with pytest.raises(ValueError, match="version"):
            load("tiny")


# --- get_file ---


def test_get_file_copies_from_a_local_address_once(home, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("one")
    get = cdl.utils.get_file
    path = get(origin=source.as_uri())
    assert path == str(home / "a.txt")
    source.write_text("two")
    assert Path(get("a.txt", source.as_uri())).read_text() == "one"
    assert Path(get("a.txt", source.as_uri(), force_download=True)).read_text() == "two"
    assert get("b.txt", source.as_uri(), cache_dir=tmp_path, cache_subdir="x") == str(
        tmp_path / "x" / "b.txt"
    )
    with pytest.raises(OSError, match="URL fetch failure"):
        get("c.txt", (tmp_path / "none").as_uri())
    assert not (home / "c.txt").exists()


def test_get_file_looks_at_hashes(home, tmp_path):
    import hashlib

    source = tmp_path / "a.txt"
    source.write_text("one")
    md5, sha = (hashlib.new(name, b"one").hexdigest() for name in ("md5", "sha256"))
    get = cdl.utils.get_file
    for given in ({"md5_hash": md5}, {"file_hash": sha}, {"file_hash": md5}):
        (home / "a.txt").write_text("damaged")
        assert Path(get("a.txt", source.as_uri(), **given)).read_text() == "one"
    with pytest.raises(ValueError, match="corrupted"):
        get("b.txt", source.as_uri(), file_hash="0" * 64)


def test_get_file_unpacks_what_stays_within_the_folder(home, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/x.txt", "x")
        archive.writestr("../out.txt", "x")
    get = cdl.utils.get_file
    with pytest.warns(UserWarning, match="out.txt"):
        folder = get("a.zip", (tmp_path / "a.zip").as_uri(), extract=True)
    assert folder == str(home / "a_extracted")
    assert (home / "a_extracted" / "in" / "x.txt").exists()
    assert not list(home.glob("out.txt"))
    assert get("plain", (tmp_path / "a.zip").as_uri()) == str(home / "plain")
    with pytest.warns(UserWarning, match="Could not extract"):
        get("b.zip", (tmp_path / "a.zip").as_uri(), untar=True)


def test_get_file_refuses():
    with pytest.raises(ValueError, match="origin"):
        cdl.utils.get_file("a.txt")
    with pytest.raises(ValueError, match="Paths are no longer accepted"):
        cdl.utils.get_file("a/b.txt", "file:///c")
