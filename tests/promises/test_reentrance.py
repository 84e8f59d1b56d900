"""Predictions and trainings in many Python threads at once are right."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import references as reference
from programs import dense, learner, mlp, weight

from cdl import _core
from cdl._ir.program import Program
from cdl.layers import Dense, Input
from cdl.models import Sequential


def net(seed=0, widths=(20, 70, 5)):
    rng = np.random.default_rng(seed)
    program, y = mlp(rng, widths, "tanh", last="softmax")
    program.loss("sparse_categorical_crossentropy", program.input((), "int32", "y"), y)
    x = rng.normal(size=(300, widths[0])).astype(np.float32)
    return program, [x, x[:, : widths[-1]].argmax(1)]


def scores(seed=0, widths=(20, 70, 5)):
    program, _ = mlp(np.random.default_rng(seed), widths, "tanh", last="softmax")
    return program.fused(training=False)


def trained(seed, threads):
    """All weights after two epochs."""
    program, arrays = net(seed)
    hypers = reference.OPTIMIZER_HYPERS["adam"]
    optimizer = learner("adam", program.variables, **hypers)
    executor = _core.Executor(
        program.fused(), 32, training=True, optimizer=optimizer, threads=threads
    )
    done = 0
    for _ in range(2):
        executor.begin(arrays, 32)
        for _ in range(10):
            done += 1
            executor.train(1, 1e9, [0.01], done, 0)
    return np.concatenate([v.numpy().ravel() for v in program.variables])


def at_once(work, arguments):
    """Results of work(a) for all arguments, in as many threads, started together."""
    start = threading.Barrier(len(arguments))

    def task(argument):
        start.wait()
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(task, arguments))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_one_executor_predicts_in_8_threads_at_once(training, threads):
    executor = _core.Executor(scores(), 16, training=training, threads=threads)
    rng = np.random.default_rng(1)
    # long enough that the calls overlap
    inputs = [rng.normal(size=(4000 + 37 * i, 20)).astype(np.float32) for i in range(8)]
    expected = [_core.Executor(scores(), 16, threads=1).predict([x]) for x in inputs]

    def predict_often(i):
        return [executor.predict([inputs[i]]) for _ in range(5)]

    for found, right in zip(at_once(predict_often, range(8)), expected, strict=True):
        for y in found:
            np.testing.assert_array_equal(y, right)


@pytest.mark.parametrize("threads", [1, 2])
def test_8_models_train_in_8_threads_at_once_each_to_its_own_bits(threads):
    expected = [trained(seed, 1) for seed in range(8)]
    for found, right in zip(
        at_once(lambda s: trained(s, threads), range(8)), expected, strict=True
    ):
        np.testing.assert_array_equal(found, right)


def test_steps_that_two_trainings_began_at_one_count_are_all_counted():
    program, arrays = net()
    optimizer, counter = learner("sgd", program.variables), np.zeros(1, np.int64)
    found = [_core.Executor(program, 32, training=True, optimizer=optimizer) for _ in range(2)]
    for executor in found:
        executor.count_in(counter)
        executor.begin(arrays, 32)
    for executor in found:
        executor.train(2, 1e9, [0.01], 0, 0)
        assert executor.done == 2
    assert counter == [4]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_predicts_in_one_thread_while_it_trains_in_another(threads):
    program, arrays = net()
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(
        program.fused(), 32, training=True, optimizer=optimizer, threads=threads
    )
    stop = threading.Event()
    sums = []

    def keep_predicting():
        while not stop.is_set():
            sums.append(np.abs(executor.predict(arrays).sum(-1) - 1).max())

    watcher = threading.Thread(target=keep_predicting)
    watcher.start()
    try:
        epoch = 0
        while epoch < 30 or len(sums) < 3:  # until the other has had its turn
            executor.begin(arrays, 32)
            executor.train(10**6, 1e9, [0.0], epoch * 10, 0)
            epoch += 1
    finally:
        stop.set()
        watcher.join()
    assert max(sums) < 1e-5


class Gate:
    """A function in Python within a program: y = x, once the gate is open."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def forward(self, x, training):
        self.reached.set()
        assert self.open.wait(500)
        return x

    def backward(self, x, y, dy, training):
        return dy


def test_a_second_training_of_one_executor_is_refused_and_the_first_goes_on():
    program, gate = Program(), Gate()
    x = program.input((20,))
    h = dense(program, x, weight(np.eye(20)))
    y = program.emit("host", [h], h.shape, function=gate)
    program.output(y)
    program.loss("mean_squared_error", program.input((20,), role="y"), y)
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(program.fused(), 16, training=True, optimizer=optimizer, threads=1)
    arrays = [np.ones((64, 20), np.float32)] * 2
    executor.begin(arrays, 16)
    trained = []
    first = threading.Thread(target=lambda: trained.append(executor.train(4, 1e9, [0.1], 0, 0)))
    first.start()
    assert gate.reached.wait(500)
    for call in (lambda: executor.test(0, 0.0), lambda: executor.begin(arrays, 16)):
        with pytest.raises(RuntimeError, match="already training or evaluating"):
            call()
    gate.open.set()
    first.join()
    assert trained == [4]


def test_building_and_dropping_executors_in_threads_leaves_the_weights_alone():
    program = scores()
    before = [v.numpy() for v in program.variables]

    def build(_):
        for _ in range(20):
            _core.Executor(program, 8, training=True).predict([np.zeros((4, 20))])

    at_once(build, range(4))
    for v, values in zip(program.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), values)


@pytest.fixture
def other():
    """The turns of a thread that gets the GIL only when another one releases it."""
    turns, over = [0], threading.Event()

    def take_turns():
        while not over.is_set():
            turns[0] += 1
            time.sleep(0)  # gives the lock away, and waits for it

    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    thread = threading.Thread(target=take_turns)
    thread.start()
    yield turns
    over.set()
    thread.join()
    sys.setswitchinterval(before)


def test_a_prediction_of_little_work_keeps_pythons_lock(other):
    """Threads that make such calls on one model are thus as fast together as one alone."""
    model = Sequential([Input((100,)), Dense(64, "relu"), Dense(10, "softmax")])
    executor = _core.Executor(scores(), 16)
    x, rows = np.ones((1, 100), np.float32), [np.ones((3, 20))]
    model.predict(x, verbose=0)
    before = other[0]
    for _ in range(1000):
        model.predict(x, verbose=0)
        executor.predict(rows)
    assert other[0] == before


def test_a_prediction_of_more_work_gives_it_away(other):
    executor = _core.Executor(scores(widths=(512, 512, 5)), 256)
    x = np.ones((5000, 512), np.float32)
    before = other[0]
    for _ in range(1000):
        executor.predict([x])
        if other[0] > before:
            break
    assert other[0] > before
