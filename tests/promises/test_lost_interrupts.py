"""No interrupt falls into the callback of a weak reference, where Python would ignore it."""

import contextlib
import gc
import signal
import sys

import numpy as np
import pytest

import cdl
from cdl import callbacks, layers
from cdl._common.interrupts import WeakList, held_interrupts
from cdl._common.weak_cache import WeakMap


@pytest.mark.parametrize("validation", [{}, {"validation_split": 0.25}], ids=["alone", "validated"])
def test_callbacks_of_weak_references_run_where_interrupts_wait(validation, tmp_path):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x = np.ones((32, 3), np.float32)
    watching = [
        callbacks.EarlyStopping("loss", patience=20, restore_best_weights=True),
        callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss"),
        callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", "loss", save_weights_only=True),
        callbacks.ModelCheckpoint(tmp_path / "older.h5", "loss"),
    ]
    with all_held():
        model.fit(x, x[:, :1], epochs=5, callbacks=watching, verbose=0, **validation)


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_callbacks_of_weak_references_run_where_interrupts_wait_while_a_file_is_read(
    name, tmp_path
):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    path = tmp_path / name
    weights = name.endswith("weights.h5")
    (model.save_weights if weights else model.save)(path)
    with all_held():
        _ = (model.load_weights if weights else cdl.models.load_model)(path)


def test_callbacks_of_weak_references_run_where_interrupts_wait_while_training_is_resumed(tmp_path):
    x = np.ones((32, 3), np.float32)
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])
    model.compile("adam", "mse")

    class Stop(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        model.fit(
            x,
            x[:, :1],
            epochs=3,
            verbose=0,
            callbacks=[callbacks.BackupAndRestore(tmp_path), Stop()],
        )
    with all_held():
        model.fit(
            x, x[:, :1], epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)]
        )


def test_no_callback_of_a_weak_reference_runs_as_models_and_classes_are_made_and_dropped():
    x = np.ones((8, 3), np.float32)

    def train():
        class Mine(cdl.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(1)

            def call(self, x):
                return self.dense(x)

        for model in (Mine(), cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])):
            model.compile("adam", "mse")
            model.fit(x, x[:, :1], epochs=2, verbose=0)
        cdl.models.clone_model(model)

    train()
    with callbacks_of_weak_references() as found:
        for _ in range(3):
            train()
        gc.collect()
    assert not found


@contextlib.contextmanager
def all_held():
    """Context that fails if a callback of a weak reference runs where Ctrl-C is not held."""
    with callbacks_of_weak_references() as found:
        yield
    assert found  # h5py's
    assert not any(found)


@contextlib.contextmanager
def callbacks_of_weak_references():
    """List of whether Ctrl-C is answered at once, for each callback that runs."""
    found = []

    def note(frame, event, _):
        code = frame.f_code
        is_one = any(
            file in code.co_filename and name in code.co_name
            for file, name in (("weakref", "remove"), ("weak_cache", "<lambda>"))
        )
        if event == "call" and is_one:
            found.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    gc.collect()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_an_interrupt_is_answered_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_weak_list_has_the_living():
    class Thing:
        pass

    found, kept = WeakList(), [Thing() for _ in range(300)]
    for thing in kept:
        found.add(thing)
        found.add(Thing())
    assert list(found) == kept
    assert len(found._refs) < 1000
    del kept[1:], thing
    for _ in range(1000):
        found.add(Thing())
    assert list(found) == kept
    assert len(found._refs) < 200


def test_a_weak_map_has_the_living():
    class Thing:
        pass

    found, kept = WeakMap(), [Thing() for _ in range(300)]
    for i, thing in enumerate(kept):
        found[thing] = i
        found[Thing()] = -1
    assert [found.get(thing) for thing in kept] == [*range(300)]
    assert found.get(Thing()) is None  # though it may be where a dead one was


def test_a_weak_map_drops_the_dead():
    found, held = WeakMap(), []
    for size in range(1, 60):
        sized = type("Sized", (), {"__slots__": ("__weakref__", *(f"a{i}" for i in range(size)))})
        things = [sized() for _ in range(100)]
        for thing in things:
            found[thing] = size
        held.append(things.pop())  # so that others' places are not used again
        del things, thing
    assert [found.get(thing) for thing in held] == [*range(1, 60)]
    assert len(found.pairs) < 600


@pytest.mark.parametrize("line", range(1, 25))
def test_a_weak_map_goes_on_after_an_interrupt_at_any_line(line):
    class Thing:
        pass

    found, held, left = WeakMap(), [Thing()], line

    def interrupt(frame, event, _):
        nonlocal left
        if frame.f_globals["__name__"] != WeakMap.__module__:
            return None
        left -= event == "line"
        if event == "line" and not left:
            raise KeyboardInterrupt
        return interrupt

    sys.settrace(interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            for thing in held:
                found[thing] = 0
            del held[0], thing
            for number in range(2):
                held.append(Thing())
                found[held[-1]] = number
    finally:
        sys.settrace(None)
    held = [Thing() for _ in range(20)]  # which have the identities of those that are dead
    for number, thing in enumerate(held):
        found[thing] = number
    assert [found.get(thing) for thing in held] == [*range(20)]
    del held[1:], thing
    for _ in range(60):
        found[Thing()] = 0
    assert set(found.pairs) <= set(found._keys)
    assert len(found.pairs) < 10
