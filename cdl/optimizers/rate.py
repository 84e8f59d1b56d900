"""rate.py - the learning rate in its three forms: a number, a schedule, a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._arguments import expected, is_real
from cdl._state import State
from cdl.optimizers.schedules import LearningRateSchedule
from cdl.optimizers.schedules.schedule import Formula

if TYPE_CHECKING:
    from numpy.typing import NDArray


# A call in Python costs microseconds, and of the rates of a time slice that ends early the rest is
# lost: with so many that is at most a few percent of the 50 ms.
_ASKED = 256


class Rate(State):
    """The learning rate as a variable, which is never negative, whoever assigns to it."""

    def assign(self, value: Any) -> NDArray[Any]:
        """Keep `value` from now on; ValueError for one that is negative or NaN."""
        before = self.value
        super().assign(value)
        if not self._array >= 0:
            self._array[...] = before
            refuse_negative(self.path.removesuffix("/learning_rate"), float(value))
        return self.value


class Rated:
    """The part of an optimizer that knows the rate of each step."""

    name: str
    decay: float
    _iterations: State
    _rate: Rate | LearningRateSchedule | Callable[[], Any]

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
        if not (rates >= 0).all():  # NaN is no rate either
            bad = int(np.argmin(rates >= 0))
            refuse_negative(f"{self.name}, step {first + bad}", rates[bad], _named(self._rate))
        if self.decay:
            rates = rates / (1.0 + self.decay * steps)
        return rates.astype(np.float32)

    def _rate_state(self, value: Any) -> Rate:
        rate = Rate(name="learning_rate", owner=self.name)
        rate.assign(value)
        return rate


def checked_rate(owner: str, rate: Any) -> Any:
    """A number as a float, a schedule or a function; ValueError for anything else.

    A rate may come as a whole number or a number of NumPy, which Keras refuses.
    """
    if isinstance(rate, LearningRateSchedule) or is_function(rate):
        return rate
    if not is_real(rate):
        what = "a number, a LearningRateSchedule or a function without arguments"
        raise expected(owner, "learning_rate", what, rate)
    refuse_negative(owner, rate)
    return float(rate)


def refuse_negative(owner: str, rate: Any, source: str = "") -> None:
    """ValueError for a rate that is negative or NaN; `source` is what gave it."""
    if not rate >= 0:
        must = "not be negative" if rate < 0 else "be a number"
        given = f" from {source}" if source else ""
        raise ValueError(f"{owner}: learning_rate must {must}, got {rate:g}{given}")


def _named(source: Any) -> str:
    return getattr(source, "__name__", type(source).__name__)


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
