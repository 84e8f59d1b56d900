"""`cdl.serving.ModelHolder`: the file changes, and what serves is always a whole, tried model."""

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from saving import hostile

import cdl
from cdl.serving import ModelHolder, model_holder

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)


def model(value=1.0, width=6):
    """A net whose outputs are all `value`."""
    made = cdl.Sequential([cdl.Input((width,)), cdl.layers.Dense(2, name="dense")])
    made.set_weights([np.zeros((width, 2)), np.full(2, value)])
    return made


def until(happens):
    """Wait for what another thread does, however busy the machine is."""
    for _ in range(60_000):
        if happens():
            return
        time.sleep(0.005)
    pytest.fail("it never happened")


@pytest.fixture
def path(tmp_path):
    model(1.0).save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def served(holder):
    return float(holder.predict(X[:1])[0, 0])


def test_a_new_file_is_served_without_a_word_of_the_users(path):
    with ModelHolder(path, every=0.01) as holder:
        assert served(holder) == 1.0
        model(2.0).save(path)
        until(lambda: served(holder) == 2.0)
        until(lambda: holder.health()["loads"] == 2)
        assert holder.health()["healthy"]


def test_a_file_that_did_not_change_is_not_loaded_again(path, monkeypatch):
    with ModelHolder(path, every=None) as holder:
        first = holder.model
        for _ in range(3):
            holder._look()
        assert holder.model is first
        holder.reload()
        assert holder.model is not first


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def of_other_inputs(path):
    model(2.0, width=7).save(path)


