"""Caches of programs, and their invalidation when a layer or a weight changes."""

import weakref
from typing import Any

from cdl._common.locks import new_lock

_caches: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = new_lock()  # a set must not grow during iteration


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
