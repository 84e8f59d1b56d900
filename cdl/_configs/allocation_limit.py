"""Limit of the numbers that are allocated while a file is read, whatever its config.

A config is a few lines of text that may ask for a layer of 10**12 units. Who reads a file sets a
budget that fits what the file holds; weights and metrics are counted against it before memory is
taken. Without a budget nothing is counted.

Where a file is only checked, weights have shapes and no values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left: ContextVar[list[int] | None] = ContextVar("budget", default=None)
_shapes_only: ContextVar[bool] = ContextVar("shapes_only", default=False)


@contextmanager
def without_values() -> Iterator[None]:
    """Context, for this thread, without drawing or reading of initial values."""
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


def shapes_only() -> bool:
    """Whether only the shapes of weights are needed."""
    return _shapes_only.get()


@contextmanager
def limited(numbers: int) -> Iterator[None]:
    """Context, for this thread, with a limit of the numbers in weights and metrics."""
    token = _left.set([numbers])
    try:
        yield
    finally:
        _left.reset(token)


def spend(owner: str, shape: Iterable[int]) -> None:
    """Count an array of a shape that is about to be made.

    Raises:
        ValueError: it would exceed the budget.
    """
    left = _left.get()
    if left is None:
        return
    shape = tuple(shape)
    size = math.prod(shape)
    if size > left[0]:
        raise ValueError(f"{owner} of shape {shape} would be larger than all that the file holds")
    left[0] -= size
