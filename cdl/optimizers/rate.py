"""rate.py - what may be given as a learning rate, and under which name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl._arguments import expected
from cdl.optimizers.schedules import LearningRateSchedule


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
