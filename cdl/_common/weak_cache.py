"""Values by objects that are held weakly, and a cache of findings about a class or function."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from cdl._common.locks import new_rlock

F = TypeVar("F", bound=Callable[..., Any])


class WeakMap:
    """Values by objects that are held weakly, without callbacks (see interrupts.py).

    Attributes:
        pairs: a weak reference to each object and its value, by the object's identity.
    """

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[weakref.ref[Any], Any]] = {}
        # Keys of all pairs, in the order to look at them again. One enters before its pair and
        # leaves after it, wherever an interrupt falls.
        self._keys: deque[int] = deque()
        self._changing = new_rlock()

    def get(self, thing: Any) -> Any:
        """Value of an object; None if it has none."""
        pair = self.pairs.get(id(thing))
        return None if pair is None or pair[0]() is not thing else pair[1]

    def __setitem__(self, thing: Any, value: Any) -> None:
        with self._changing:
            pairs, keys, key = self.pairs, self._keys, id(thing)
            if key not in pairs:
                keys.append(key)
            pairs[key] = weakref.ref(thing), value
            for _ in range(2):  # two looks for each pair that comes keep those of the dead few
                pair = pairs.get(keys[0])
                if pair is None or pair[0]() is None:
                    pairs.pop(keys[0], None)
                    keys.popleft()
                else:
                    keys.rotate(-1)


def weak_cache(function: F) -> F:
    """`functools.cache` for functions whose first argument is a class or function of the user's.

    Those are made in loops and notebooks, over and over, and `functools.cache` would keep each
    alive.

    Args:
        function: takes its arguments by position; what it returns must not hold the first one.
    """
    found = WeakMap()  # answers by the other arguments
    pairs = found.pairs

    def note(thing: Any, more: tuple[Any, ...]) -> Any:
        answers = found.get(thing)
        if answers is None:
            found[thing] = answers = {}
        answer = answers[more] = function(thing, *more)
        return answer

    @functools.wraps(function)
    def cached(thing: Any, *more: Any) -> Any:
        try:
            known, answers = pairs[id(thing)]
            if known() is thing:
                return answers[more]
        except KeyError:
            pass
        return note(thing, more)

    return cast(F, cached)
