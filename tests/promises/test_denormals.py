"""Subnormal numbers count as 0 inside, and as themselves again outside."""

import threading

import numpy as np
import pytest
import references as reference
from programs import ISAS, dense, learner, weight

from cdl import _core
from cdl._ir.program import Program

TINY = np.finfo(np.float32).tiny
SUBNORMAL = np.float32(1e-40)


def product(kernel):
    program = Program()
    program.output(dense(program, program.input((len(kernel),)), weight(kernel)))
    return program


def mode_is_the_callers():
    """Whether this thread computes with subnormal numbers, in float32 and in float64."""
    single, double = np.full(8, SUBNORMAL), np.full(8, 1e-310)
    return ((single * 1).view(np.int32) != 0).all() and ((double * 1).view(np.int64) != 0).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
def test_subnormal_inputs_and_weights_count_as_0_in_every_thread(threads, isa):
    big, small = np.full((20, 20), 1e30, np.float32), np.full((20, 20), SUBNORMAL)
    for kernel, x in ((big, SUBNORMAL), (small, np.float32(1e30))):
        executor = _core.Executor(product(kernel), 64, threads=threads, isa=isa)
        found = executor.predict([np.full((64, 20), x)])
        np.testing.assert_array_equal(found, np.zeros((64, 20)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
def test_results_below_the_smallest_normal_number_are_0_in_every_thread(threads, isa):
    executor = _core.Executor(product(np.eye(20) * 0.5), 64, threads=threads, isa=isa)
    found = executor.predict([np.full((64, 20), TINY)])
    np.testing.assert_array_equal(found, np.zeros((64, 20)))


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_moments_that_fade_away_become_0_and_never_subnormal(row):
    kernel = weight(np.ones((4, 20)))
    program = Program()
    program.output(dense(program, program.input((4,)), kernel))
    optimizer = learner(row, [kernel], **reference.OPTIMIZER_HYPERS.get(row, {}))
    for slot in optimizer[2][kernel]:
        slot.set(np.full(slot.shape, 2 * TINY))
    executor = _core.Executor(program, 4, training=True, optimizer=optimizer)
    executor.begin([np.eye(4)], 4)
    for t in range(30):
        executor.begin([np.eye(4)], 4)
        executor.forward(True)
        executor.backward(np.zeros((4, 20)), 0.01, t)
        for slot in optimizer[2][kernel]:
            values = slot.get()
            assert ((values == 0) | (np.abs(values) >= TINY)).all()
    assert np.isfinite(kernel.numpy()).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_callers_mode_is_restored_after_every_call(threads):
    assert mode_is_the_callers()
    program = product(np.eye(20))
    program.loss("mean_squared_error", program.input((20,), role="y"), program.outputs[0])
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(program, 64, training=True, optimizer=optimizer, threads=threads)
    arrays = [np.ones((128, 20)), np.ones((128, 20))]
    executor.begin(arrays, 64)
    calls = [
        lambda: executor.train(1, 1.0, [0.1], 0, 0),
        lambda: executor.test(1, 1.0),
        lambda: executor.predict(arrays),
        lambda: executor.begin(arrays, 64),
        lambda: executor.forward(True),
        lambda: executor.backward([], 0.1, 0),
        lambda: _core.check_classes(arrays[0], 3),
        lambda: program.variables[0].assign(program.variables[0].numpy()),
    ]
    for call in calls:
        call()
        assert mode_is_the_callers()


def test_the_mode_of_other_python_threads_is_theirs_too():
    executor = _core.Executor(product(np.eye(20)), 64, threads=2)
    found = []

    def work():
        for _ in range(20):
            executor.predict([np.full((64, 20), SUBNORMAL)])
            found.append(mode_is_the_callers())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 80 and all(found)


class Modes:
    """A function in Python within a program: y = x, and the modes that it was called in."""

    def __init__(self, inner=None):
        self.found, self.inner = [], inner

    def look(self):
        self.found.append(mode_is_the_callers())
        if self.inner:
            self.inner.predict([np.ones((64, 20))])
            self.found.append(mode_is_the_callers())

    def forward(self, x, training):
        self.look()
        return x

    def backward(self, x, y, dy, training):
        self.look()
        return dy


@pytest.mark.parametrize("inner", [None, 1, 3])
def test_a_function_of_the_callers_within_a_program_computes_in_the_callers_mode(inner):
    modes = Modes(inner and _core.Executor(product(np.eye(20)), 64, threads=inner))
    program = Program()
    h = dense(program, program.input((20,)), weight(np.eye(20)))
    y = dense(program, program.emit("host", [h], h.shape, function=modes), weight(np.eye(20)))
    program.output(y)
    program.loss("mean_squared_error", program.input((20,), role="y"), y)
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(program, 8, training=True, optimizer=optimizer)
    executor.begin([np.full((16, 20), 1e-20), np.ones((16, 20))], 8)
    assert executor.train(9, 100.0, [0.1], 0, 0) == 2
    assert len(modes.found) == (8 if inner else 4) and all(modes.found)
    assert mode_is_the_callers()


def test_denormals_count_as_0_again_behind_a_function_of_the_callers():
    program = Program()
    x = program.input((20,))
    h = program.emit("host", [x], x.shape, function=Modes())
    program.output(dense(program, h, weight(np.full((20, 20), 1e30))))
    found = _core.Executor(program, 8).predict([np.full((8, 20), SUBNORMAL)])
    np.testing.assert_array_equal(found, np.zeros((8, 20)))


def test_a_weight_keeps_a_subnormal_value_that_is_set():
    kernel = weight(np.full((3, 3), SUBNORMAL))
    np.testing.assert_array_equal(kernel.numpy(), np.full((3, 3), SUBNORMAL))
