"""Prefetching of an iterator by a thread, if its items take long.

The core releases Python's lock while it trains, so a batch can be made meanwhile. A hand-over
between threads costs more than a batch that is only cut out of an array, so the thread starts when
an item has taken a millisecond. No more items are read than the caller has announced, so a
generator still has all others after training.

Iterators need not be safe to share between threads, so an iterator has a lock: whoever reads it
next, such as the `fit` that follows one that was stopped, waits for the item that a thread is
making.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from cdl._common import clock
from cdl._common.interrupts import WeakList
from cdl._common.locks import new_lock
from cdl.random import generators_within, have_generators

_SLOW = 1e-3  # seconds
_PATIENCE = 1.0  # seconds that `close` waits for an item that is being made


class _Turn:
    """Lock for reading an iterator; its holder may take the next item."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator
        self.lock = new_lock()

    def take(self) -> Any:
        """Next item of the iterator."""
        with self.lock:
            return next(self.iterator)


_turns = WeakList()
_finding = new_lock()


def _turn_of(iterator: Iterator[Any]) -> _Turn:
    """The one lock of an iterator, shared by all its readers."""
    with _finding:
        found = (each for each in _turns if each.iterator is iterator)
        turn: _Turn | None = next(found, None)
        if turn is None:
            turn = _Turn(iterator)
            _turns.add(turn)
        return turn


class Ahead:
    """Prefetched items of an iterator, in their order.

    Args:
        iterator: is read by one thread at a time, also if there is an Ahead of it elsewhere.
        most: largest number of prefetched items.
    """

    def __init__(self, iterator: Iterator[Any], most: int) -> None:
        self._turn = _turn_of(iterator)
        self._most = most
        self._wanted = 0.0  # items that may be read before they are asked for
        self._slow = False
        self._thread: threading.Thread | None = None
        # State shared by the thread and its owner, guarded by the condition.
        self._changed = threading.Condition()
        self._waiting: deque[Any] = deque()
        self._end: BaseException | None = None  # exception in place of a further item
        self._closed = False

    def expect(self, items: float) -> None:
        """Announce that this number of `items` more will be taken."""
        with self._changed:
            self._wanted = items - len(self._waiting)
            self._changed.notify_all()
        self._start()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Any:
        if self._thread is None:
            item = self._read()
            self._start()
            return item
        with self._changed:
            if not self._waiting and self._wanted < 1:
                self._wanted = 1.0
                self._changed.notify_all()
            while not self._waiting and self._end is None:
                self._changed.wait()
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
            assert self._end is not None
            raise self._end

    def stop(self) -> None:
        """Stop prefetching; others may read the rest of the iterator."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def close(self) -> None:
        """Stop prefetching, and close the iterator, if it can be closed."""
        self.stop()
        close = getattr(self._turn.iterator, "close", None)
        if close is not None and (self._thread is None or not self._thread.is_alive()):
            close()

    def _read(self) -> Any:
        start = clock.now()
        item = self._turn.take()
        self._slow = clock.now() - start > _SLOW
        self._wanted -= 1.0
        return item

    def _start(self) -> None:
        """Start the thread, if it would be of use."""
        if self._thread is None and self._slow and self._wanted >= 1 and self._end is None:
            work, kept = contextvars.copy_context().run, generators_within()
            self._thread = threading.Thread(
                target=work, args=(self._work, kept), name="cdl-batches", daemon=True
            )
            self._thread.start()

    def _work(self, kept: Any) -> None:
        have_generators(kept)
        while self._may_read():
            try:
                item = self._turn.take()
            except BaseException as error:  # raised where the item would have been
                with self._changed:
                    self._end = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._waiting.append(item)
                self._wanted -= 1.0
                self._changed.notify_all()

    def _may_read(self) -> bool:
        """Wait until another item is wanted and has a place; False if none will be."""
        with self._changed:
            while not self._closed and (self._wanted < 1 or len(self._waiting) >= self._most):
                self._changed.wait()
            return not self._closed
