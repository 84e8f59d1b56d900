"""Lists of weak references and contexts in which no interrupt is lost.

Python ignores an exception that is raised in the callback of a weak reference. Where objects die in
every epoch, Ctrl-C would often fall into such a callback.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any


class WeakList:
    """Objects held weakly, without callbacks, in the order added; any thread may add."""

    def __init__(self) -> None:
        self._refs: list[weakref.ref[Any]] = []
        self._most = 64  # references before the dead ones are dropped
        # Only tried, never waited for: a forked process may have got it locked.
        self._dropping = threading.Lock()

    def add(self, thing: Any) -> None:
        """Append an object, which may die."""
        self._refs.append(weakref.ref(thing))
        if len(self._refs) > self._most and self._dropping.acquire(blocking=False):
            try:
                n = len(self._refs)  # other threads may append meanwhile
                self._refs[:n] = [ref for ref in self._refs[:n] if ref() is not None]
                self._most = 64 + 2 * len(self._refs)
            finally:
                self._dropping.release()

    def __iter__(self) -> Iterator[Any]:
        living = (ref() for ref in list(self._refs))
        return (thing for thing in living if thing is not None)


@contextlib.contextmanager
def held_interrupts(told: Callable[[], object] | None = None) -> Iterator[None]:
    """Context that answers Ctrl-C at its end.

    For code that runs callbacks of weak references, such as h5py's, or changes several arrays.

    Args:
        told: called at once, so that the body ends early; then nothing is held for a handler that
            may let the code go on.
    """
    usual = signal.getsignal(signal.SIGINT)
    may_go_on = told is not None and usual is not signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or may_go_on or not callable(usual):
        yield
        return
    came: list[tuple[Any, ...]] = []

    def note(*given: Any) -> None:
        came.append(given)
        if told is not None:
            told()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            usual(*came[0])
