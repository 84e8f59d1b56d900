"""Atomic writes: a file is the old one or the new one, whatever happens to its writer."""

import errno
import gc
import os
import sys

import h5py
import numpy as np
import pytest

from cdl.layers import Dense, Input
from cdl.models import Sequential, load_model

NAMES = ("a.keras", "a.weights.h5")


def net(value):
    model = Sequential([Input((4,)), Dense(30), Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.set_weights([np.full(w.shape, value) for w in model.get_weights()])
    return model


def save(model, path):
    (model.save_weights if path.name.endswith(".h5") else model.save)(path)


def value_in(path):
    """The value that all weights in a file of `net` have."""
    model = net(0)
    if path.name.endswith(".h5"):
        model.load_weights(path)
    else:
        model = load_model(path)
    values = {float(v) for w in model.get_weights() for v in w.ravel()}
    assert len(values) == 1
    return values.pop()


# Code in front of the scripts of the processes below.
PRELUDE = """if True:
    import errno, os, resource, signal, sys, time
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + '/helpers']
    from saving.test_atomic import NAMES, net, save, value_in

    def child(act):
        pid = os.fork()
        if pid == 0:
            try:
                act()
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        return pid

    def ended_well(pid):
        return os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture
def run(run_python, root):
    """Run code after the prelude, in an empty folder."""

    def run_code(code):
        done = run_python(PRELUDE.format(tests=str(root / "tests")) + code, check=False)
        assert done.returncode == 0, done.stderr

    return run_code


@pytest.mark.parametrize(
    "times", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])]
)
def test_process_may_be_killed_at_any_moment(times, run):
    run(f"""
    import random
    draw = random.Random({times})
    one, two = net(1), net(2)
    for name in NAMES:
        path = Path(name)
        save(one, path)
        seen = set()
        for i in range({times}):
            def forever():
                while True:
                    save(two, path)
                    save(one, path)
            pid = child(forever)
            time.sleep(draw.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            seen.add(value_in(path))
        assert seen <= {{1.0, 2.0}}, seen
        assert {times} < 100 or seen == {{1.0, 2.0}}, seen
        left = [each for each in os.listdir() if each not in NAMES]
        # A name is there for the blink between having all and being the file.
        assert len(left) <= 2 + {times} // 20, left
        for each in left:
            os.unlink(each)
    """)


def test_full_disk_leaves_the_old_file_and_says_where(run):
    run("""
    one, two = net(1), net(2)
    for name in NAMES:
        path = Path(name)
        save(one, path)
        size = path.stat().st_size
        for limit in (*range(0, size, max(1, size // 12)), size - 1):
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                save(two, path)
            except OSError as error:
                assert error.filename == name and error.errno == errno.EFBIG, repr(error)
            else:
                raise AssertionError(f"{limit} bytes were enough for {name}")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert value_in(path) == 1
            assert set(os.listdir()) <= set(NAMES), os.listdir()
        save(two, path)
        assert value_in(path) == 2
    """)


def test_saving_needs_room_for_the_new_file_and_no_other(run):
    """An audit hook sees every file that is written beside the old one."""
    run("""
    opened = []

    def note(event, args):
        if event == "open" and isinstance(args[0], str):
            if args[2] & (os.O_WRONLY | os.O_RDWR):
                opened.append(args[0])

    model = net(1)
    ways = {"a.keras": model.save, "a.h5": model.save, "a.weights.h5": model.save_weights}
    for name, way in ways.items():
        way(name)
    sys.addaudithook(note)
    for name, way in ways.items():
        opened.clear()
        way(name)
        assert len(opened) == 1, (name, opened)
    """)


def test_full_disk_takes_a_new_file_beside_the_old_one_or_stays_as_it_was(run):
    """The disk is one of the test's own, where this system lets it have one."""
    run("""
    import subprocess
    from cdl.layers import Dense, Input
    from cdl.models import Sequential

    def big(value):
        model = Sequential([Input((700,)), Dense(1000)])
        model.compile("sgd", "mse")
        model.set_weights([np.full(w.shape, value) for w in model.get_weights()])
        return model

    import numpy as np
    Path("disk").mkdir()
    big(1).save("there.keras")
    size = Path("there.keras").stat().st_size // 1024  # KB
    for room, fits in ((2.5, True), (1.5, False)):
        given = f"size={int(room * size)}k"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", given, "none", "disk"], capture_output=True
        )
        if mounted.returncode:
            break
        try:
            path = Path("disk", "a.keras")
            big(1).save(path)
            free = os.statvfs("disk").f_bavail
            try:
                big(2).save(path)
            except OSError as error:
                assert error.errno == errno.ENOSPC and error.filename == str(path), repr(error)
                assert not fits
            else:
                assert fits
            from cdl.models import load_model
            assert load_model(path).get_weights()[0][0, 0] == 1 + fits
            assert os.listdir("disk") == ["a.keras"]
            assert os.statvfs("disk").f_bavail == free
        finally:
            subprocess.run(["umount", "disk"], check=True)
    """)


@pytest.mark.parametrize("name", NAMES)
def test_missing_folder_is_an_error_with_its_name_and_is_not_made(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="missing") as caught:
        save(net(1), tmp_path / "missing" / name)
    assert caught.value.filename == str(tmp_path / "missing" / name)
    assert list(tmp_path.iterdir()) == []


def test_folder_or_file_that_may_not_be_written_is_an_error_with_its_name(run):
    run("""
    folder = Path("closed")
    folder.mkdir()
    for name in NAMES:
        save(net(1), folder / name)
        (folder / name).chmod(0o444)
    folder.chmod(0o555)
    Path("open").mkdir()
    for name in NAMES:
        save(net(1), Path("open", name))
        Path("open", name).chmod(0o444)
    Path("open").chmod(0o777)

    def try_all():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        for path in [Path(a, b) for a in ("closed", "open") for b in (*NAMES, "b.keras")]:
            if path == Path("open", "b.keras"):
                continue
            try:
                save(net(2), path)
            except PermissionError as error:
                assert error.filename == str(path), repr(error)
            else:
                raise AssertionError(f"{path} was written")

    os.chmod(".", 0o755)
    assert ended_well(child(try_all))
    for name in NAMES:
        assert value_in(folder / name) == value_in(Path("open", name)) == 1
    folder.chmod(0o755)
    """)


@pytest.mark.parametrize("name", NAMES)
def test_mode_is_what_open_would_give(name, tmp_path):
    path = tmp_path / name
    umask = os.umask(0o027)
    try:
        save(net(1), path)
        (tmp_path / "plain").write_text("")
        assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
        path.chmod(0o606)
        save(net(2), path)
        assert path.stat().st_mode & 0o777 == 0o606
    finally:
        os.umask(umask)


@pytest.mark.parametrize("name", NAMES)
def test_link_stays_and_what_it_leads_to_is_replaced(name, tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / name, tmp_path / name
    link.symlink_to(target)
    save(net(1), link)  # the target is not there yet
    assert value_in(target) == 1
    save(net(2), link)
    assert link.is_symlink()
    assert value_in(target) == value_in(link) == 2
    assert sorted(os.listdir(tmp_path)) == sorted([name, "there"])
    assert os.listdir(tmp_path / "there") == [name]


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_a_file_is_an_error_with_its_name(name, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / name)
    (tmp_path / name).symlink_to(tmp_path / "loop")
    with pytest.raises(OSError) as caught:
        save(net(1), tmp_path / name)
    assert caught.value.errno == errno.ELOOP
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        save(net(1), tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(OSError, match=r"file\.txt"):
        save(net(1), tmp_path / "file.txt" / name)


def test_without_files_that_have_no_name_it_is_the_same(tmp_path, monkeypatch):
    plainly = os.open

    def without(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return plainly(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", without)
    path = tmp_path / "a.keras"
    save(net(1), path)
    assert value_in(path) == 1
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(net(2), path)
    assert os.listdir(tmp_path) == ["a.keras"]
    assert value_in(path) == 1


def test_a_save_that_is_interrupted_as_it_closes_hdf5_says_nothing_later(tmp_path, monkeypatch):
    def interrupted(file, *error):
        raise KeyboardInterrupt

    said = []
    model = net(1.0)
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(h5py.File, "__exit__", interrupted)
        for name in ("m.keras", "m.weights.h5"):
            save = model.save if name == "m.keras" else model.save_weights
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path / name)
            gc.collect()
    assert said == [] and list(tmp_path.iterdir()) == []
    model.save(tmp_path / "m.keras")
