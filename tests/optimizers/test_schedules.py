"""The rates are those that Keras 3.15 gives (recorded from it)."""

import numpy as np
import pytest

from cdl.optimizers import Adam
from cdl.optimizers import schedules as s


@pytest.mark.parametrize(
    ("schedule", "steps", "rates"),
    [
        (s.ExponentialDecay(0.1, 10, 0.9), [0, 5, 25], [0.1, 0.09486832, 0.07684335]),
        (s.ExponentialDecay(0.1, 10, 0.9, staircase=True), [5, 25], [0.1, 0.081]),
        (s.InverseTimeDecay(0.1, 10, 0.5), [0, 5, 25], [0.1, 0.08, 0.04444445]),
        (s.InverseTimeDecay(0.1, 10, 0.5, True), [5, 25], [0.1, 0.05]),
        (s.PolynomialDecay(0.1, 10), [0, 5, 10, 25], [0.1, 0.05005, 0.0001, 0.0001]),
        (s.PolynomialDecay(0.1, 10, power=2.0), [3], [0.049051]),
        (s.PolynomialDecay(0.1, 10, cycle=True), [0, 10, 25], [0.1, 0.0001, 0.01675]),
        (
            s.PiecewiseConstantDecay([1, 3], [0.1, 0.2, 0.3]),
            [0, 1, 2, 3, 4],
            [0.1, 0.1, 0.2, 0.2, 0.3],
        ),
        (s.PiecewiseConstantDecay([], [0.1]), [0, 9], [0.1, 0.1]),
        (s.CosineDecay(0.1, 10), [0, 1, 2, 20], [0.1, 0.09755283, 0.09045085, 0]),
        (s.CosineDecay(0.1, 10, alpha=0.5), [10, 20], [0.05, 0.05]),
        (
            s.CosineDecay(0.1, 10, warmup_target=1.0, warmup_steps=5),
            [0, 3, 5, 10, 15],
            [0.1, 0.64, 1, 0.5, 0],
        ),
        (s.CosineDecay(0.1, 10, warmup_target=1.0), [0, 3], [1.0, 0.7938926]),
        (s.CosineDecay(0.1, 10, warmup_steps=5), [3], [0.07938927]),
        (
            s.CosineDecayRestarts(0.1, 10),
            [0, 9, 10, 15, 30],
            [0.1, 0.002447176, 0.1, 0.08535534, 0.1],
        ),
        (s.CosineDecayRestarts(0.1, 10, t_mul=1.0, m_mul=0.5), [25], [0.0125]),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, s.LearningRateSchedule) else None,
)
def test_rates_are_keras_own(schedule, steps, rates):
    np.testing.assert_allclose(schedule(np.array(steps)), rates, rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose([schedule(step) for step in steps], rates, rtol=2e-6, atol=1e-9)
    assert schedule(0).dtype == np.float32


def test_logarithmic_cycles_double_and_end_at_0():
    schedule = s.LogCosineCycles(0.1, 150)
    ends = [10 * (2**i - 1) for i in range(5)]
    np.testing.assert_allclose(schedule([*ends, 151, 10**6]), 0, atol=1e-7)
    tops = [10 * (2 ** (i + 0.5) - 1) for i in range(4)]
    np.testing.assert_allclose(schedule(tops), 0.1, rtol=1e-5)
    turns = np.log2(1 + 15 * np.arange(150) / 150)
    expected = 0.05 * (1 - np.cos(2 * np.pi * turns))
    np.testing.assert_allclose(schedule(np.arange(150)), expected, rtol=1e-5, atol=1e-7)
    again = s.deserialize(s.serialize(s.LogCosineCycles(0.1, 150, cycles=2, name="two")))
    assert again.get_config() == {
        "max_learning_rate": 0.1, "decay_steps": 150, "cycles": 2, "name": "two"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: s.ExponentialDecay(0.1, 0, 0.9),
            "ExponentialDecay: decay_steps must be a number > 0",
        ),
        (
            lambda: s.ExponentialDecay("a", 10, 0.9),
            "initial_learning_rate must be a number, got 'a'",
        ),
        (lambda: s.LogCosineCycles(0.1, 10, 31), "cycles must be an int from 1 to 30, got 31"),
        (lambda: s.LogCosineCycles(0.1, 10, 0), "LogCosineCycles: cycles must be a positive int"),
        (lambda: s.LogCosineCycles(0.1, -1), "LogCosineCycles: decay_steps must be a number > 0"),
        (lambda: s.ExponentialDecay(0.1, 1, 0.9, "a"), "staircase must be True or False"),
        (lambda: s.InverseTimeDecay(0.1, -1, 0.9), "decay_steps must be a number > 0, got -1"),
        (lambda: s.PolynomialDecay(0.1, 0), "PolynomialDecay: decay_steps"),
        (lambda: s.CosineDecay(0.1, 0), "CosineDecay: decay_steps"),
        (lambda: s.CosineDecay(0.1, 1, warmup_steps=1.5), "warmup_steps must be an int, got 1.5"),
        (lambda: s.CosineDecay(0.1, 5, 0.1, 0.2), "name must be a string without '/', got 0.2"),
        (lambda: s.CosineDecayRestarts(0.1, 0), "CosineDecayRestarts: first_decay_steps"),
        (
            lambda: s.PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
            "values must be one more than the 2",
        ),
        (lambda: s.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "boundaries must rise, got [2, 1]"),
        (lambda: s.PiecewiseConstantDecay(["a"], [1, 2]), "boundaries must be a number, got 'a'"),
    ],
)
def test_bad_argument_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_base_is_to_be_overridden():
    with pytest.raises(NotImplementedError, match="must override __call__"):
        s.LearningRateSchedule()(0)
    with pytest.raises(NotImplementedError, match="must override get_config"):
        s.LearningRateSchedule().get_config()


def test_config_has_keras_keys():
    assert s.serialize(s.CosineDecayRestarts(0.1, 10)) == {
        "module": "keras.optimizers.schedules",
        "class_name": "CosineDecayRestarts",
        "config": {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 10,
            "t_mul": 2.0,
            "m_mul": 1.0,
            "alpha": 0.0,
            "name": "SGDRDecay",
        },
        "registered_name": None,
    }


def test_rates_computed_ahead_are_those_of_each_step():
    schedule = s.LogCosineCycles(0.04, decay_steps=900)
    wanted, adam = schedule(np.arange(1400)), Adam(schedule)
    for first, n in ((0, 1), (1, 2), (510, 4), (3, 2), (700, 600), (701, 9), (1390, 10)):
        np.testing.assert_array_equal(adam.rates(first, n), wanted[first : first + n])


def test_rates_computed_ahead_follow_settings_and_other_schedules():
    class Halved(s.LogCosineCycles):
        part = 0.5

        def rate(self, step):
            return self.part * super().rate(step)

    schedule = s.LogCosineCycles(0.04, decay_steps=900)
    adam = Adam(schedule)
    before = adam.rates(50, 2)
    schedule.max_learning_rate = 0.02
    np.testing.assert_array_equal(adam.rates(50, 2), schedule([50, 51]))
    schedule.max_learning_rate = np.array(0.04)
    np.testing.assert_array_equal(adam.rates(50, 2), before)
    schedule.max_learning_rate *= 0.5  # in place
    np.testing.assert_array_equal(adam.rates(50, 2), before / 2)
    adam.learning_rate = Halved(0.04, decay_steps=900)
    np.testing.assert_array_equal(adam.rates(50, 2), before / 2)
    Halved.part = 0.25
    np.testing.assert_array_equal(adam.rates(50, 2), before / 4)
