"""Batches that take long are made by a thread while the core trains."""

import itertools
import threading
import time

import numpy as np
import pytest
from trainers.nets import data, net

from cdl._common import clock
from cdl.callbacks import Callback
from cdl.data import ahead
from cdl.data.ahead import Ahead
from cdl.utils import PyDataset

X, VALUES, _, _ = data(24)
MAIN = threading.current_thread().name
WAIT = 300.0  # seconds; for what comes at once if it comes at all


pytestmark = pytest.mark.usefixtures("clock")


def passes(seconds):
    """Advance cdl's clock: real times depend on the machine."""
    clock.now.seconds += seconds


class Slow:
    """A source of batches that take 2 ms; it counts them and records their threads."""

    def __init__(self):
        self.made = 0
        self.threads = []
        self.event = threading.Event()
        self.enough = 10**9  # sets the event when so many have been made

    def batch(self):
        passes(0.002)
        self.threads.append(threading.current_thread().name)
        self.made += 1
        if self.made >= self.enough:
            self.event.set()
        return X[:4], VALUES[:4]

    def generator(self, n=None):
        for _ in itertools.count() if n is None else range(n):
            yield self.batch()


class Dataset(PyDataset):
    def __init__(self, slow, n=6, **kwargs):
        super().__init__(**kwargs)
        self.slow, self.n = slow, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.slow.batch()


class Loader:
    """An iterable of batches that can be read again."""

    def __init__(self, slow, n=6):
        self.slow, self.n = slow, n

    def __iter__(self):
        return self.slow.generator(self.n)


class WaitFor(Callback):
    """Before a batch is trained on, waits until later ones have been made."""

    def __init__(self, slow, batch):
        super().__init__()
        self.slow, self.batch = slow, batch
        self.came = None

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch and self.came is None:
            self.came = self.slow.event.wait(WAIT)


def compiled():
    model = net((4, "tanh"), (2, "linear"))
    model.compile("sgd", "mse")
    return model


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("cdl-batches")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for thread in readers():
        thread.join(WAIT)
    assert not readers()


@pytest.mark.parametrize("source", [lambda slow: slow.generator(8), Loader, Dataset])
def test_slow_batches_are_made_while_the_core_trains(source):
    slow = Slow()
    slow.enough = 4
    waits = WaitFor(slow, 1)  # when batch 1 is to be trained on, batch 3 is already there
    compiled().fit(source(slow), verbose=0, callbacks=waits)
    assert waits.came
    assert slow.threads[0] == MAIN
    assert set(slow.threads[3:]) == {"cdl-batches"}


def test_quick_batches_are_made_by_the_caller():
    threads = set()

    def batches():
        for _ in range(20):
            threads.add(threading.current_thread().name)
            yield X[:4], VALUES[:4]

    compiled().fit(batches(), verbose=0)
    assert threads == {MAIN}


def test_a_generator_keeps_what_it_was_not_asked_for():
    slow = Slow()
    batches = slow.generator()
    model = compiled()
    for epochs in (1, 2, 3):
        before = slow.made
        model.fit(batches, steps_per_epoch=3, epochs=epochs, verbose=0)
        assert slow.made - before == 3 * epochs
    model.evaluate(batches, steps=2, verbose=0)
    model.predict(batches, steps=4, verbose=0)
    assert slow.made == 18 + 2 + 4
    assert next(batches)[0] is not None


def test_batches_of_the_next_epoch_are_not_made_before_it_begins():
    slow = Slow()
    made = []

    class Note(Callback):
        def on_epoch_end(self, epoch, logs=None):
            time.sleep(0.01)  # in which the thread could make some
            made.append(slow.made)

    compiled().fit(
        slow.generator(),
        steps_per_epoch=4,
        epochs=3,
        verbose=0,
        validation_data=Dataset(Slow(), 3),
        callbacks=Note(),
    )
    assert made == [4, 8, 12]


