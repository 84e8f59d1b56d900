"""Outcomes of jobs, which workers settle and the calling thread waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cdl._common.locks import new_lock
from cdl.trainers.many.workers import WAKES

if TYPE_CHECKING:
    from queue import SimpleQueue

_PENDING: Any = object()


class Outcomes:
    """History or error of each job; None for one that an interrupt keeps from beginning.

    A Future for each would take longer to make and to settle than a small net takes to train.

    Args:
        count: number of jobs.

    Attributes:
        found: the outcomes, in the order of the jobs.
    """

    def __init__(self, count: int) -> None:
        self.found: list[Any] = [_PENDING] * count
        self._left, self._lock, self._all = count, new_lock(), threading.Event()
        self._numbers: SimpleQueue[int] | None = None  # of ended jobs, if they are asked for
        if not count:
            self._all.set()

    def settle(self, number: int, outcome: Any) -> None:
        """Enter the History or the error of a job; the first one holds."""
        with self._lock:
            if self.found[number] is not _PENDING:
                return
            self.found[number] = outcome
            self._left -= 1
        if self._numbers is not None:
            self._numbers.put(number)
        if not self._left:
            self._all.set()

    def is_settled(self, number: int) -> bool:
        """Whether a job has ended."""
        return self.found[number] is not _PENDING

    def as_they_come(self) -> Iterator[int]:
        """Numbers of jobs in the order in which they end; none may have ended before the call."""
        from queue import SimpleQueue

        self._numbers = SimpleQueue()
        return map(_next, [self._numbers] * len(self.found))

    def wait(self) -> None:
        """Wait for all in one sleep, since each wake-up interrupts a worker; see `wait_for`."""
        while not self._all.wait(WAKES):
            pass


def _next(numbers: SimpleQueue[int]) -> int:
    """Number of the next job that ends; Ctrl-C is heard as in `Outcomes.wait`."""
    from queue import Empty

    while True:
        with suppress(Empty):
            return numbers.get(timeout=WAKES)
