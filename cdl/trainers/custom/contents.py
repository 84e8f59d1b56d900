"""Contents of lists, dicts and arrays that code reads, to be compared later."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._variables.state import State

_LARGE, _LONG = 2**16, 256  # bytes of an array, and elements of a list, that are compared
PLAIN: frozenset[Any] = frozenset(
    (bool, int, float, complex, str, bytes, type(None), type(...), slice, np.dtype)
)
NESTING = (list, tuple, dict, set, frozenset)


class UnknownError(Exception):
    """Error of a value whose changes could not be detected."""


def parts_of(thing: Any) -> list[Any]:
    """Elements of a collection, keys and values of a dict; empty for other objects."""
    values = thing.values() if isinstance(thing, dict) else ()
    return [*thing, *values] if isinstance(thing, NESTING) else []


def contents(thing: Any) -> Any:
    """Contents of a list or an array, to be compared later."""
    if isinstance(thing, NESTING):
        if len(thing) > _LONG:
            raise UnknownError
        return parts_of(thing)
    array = thing._array if isinstance(thing, State) else thing
    if array.nbytes > _LARGE or array.dtype.hasobject:
        raise UnknownError
    return array.shape, array.dtype.str, array.tobytes()


def are_same(now: Any, before: Any) -> bool:
    """Whether contents are unchanged."""
    if isinstance(before, tuple):  # of an array
        return bool(now == before)
    return len(now) == len(before) and all(map(is_same, now, before))


def is_same(a: Any, b: Any) -> bool:
    """Whether values are the same object, or plain and equal to the sign of 0."""
    return a is b or (type(a) is type(b) and type(a) in PLAIN and repr(a) == repr(b))