def test_results_are_those_of_reading_in_turn():
    def batches(seconds):
        for i in range(6):
            passes(seconds)
            yield X[4 * i : 4 * i + 4], VALUES[4 * i : 4 * i + 4]

    logs = [compiled().fit(batches(s), verbose=0).history for s in (0.0, 0.002)]
    assert logs[0] == logs[1]


def test_no_more_wait_than_may():
    slow = Slow()
    dataset = Dataset(slow, 10, max_queue_size=3)
    waiting = []

    class Look(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            time.sleep(0.03)  # in which a dozen could be made
            waiting.append(slow.made - batch - 1)

    compiled().fit(dataset, verbose=0, callbacks=Look())
    # Batches in work: those that wait, and one more, which is made only when one is taken.
    assert max(waiting) <= 3 + 1


def test_no_workers_make_batches_in_the_callers_thread():
    slow = Slow()
    compiled().fit(Dataset(slow, workers=0), verbose=0)
    assert set(slow.threads) == {MAIN}


def test_a_generator_within_a_data_set_without_workers_is_read_by_the_caller_alone():
    slow = Slow()

    class InMyThread(PyDataset):
        num_batches = None
        batches = slow.generator()

        def __getitem__(self, number):
            return next(self.batches)

    compiled().fit(InMyThread(workers=0), steps_per_epoch=5, epochs=2, verbose=0)
    assert set(slow.threads) == {MAIN}
    assert slow.made >= 10


def test_an_error_comes_where_its_batch_would():
    slow = Slow()

    def batches():
        yield from slow.generator(4)
        raise OSError("disk")

    model = compiled()
    with pytest.raises(OSError, match="disk") as caught:
        model.fit(batches(), verbose=0)
    assert caught.value.__notes__ == ["fit: x raised this instead of yielding batch 4"]
    assert int(model.optimizer.iterations) == 4


def test_the_thread_ends_with_a_training_that_is_stopped():
    slow = Slow()

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    compiled().fit(slow.generator(), steps_per_epoch=100, verbose=0, callbacks=Stop())
    assert slow.made < 10


class Alone:
    """An iterator that notes whether two threads are ever within it; `gate` holds it up."""

    def __init__(self):
        self.within = self.met = 0
        self.reached, self.gate = threading.Event(), threading.Event()
        self.made = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.met += self.within
        self.within += 1
        passes(0.002)
        self.made += 1
        if self.made == 3:
            self.reached.set()
            assert self.gate.wait(WAIT)
        self.within -= 1
        return X[:4], VALUES[:4]


def test_an_iterator_is_read_by_one_thread_at_a_time_also_after_a_fit_that_was_stopped(monkeypatch):
    monkeypatch.setattr(ahead, "_PATIENCE", 0.0)
    batches = Alone()

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert batches.reached.wait(WAIT)  # the thread is making another one
            self.model.stop_training = True

    compiled().fit(batches, steps_per_epoch=100, verbose=0, callbacks=Stop())
    next_fit = threading.Thread(
        target=lambda: compiled().fit(batches, steps_per_epoch=3, verbose=0)
    )
    next_fit.start()
    next_fit.join(0.2)  # as long as it takes to come to the iterator
    batches.gate.set()
    next_fit.join(WAIT)
    assert not next_fit.is_alive()
    assert batches.made == 3 + 3
    assert not batches.met


def test_what_a_context_sets_holds_in_the_thread():
    found = []

    def batches():
        for _ in range(5):
            passes(0.002)
            found.append(np.geterr()["over"])
            yield X[:4], VALUES[:4]

    with np.errstate(over="raise"):
        compiled().fit(batches(), verbose=0)
    assert set(found) == {"raise"}


def test_items_come_in_order_however_they_are_asked_for():
    def numbers():
        for i in range(12):
            passes(0.0015)
            yield i

    reader = Ahead(numbers(), 2)
    assert next(reader) == 0
    reader.expect(3)
    assert [next(reader) for _ in range(7)] == list(range(1, 8))  # more than was announced
    reader.expect(1e9)
    assert list(reader) == [8, 9, 10, 11]
    with pytest.raises(StopIteration):
        next(reader)
    reader.close()
