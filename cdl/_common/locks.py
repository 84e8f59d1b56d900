"""Locks that are free in a forked process, whichever thread of its parent held them.

A child has the one thread that forked: a lock that another one held would never be given back.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from cdl._common.interrupts import WeakList

_made = WeakList()


def new_lock() -> threading.Lock:
    """Lock as of `threading.Lock`, free in a forked process."""
    lock = threading.Lock()
    _made.add(lock)
    return lock


def new_rlock() -> Any:
    """Lock as of `threading.RLock`, free in a forked process."""
    lock = threading.RLock()
    _made.add(lock)
    return lock


def _free() -> None:
    for lock in _made:
        lock._at_fork_reinit()


os.register_at_fork(after_in_child=_free)
