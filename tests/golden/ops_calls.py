"""The calls of functions of `ops`, by name: ops_table.py and image_calls.py enter them.

An array in `Samples` has the samples along its first axis: traced, it is symbolic. Others are the
same for all samples.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

N = 6
FIRST = {"data_format": "channels_first"}


class Samples:
    """An array with a row for each sample."""

    def __init__(self, array: Any) -> None:
        self.array = array


class Call(NamedTuple):
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def named(module: Any, name: str) -> Any:
    """A function of `ops`, or of a module within, by its name: "image.resize"."""
    return functools.reduce(getattr, name.split("."), module)


def c(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


CALLS: dict[str, list[Call]] = {}


def add(name: str, *calls: Call) -> None:
    """Enter calls of a function."""
    CALLS.setdefault(name, []).extend(calls)
