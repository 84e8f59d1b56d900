"""rate.py - the learning rate in its three forms: a number, a schedule, a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._arguments import expected
from cdl._state import State
from cdl.optimizers.schedules import LearningRateSchedule
from cdl.optimizers.schedules.schedule import Formula

if TYPE_CHECKING:
    from numpy.typing import NDArray


# A call in Python costs microseconds, and of the rates of a time slice that ends early the rest is
# lost: with so many that is at most a few percent of the 50 ms.
_ASKED = 256


class Rated:
    """The part of an optimizer that knows the rate of each step."""

    name: str
    decay: float
    _iterations: State
    _rate: State | LearningRateSchedule | Callable[[], Any]

    def _begin_rate(self, rate: Any) -> None:
        """Take the rate that the constructor was given."""
        rate = checked_rate(type(self).__name__, rate)
        self._rate = self._rate_state(rate) if isinstance(rate, float) else rate

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step: a variable, or what the schedule or function gives."""
        if isinstance(self._rate, State):
            return self._rate
        if isinstance(self._rate, LearningRateSchedule):
            return self._rate(int(self._iterations))
        return self._rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, LearningRateSchedule) or is_function(value):
            self._rate = value
        elif isinstance(self._rate, LearningRateSchedule):
            raise TypeError(
                f"{type(self).__name__}: learning_rate cannot be set to {value!r}: This optimizer "
                "was created with a `LearningRateSchedule`; give it a float to make it settable"
            )
        elif isinstance(self._rate, State):
            self._rate.assign(value)
        else:
            self._rate = self._rate_state(value)

    lr = learning_rate

    @property
    def has_one_rate(self) -> bool:
        """Whether the rate stays what it is until somebody sets it."""
        return not self.decay and isinstance(self._rate, State)

    def rates(self, first: int, n: int) -> NDArray[np.float32]:
        """The rates of steps `first` to `first + n - 1`: one each, or one for all.

        A user's own schedule or function is asked for fewer steps at a time than `n` may be.
        """
        if self.has_one_rate:
            return np.array([float(self.learning_rate)], np.float32)
        if not isinstance(self._rate, (State, Formula)):
            n = min(n, _ASKED)
        steps = np.arange(first, first + n)
        if isinstance(self._rate, State):
            rates = np.full(n, float(self._rate))
        elif isinstance(self._rate, Formula):
            rates = np.asarray(self._rate(steps), np.float64)
        elif isinstance(self._rate, LearningRateSchedule):
            rates = np.array([float(self._rate(int(step))) for step in steps])
        else:
            rates = np.array([float(self._rate()) for _ in steps])
        if self.decay:
            rates = rates / (1.0 + self.decay * steps)
        return rates.astype(np.float32)

    def _rate_state(self, value: Any) -> State:
        return State(value, name="learning_rate", owner=self.name)


def checked_rate(owner: str, rate: Any) -> Any:
    """A float, a schedule or a function; anything else is refused, as Keras does."""
    if isinstance(rate, LearningRateSchedule) or is_function(rate):
        return rate
    if not isinstance(rate, float) or math.isnan(rate):
        raise expected(
            owner,
            "learning_rate",
            "a float, a LearningRateSchedule or a function without arguments",
            rate,
        )
    return float(rate)


def is_function(value: Any) -> bool:
    """Whether a rate may be had by calling `value`."""
    return callable(value) and not isinstance(value, type)


def from_older_name(cls: type, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
    """The learning rate of a class's constructor, which tutorials of ten years call `lr`."""
    if "lr" not in kwargs:
        return learning_rate
    import inspect

    owner = cls.__name__
    default = inspect.signature(cls).parameters["learning_rate"].default
    if learning_rate is not default and learning_rate != default:
        raise ValueError(f"{owner}: learning_rate and lr are the same argument, got both")
    lr = kwargs.pop("lr")
    return float(lr) if isinstance(lr, (int, np.number)) and not isinstance(lr, bool) else lr
