"""Values for many variables at once: all of them are assigned, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def kept(variable: Any) -> list[tuple[Any, Any]]:
    """Setters of a variable's parts, each with the value to restore."""
    variables = getattr(variable, "parts", (variable,))
    storages = [getattr(each, "storage", None) for each in variables]
    return [
        (each.assign, each.numpy()) if storage is None else (storage.set, storage.get())
        for each, storage in zip(variables, storages, strict=True)
    ]


def put_back(before: Iterable[tuple[Any, Any]]) -> None:
    """Restore variables from the result of `kept`."""
    for put, values in before:
        put(values)


def drained(pairs: list[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The pairs in order, which the list gives up one by one, so that no value stays in memory."""
    pairs.reverse()
    while pairs:
        yield pairs.pop()


def assign(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Assign values to variables one by one; those before a refused one stay assigned."""
    for variable, value in pairs:
        variable.assign(value)


@contextmanager
def all_assigned(pairs: Iterable[tuple[Any, Any]]) -> Iterator[None]:
    """Context of assigned values; restored if one is refused, or the body fails.

    Args:
        pairs: a variable and its value each.
    """
    before: list[tuple[Any, Any]] = []
    try:
        for variable, value in pairs:
            before += kept(variable)
            variable.assign(value)
        yield
    except BaseException:
        put_back(before)
        raise


def assign_all(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Assign values to variables; none of them if one is refused."""
    with all_assigned(pairs):
        pass
