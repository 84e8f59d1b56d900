"""Caches of programs, and their end when a layer or a weight changes what was lowered."""

import threading
import weakref
from typing import Any

_caches: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()  # a set that grows meanwhile cannot be walked


def register_cache(cache: Any) -> None:
    """Have `cache.forget()` called when programs are invalidated; the cache is not kept alive."""
    with _lock:
        _caches.add(cache)


def invalidate_programs() -> None:
    """Forget all programs: a built layer or a weight is not what they were lowered from."""
    with _lock:
        caches = list(_caches)
    for cache in caches:
        cache.forget()
