"""Counts of draws in a step that is recorded, so that its repetition draws the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class _Draws(threading.local):
    """Draws of a thread.

    Attributes:
        noted: counts of draws that the step has made; None outside of one that is recorded.
        again: counts of draws for a run that repeats that step, to compare.
        drawn: how often programs and generators have drawn.
    """

    noted: list[int] | None = None
    again: list[int] | None = None
    drawn = 0


draws = _Draws()


def drew() -> None:
    """Note that a program or a generator has drawn."""
    draws.drawn += 1


def counted(count: Callable[[], int]) -> int:
    """Number of a draw; where a step is repeated to compare, that which it had before.

    Args:
        count: gives the next one.
    """
    if draws.again is not None:
        return draws.again.pop(0)  # IndexError: what is repeated draws more often
    number = count()
    if draws.noted is not None:
        draws.noted.append(number)
    return number


@contextmanager
def noting() -> Iterator[list[int]]:
    """Context that gives a list, to which counts of draws are appended."""
    before, draws.noted = draws.noted, []
    try:
        yield draws.noted
    finally:
        draws.noted = before


@contextmanager
def repeating(noted: Sequence[int]) -> Iterator[None]:
    """Context in which draws have the counts of a step that was noted."""
    before, draws.again = draws.again, list(noted)
    try:
        yield
    finally:
        draws.again = before


def next_draw(count: Callable[[], int]) -> int:
    """Number of a program's draw, as of `counted`."""
    drew()
    return counted(count)
