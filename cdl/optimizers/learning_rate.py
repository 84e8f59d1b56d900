"""Learning rate of an optimizer: a number, a schedule or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, is_real
from cdl._configs.identifiers import serialize
from cdl._variables.state import State
from cdl.optimizers.schedules import LearningRateSchedule
from cdl.optimizers.schedules.schedule import Formula

# A call in Python costs microseconds, and of the rates of a time slice that ends early the rest is
# lost: with so many that is at most a few percent of the 50 ms.
_ASKED = 256

_PLAIN = {bool, int, float, str}  # types of settings that nothing changes in place


def next_rate(optimizer: Any) -> Any:
    """Rate of an optimizer's next step, by its schedule or function."""
    return optimizer._rate.at(optimizer.step)


class Rate(State):
    """Learning rate as a variable; an assigned value is never negative."""

    def _check(self, value: NDArray[Any]) -> None:
        if not value >= 0:
            refuse_negative(self.path.removesuffix("/learning_rate"), float(value))


class LearningRate:
    """Learning rate of each step, from a number, a schedule or a function.

    Args:
        name: of the optimizer.
        given: a number, a LearningRateSchedule or a function without arguments.

    Attributes:
        source: a number is in a variable, whoever set it; a schedule or function is as it came.

    Raises:
        ValueError: the rate is none of these, or negative.
    """

    source: Rate | LearningRateSchedule | Callable[[], Any]

    def __init__(self, owner: str, name: str, given: Any) -> None:
        self._owner = owner
        self._name = name
        self._kept: tuple[int, Any, Any] = (0, None, [])  # first step, settings and rates ahead
        given = checked_rate(owner, given)
        one = isinstance(given, float)
        self.source = Rate(given, name="learning_rate", owner=name) if one else given

    def at(self, step: int) -> Any:
        """Rate of a step: a variable, or the value of the schedule or function."""
        if isinstance(self.source, Rate):
            return self.source
        if isinstance(self.source, LearningRateSchedule):
            return self.source(step)
        return self.source()

    def set(self, value: Any) -> None:
        """Set another number, schedule or function.

        Raises:
            TypeError: a number in the place of a schedule.
        """
        if isinstance(value, LearningRateSchedule) or is_function(value):
            self.source = value
        elif isinstance(self.source, LearningRateSchedule):
            raise TypeError(
                f"{self._owner}: learning_rate cannot be set to {value!r}: This optimizer "
                "was created with a `LearningRateSchedule`; give it a float to make it settable"
            )
        elif isinstance(self.source, Rate):
            self.source.assign(value)
        else:
            self.source = self._variable(value)

    @property
    def variables(self) -> list[Rate]:
        """The variable of a constant rate; none for a schedule or function."""
        return [self.source] if isinstance(self.source, Rate) else []

    def rate(self, step: int, decay: float) -> float:
        """Rate of one step, as `rates` gives it."""
        source = self.source
        if isinstance(source, Rate) and not decay:
            return float(source._array)
        return float(self.rates(step, 1, decay)[0])

    def rates(self, first: int, n: int, decay: float) -> NDArray[np.float32]:
        """Rates of steps `first` to `first + n - 1`: one each, or one for all.

        A user's own schedule or function is asked for fewer steps at a time than `n` may be.

        Args:
            first: the first step, counted from 0.
            decay: the rate of a step is divided by ``1 + decay * step``.

        Raises:
            ValueError: a schedule or function gives a negative rate or NaN.
        """
        source = self.source
        if isinstance(source, Rate) and not decay:
            return np.array([float(source)], np.float32)
        if not isinstance(source, (Rate, Formula)):
            n = min(n, _ASKED)
        steps = np.arange(first, first + n)
        rates: NDArray[np.float64]
        if isinstance(source, Rate):
            rates = np.full(n, float(source))
        elif isinstance(source, Formula):
            rates = self._of_formula(source, first, n)
        elif isinstance(source, LearningRateSchedule):
            rates = np.array([float(source(int(step))) for step in steps])
        else:
            rates = np.array([float(source()) for _ in steps])
        if not (rates >= 0).all():  # NaN is no rate either
            bad = int(np.argmin(rates >= 0))
            refuse_negative(f"{self._name}, step {first + bad}", rates[bad], _named(source))
        if decay:
            rates = rates / (1.0 + decay * steps)
        return rates.astype(np.float32)

    def _of_formula(self, source: Formula, first: int, n: int) -> NDArray[np.float64]:
        """Rates by a formula, of which some computed ahead are kept while its settings stay."""
        ahead = vars(type(source)).get("_ahead", 0)  # not of a subclass, whose formula is another
        settings = vars(source)
        if not ahead or not {*map(type, settings.values())} <= _PLAIN:
            return np.asarray(source(np.arange(first, first + n)), np.float64)
        rates: NDArray[np.float64]
        start, known, rates = self._kept
        if known != (type(source), settings) or not start <= first <= start + len(rates) - n:
            rates = np.asarray(source(np.arange(first, first + max(n, ahead))), np.float64)
            start, self._kept = first, (first, (type(source), settings.copy()), rates)
        return rates[first - start : first - start + n]

    def config(self) -> Any:
        """The rate as it stands in configs."""
        return float(self.source) if isinstance(self.source, Rate) else serialize(self.source)

    def _variable(self, value: Any) -> Rate:
        rate = Rate(name="learning_rate", owner=self._name)
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
    """Check that a rate is not negative or NaN; `source` is its origin in the error."""
    if not rate >= 0:
        must = "not be negative" if rate < 0 else "be a number"
        given = f" from {source}" if source else ""
        raise ValueError(f"{owner}: learning_rate must {must}, got {rate:g}{given}")


def _named(source: Any) -> str:
    return getattr(source, "__name__", type(source).__name__)


def is_function(value: Any) -> bool:
    """Whether a rate is a function to call."""
    return callable(value) and not isinstance(value, type)
