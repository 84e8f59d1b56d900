"""test_interrupt.py - a signal is heard in a long call, and the executor stays usable."""

import signal
import time

import numpy as np
import pytest
from programs import learner, mlp

from cdl import _core


class AlarmError(Exception):
    """What the signal's handler raises."""


@pytest.fixture
def alarm():
    """Lets a signal raise AlarmError after some seconds."""

    def handler(*_):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def long_net():
    program, y = mlp(np.random.default_rng(0), [64, 256, 64])
    program.loss("mean_squared_error", program.input((64,), role="y"), y)
    return program, [np.broadcast_to(np.float32(1), (4_000_000, 64))] * 2


@pytest.mark.measures
def test_a_long_prediction_ends_at_a_signal_within_100_ms_and_the_next_one_is_right(alarm):
    program, _ = mlp(np.random.default_rng(0), [64, 256, 64])
    executor = _core.Executor(program.fused(), 64, threads=1)
    x = np.broadcast_to(np.float32(1), (1_000_000, 64))
    start = time.monotonic()
    alarm(0.1)
    with pytest.raises(AlarmError):
        executor.predict([x])
    assert time.monotonic() - start < 0.3
    few = np.ones((5, 64))
    expected = _core.Executor(program.fused(), 5).predict([few])
    np.testing.assert_array_equal(executor.predict([few]), expected)


@pytest.mark.measures
@pytest.mark.parametrize("threads", [1, 2])
def test_a_pass_returns_when_its_time_is_up(threads):
    program, arrays = long_net()
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(
        program.fused(), 128, training=True, optimizer=optimizer, threads=threads
    )
    executor.begin(arrays, 128)
    executor.train(1, 1e9, [0.0], 0, 0)
    for run in (
        lambda: executor.train(10**9, 0.05, [0.0], 0, 0),
        lambda: executor.test(10**9, 0.05),
    ):
        start = time.monotonic()
        run()
        assert 0.04 < time.monotonic() - start < 0.25


def test_numpy_warnings_of_a_call_are_not_left_for_the_next():
    """inf - inf and 0 * inf inside raise flags that NumPy must not find afterwards."""
    program, _ = mlp(np.random.default_rng(0), [4, 5], last="softmax")
    executor = _core.Executor(program, 4)
    executor.predict([np.full((4, 4), np.inf)])
    with np.errstate(all="raise"):
        assert np.float32(1) + np.float32(1) == 2
        assert (np.ones(8, np.float32) * np.ones(8, np.float32) == 1).all()
