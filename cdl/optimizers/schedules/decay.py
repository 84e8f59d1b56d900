"""Exponential, inverse time, polynomial and piecewise constant schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.elementary import power
from cdl._common.validation import flag, number, several
from cdl.optimizers.schedules.schedule import Formula, checked_name, registry

Array = NDArray[Any]


@registry.add()
class ExponentialDecay(Formula):
    """Exponential decay, ``initial_learning_rate * decay_rate ^ (step / decay_steps)``.

    Args:
        decay_steps: after how many steps the rate is `decay_rate` times what it was.
        decay_rate: the factor.
        staircase: whether the exponent is rounded down.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = flag("ExponentialDecay", "staircase", staircase)
        self.name = checked_name("ExponentialDecay", name)
        self.check(
            "decay_steps",
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            decay_rate=decay_rate,
        )

    def rate(self, step: Array) -> Any:
        exponent = step / np.float32(self.decay_steps)
        exponent = np.floor(exponent) if self.staircase else exponent
        return np.float32(self.initial_learning_rate) * np.float32(
            power(np.float32(self.decay_rate), exponent)
        )


@registry.add()
class InverseTimeDecay(Formula):
    """Inverse time decay, ``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        decay_steps: steps of one unit of time.
        decay_rate: how fast the divisor grows.
        staircase: whether the time is rounded down.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = flag("InverseTimeDecay", "staircase", staircase)
        self.name = checked_name("InverseTimeDecay", name)
        self.check(
            "decay_steps",
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            decay_rate=decay_rate,
        )

    def rate(self, step: Array) -> Any:
        time = step / np.float32(self.decay_steps)
        time = np.floor(time) if self.staircase else time
        return np.float32(self.initial_learning_rate) / (1 + np.float32(self.decay_rate) * time)


@registry.add()
class PolynomialDecay(Formula):
    """Polynomial decay, ``(initial - end) * (1 - step / decay_steps) ^ power + end``.

    Args:
        decay_steps: the step from which the rate is `end_learning_rate`.
        end_learning_rate: the last rate.
        power: of the polynomial.
        cycle: whether `decay_steps` is doubled, tripled ... once it is passed, instead.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = flag("PolynomialDecay", "cycle", cycle)
        self.name = checked_name("PolynomialDecay", name)
        self.check(
            "decay_steps",
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            end_learning_rate=end_learning_rate,
            power=power,
        )

    def rate(self, step: Array) -> Any:
        steps = np.float32(self.decay_steps)
        if self.cycle:
            part = step / (steps * np.maximum(np.ceil(step / steps), 1))
        else:
            part = np.minimum(step, steps) / steps
        end = np.float32(self.end_learning_rate)
        span = np.float32(self.initial_learning_rate) - end
        return span * np.float32(power(1 - part, np.float32(self.power))) + end


@registry.add()
class PiecewiseConstantDecay(Formula):
    """Step decay: ``values[i]`` after ``boundaries[i - 1]``, up to and with ``boundaries[i]``.

    Args:
        boundaries: rising step numbers.
        values: rates, one more than boundaries.

    Raises:
        ValueError: another number of values, or boundaries that do not rise.
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        owner = "PiecewiseConstantDecay"
        boundaries = several(owner, "boundaries", boundaries, "a list of step numbers")
        values = several(owner, "values", values, "a list of rates")
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"{owner}: values must be one more than the {len(boundaries)} boundaries, "
                f"got {len(values)}"
            )
        for boundary in boundaries:
            number(owner, "boundaries", boundary)
        for value in values:
            number(owner, "values", value)
        if list(boundaries) != sorted(boundaries):
            raise ValueError(f"{owner}: boundaries must rise, got {boundaries}")
        self.boundaries = boundaries
        self.values = values
        self.name = checked_name("PiecewiseConstantDecay", name)

    def rate(self, step: Array) -> Any:
        return np.asarray(self.values, np.float32)[np.searchsorted(self.boundaries, step)]