def missing(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def text(path):
    path.write_text("no model")


def empty(path):
    path.write_bytes(b"")


BAD = [cut, flipped, of_other_inputs, missing, a_folder, a_pipe, text, empty]


def remove(path):
    if path.is_dir():
        path.rmdir()
    elif path.exists():
        path.unlink()


@pytest.mark.parametrize("spoil", BAD)
def test_a_bad_file_leaves_the_old_model_and_the_next_good_one_is_taken(path, spoil):
    with ModelHolder(path, every=0.01, warm_up=X) as holder:
        spoil(path)
        until(lambda: not holder.health()["healthy"])
        assert served(holder) == 1.0
        report = holder.health()
        assert report["loads"] == 1 and report["failures"] >= 1 and report["error"]
        with pytest.raises((ValueError, OSError)):
            holder.reload()
        remove(path)
        model(3.0).save(path)
        until(lambda: served(holder) == 3.0)
        assert json.loads(json.dumps(holder.health()))["error"] is None


@pytest.mark.parametrize("name", hostile.ZIPS)
def test_hostile_files_are_refused(path, name):
    with ModelHolder(path, every=None) as holder:
        members = hostile.contents(path)
        path.unlink()
        make, _ = hostile.ZIPS[name]
        make(path, members)
        with pytest.raises((ValueError, OSError)):
            holder.reload()
        assert served(holder) == 1.0


@pytest.mark.parametrize("spoil", [cut, missing, text])
def test_a_bad_file_at_the_beginning_is_an_error(path, spoil):
    before = threading.active_count()
    spoil(path)
    with pytest.raises(ValueError, match=r"net\.keras"):
        ModelHolder(path)
    assert threading.active_count() == before


def test_a_missing_file_at_the_beginning_is_told_as_such(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        ModelHolder(tmp_path / "none.keras")
    assert caught.value.errno == errno.ENOENT


def test_a_bad_file_is_told_once_in_the_log(path, caplog):
    with ModelHolder(path, every=None) as holder:
        text(path)
        holder._again_at = 0.0
        for _ in range(3):
            holder._look()
            holder._again_at = 0.0  # it is tried each time
        assert holder.health()["failures"] == 3
    told = [each for each in caplog.records if "the model that serves stays" in each.message]
    assert len(told) == 1


def test_a_bad_file_is_tried_again_after_growing_pauses_only(path, clock):
    clock.seconds = 0.0
    with ModelHolder(path, every=None) as holder:
        holder._every = 1.0
        text(path)
        tried = []
        for second in range(400):
            clock.seconds = float(second)
            before = holder.health()["failures"]
            holder._look()
            if holder.health()["failures"] > before:
                tried.append(second)
        assert tried[:4] == [0, 3, 8, 17]
        assert max(np.diff(tried)) == 61


def test_what_fails_for_a_while_and_is_no_change_of_the_file_is_tried_again(path, monkeypatch):
    with ModelHolder(path, every=None) as holder:
        model(2.0).save(path)
        with monkeypatch.context() as patch:
            patch.setattr(model_holder, "load_model", lambda *a, **k: 1 / 0)
            holder._look()
        assert served(holder) == 1.0
        assert holder.health()["error"].startswith("ZeroDivisionError")
        holder._again_at = 0.0
        holder._look()
        assert served(holder) == 2.0


def test_a_killed_writer_leaves_the_old_model(path):
    code = f"""if True:
        import os, cdl
        from cdl.saving import weights
        made = cdl.saving.load_model({str(path)!r})
        made.set_weights([2 + each for each in made.get_weights()])
        def killed(*args, **kwargs):
            os.kill(os.getpid(), {signal.SIGKILL})
        weights.write = killed
        made.save({str(path)!r})
    """
    with ModelHolder(path, every=None) as holder:
        assert (
            subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
        )
        holder._look()
        assert served(holder) == 1.0 and holder.health()["loads"] == 1
        assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_written_in_pieces_is_taken_when_it_is_whole(path, tmp_path):
    model(2.0).save(tmp_path / "other.keras")
    data = (tmp_path / "other.keras").read_bytes()
    with ModelHolder(path, every=None) as holder, path.open("wb", buffering=0) as file:
        for start in range(0, len(data), -(-len(data) // 8)):
            assert served(holder) == 1.0
            file.write(data[start : start - (-len(data) // 8)])
            holder._look()
        assert served(holder) == 2.0


def test_a_link_that_is_set_anew_is_a_change(path, tmp_path):
    model(2.0).save(tmp_path / "b.keras")
    link = tmp_path / "current.keras"
    link.symlink_to(path)
    with ModelHolder(link, every=None) as holder:
        (tmp_path / "next").symlink_to(tmp_path / "b.keras")
        os.replace(tmp_path / "next", link)
        holder._look()
        assert served(holder) == 2.0


def test_requests_are_answered_during_a_slow_load(path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    load = model_holder.load_model

    def slow(*args, **kwargs):
        begun.set()
        assert go_on.wait(500)
        return load(*args, **kwargs)

    with ModelHolder(path, every=0.01) as holder:
        monkeypatch.setattr(model_holder, "load_model", slow)
        model(2.0).save(path)
        assert begun.wait(500)
        assert [served(holder) for _ in range(20)] == [1.0] * 20
        assert holder.health()["healthy"]
        go_on.set()
        until(lambda: served(holder) == 2.0)


def test_answers_are_those_of_one_model_or_the_other(path):
    with ModelHolder(path, every=0.005) as holder:
        found, stop = set(), threading.Event()

        def ask():
            while not stop.is_set():
                found.update(map(tuple, holder.predict(X).tolist()))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for value in (2.0, 3.0, 4.0):
            model(value).save(path)
            until(lambda value=value: served(holder) == value)
        stop.set()
        for thread in threads:
            thread.join()
        assert found <= {(value, value) for value in (1.0, 2.0, 3.0, 4.0)}


def test_a_function_may_refuse_a_model(path):
    def accurate(new):
        if new.predict(X, verbose=0)[0, 0] > 1.5:
            raise ValueError("too large")

    with ModelHolder(path, every=None, warm_up=accurate) as holder:
        model(2.0).save(path)
        with pytest.raises(ValueError, match="too large"):
            holder.reload()
        assert served(holder) == 1.0
        assert holder.health()["error"] == "ValueError: too large"


def test_the_first_request_finds_its_program_made(path):
    with ModelHolder(path, every=None) as holder:
        assert holder.model._predictors_made is not None


def test_models_of_several_inputs_and_of_open_sizes_are_served(tmp_path):
    a, b = cdl.Input((2,), name="a"), cdl.Input((None, 3), name="b")
    pooled = cdl.layers.GlobalAveragePooling1D()(b)
    net = cdl.Model({"a": a, "b": b}, cdl.layers.Concatenate()([a, pooled]))
    net.save(tmp_path / "net.keras")
    x = {"a": np.ones((1, 2)), "b": np.ones((1, 4, 3))}
    with ModelHolder(tmp_path / "net.keras", every=None) as holder:
        assert holder.predict(x).shape == (1, 5)


def test_classes_of_the_users_are_given(tmp_path):
    class Mine(cdl.layers.Dense):
        pass

    cdl.Sequential([cdl.Input((6,)), Mine(2)]).save(tmp_path / "a.keras")
    with pytest.raises(TypeError, match="Mine"):
        ModelHolder(tmp_path / "a.keras")
    with ModelHolder(tmp_path / "a.keras", custom_objects={"Mine": Mine}) as holder:
        assert holder.predict(X).shape == (8, 2)


def test_after_close_no_model_is_swapped_in_and_no_thread_is_left(path):
    before = threading.active_count()
    holder = ModelHolder(path, every=0.01)
    assert threading.active_count() == before + 1
    holder.close()
    holder.close()
    assert threading.active_count() == before
    model(2.0).save(path)
    holder.reload()
    assert served(holder) == 1.0
    assert not holder.health()["watching"]


def test_a_holder_that_nobody_has_ends_its_thread(path):
    before = threading.active_count()
    holder = ModelHolder(path, every=0.01)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    until(lambda: gone() is None and threading.active_count() == before)


def test_a_forked_child_follows_the_file_by_itself(path):
    with ModelHolder(path, every=0.01) as holder:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                model(2.0).save(path)
                until(lambda: served(holder) == 2.0)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        until(lambda: served(holder) == 2.0)


@pytest.mark.parametrize("every", [0, -1, "1", float("nan"), float("inf"), 1e12])
def test_every_must_be_a_number_of_seconds(path, every):
    with pytest.raises(ValueError, match="ModelHolder: every must be a number of seconds above 0"):
        ModelHolder(path, every=every)


def test_a_misspelt_argument_is_told(path):
    with pytest.raises(TypeError, match="did you mean 'every'"):
        ModelHolder(path, evry=1)
