"""Caches of programs, and their invalidation when a layer or a weight changes."""

from typing import Any

from cdl._common.interrupts import WeakList

_caches = WeakList()


def register_cache(cache: Any) -> None:
    """Register a weakly held cache, whose `forget()` is called when programs are invalidated."""
    _caches.add(cache)


def invalidate_programs() -> None:
    """Invalidate all programs, since a built layer or a weight has changed."""
    for cache in _caches:
        cache.forget()
