"""Functions of arrays, with all other arguments bound; keys of their calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import tree

_ARRAY = object()  # placeholder of an array


class Given:
    """Function of arrays that calls another one, with its other arguments bound.

    Args:
        function: the function to call.
        args: its positional and keyword arguments, in nested structures.
        with_numbers: whether its ints and floats are arguments too, after which it is called.

    Attributes:
        function: as given.
        constants: the bound arguments.
    """

    def __init__(self, function: Callable[..., Any], args: Any, with_numbers: bool = False) -> None:
        self.function = function
        self.__self__ = getattr(function, "__self__", None)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._leaves = [
            _ARRAY if isinstance(e, np.ndarray) or (with_numbers and is_number(e)) else e
            for e in tree.flatten(args)
        ]
        self._structure = tree.map_structure(lambda leaf: 0, args)
        self.constants = [each for each in self._leaves if each is not _ARRAY]

    def __call__(self, *arrays: Any) -> Any:
        left = iter(arrays)
        leaves = [next(left) if each is _ARRAY else each for each in self._leaves]
        args, kwargs = tree.pack_sequence_as(self._structure, leaves)
        return self.function(*args, **kwargs)


class _ById:
    """Key of an object by identity; a reference to it keeps its id from reuse."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return type(other) is _ById and self._thing is other._thing

    def __hash__(self) -> int:
        return id(self._thing)


_VALUES = (bool, int, float, complex, str, bytes, type(None))
_shape_of = np.ndarray.shape.__get__


def is_number(leaf: Any) -> bool:
    """Whether a value is an int or a float of Python."""
    return type(leaf) in (int, float)


def form_of_call(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    leaves: Sequence[Any],
    with_numbers: bool = False,
) -> Any:
    """Key of a call: its structure, shapes and dtypes of its arrays, and its other arguments.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        leaves: both as a flat list.
        with_numbers: whether ints and floats count by their types alone.
    """
    key: list[Any] = [
        (_shape_of(e), e.dtype)
        if isinstance(e, np.ndarray)
        else type(e)
        if with_numbers and is_number(e)
        else (type(e), repr(e) if type(e) is float else e)
        if type(e) in _VALUES
        else _ById(e)
        for e in leaves
    ]
    if kwargs or len(args) != len(leaves) or any(map(tree.is_nested, args)):
        key.append(repr(tree.map_structure(lambda leaf: 0, (args, kwargs))))
    return tuple(key)
