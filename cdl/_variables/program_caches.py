"""Caches of programs, and their invalidation when a layer or a weight changes."""

import threading
import weakref
from typing import Any

_caches: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()  # a set that grows meanwhile cannot be walked


def register_cache(cache: Any) -> None:
    """Register a weakly held cache, whose `forget()` is called when programs are invalidated."""
    with _lock:
        _caches.add(cache)


def invalidate_programs() -> None:
    """Invalidate all programs, since a built layer or a weight has changed."""
    with _lock:
        caches = list(_caches)
    for cache in caches:
        cache.forget()
