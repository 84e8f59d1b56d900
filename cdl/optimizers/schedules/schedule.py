"""LearningRateSchedule: the base of schedules, and their registry by name.

Formulas are in float32, as in Keras; those of cdl take an array of steps too, so that the rates of
a whole epoch are one call.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected, number
from cdl._configs.arguments import Configured, own_arguments
from cdl._configs.identifiers import Registry
from cdl._tracing.variable import Variable
from cdl._variables.state import State

Array = NDArray[Any]

registry = Registry("schedule", "keras.optimizers.schedules", snake=False)


class LearningRateSchedule(Configured):
    """Base of learning rate schedules; a subclass overrides `__call__` and `get_config`."""

    def __call__(self, step: Any) -> Any:
        """Learning rate of a step, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__(step)")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        raise NotImplementedError(f"{type(self).__name__} must override get_config()")


def checked_name(owner: str, name: Any) -> str:
    """Check a schedule's name, a string without '/'; None stands for the class's name."""
    if name is None:  # as Keras 2 wrote it
        return owner
    if not isinstance(name, str) or "/" in name:
        raise expected(owner, "name", "a string without '/'", name)
    return name


class Formula(LearningRateSchedule):
    """Base of schedules whose `rate` is a formula over an array of steps.

    Args:
        initial_learning_rate: the rate of step 0.
        name: of the schedule.
    """

    _inner: tuple[str, ...] = ("check", "rate")

    def __call__(self, step: ArrayLike) -> Any:
        """The rate of a step, or of each of an array of steps, as float32."""
        steps = np.asarray(step, np.float32)
        with np.errstate(divide="ignore"):
            rates = np.asarray(self.rate(steps), np.float32)
        return rates if steps.ndim else np.float32(rates)

    def rate(self, step: Array) -> Any:
        """Learning rates of an array of steps."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return own_arguments(self, Formula)

    def check(self, steps: str, **numbers: Any) -> None:
        """Check the arguments: numbers, and a positive one that is named `steps`.

        The value of a variable, such as an optimizer's rate, is one too.
        """
        owner = type(self).__name__
        for name, value in numbers.items():
            if isinstance(value, (State, Variable)) and not value.shape:
                value = float(value)
                setattr(self, name, value)
            number(owner, name, value, above=0.0 if name == steps else -math.inf)
