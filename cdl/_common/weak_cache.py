"""Cache of findings about a class or function, kept as long as that lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_NOTHING = object()


def weak_cache(function: F) -> F:
    """`functools.cache` for functions whose first argument is a class or function of the user's.

    Those are made in loops and notebooks, over and over, and `functools.cache` would keep each
    alive.

    Args:
        function: takes its arguments by position; what it returns must not hold the first one.
    """
    found: dict[tuple[int, tuple[Any, ...]], Any] = {}  # by the identity of the first argument
    known: dict[int, tuple[weakref.ref[Any], list[tuple[Any, ...]]]] = {}  # what is in `found`

    def forget(key: int) -> None:
        for more in known.pop(key)[1]:
            found.pop((key, more), None)

    def note(thing: Any, more: tuple[Any, ...]) -> Any:
        answer, key = function(thing, *more), id(thing)
        if key not in known:
            known[key] = weakref.ref(thing, lambda _: forget(key)), []
        known[key][1].append(more)
        found[key, more] = answer
        return answer

    @functools.wraps(function)
    def cached(thing: Any, *more: Any) -> Any:
        answer = found.get((id(thing), more), _NOTHING)
        return note(thing, more) if answer is _NOTHING else answer

    return cast(F, cached)
