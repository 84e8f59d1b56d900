"""_moving.py - operations over values that move elements about: slices, joins, rows of tables.

Axes are those of a value's shape, which has no batch axis; negative ones count from the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING

from cdl._arguments import exact_count
from cdl._instruction import Value
from cdl._values import reshape

if TYPE_CHECKING:
    from cdl._program import Program
    from cdl._variable import Variable

Key = int | slice | EllipsisType | None


def cut(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """The sizes before, along and behind an axis: what the core calls outer, n, inner."""
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def concat(program: Program, values: Sequence[Value], axis: int) -> Value:
    """Values side by side along an axis, along which alone they may differ."""
    axis %= len(values[0].shape)
    while len(values) > 1:
        parts = [values[i : i + 8] for i in range(0, len(values), 8)]
        values = [_concat(program, part, axis) for part in parts]
    return values[0]


def _concat(program: Program, values: Sequence[Value], axis: int) -> Value:
    shapes = [v.shape for v in values]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise ValueError(f"expected shapes that differ along axis {axis} only, got {shapes}")
    if len(values) == 1:
        return values[0]
    size = sum(s[axis] for s in shapes)
    shape = (*shapes[0][:axis], size, *shapes[0][axis + 1 :])
    return program.emit("concat", values, shape, axis=float(axis))


def pick(program: Program, value: Value, axis: int, places: Iterable[int]) -> Value:
    """The elements at these places along an axis; at a place below 0 zeros."""
    axis %= len(value.shape)
    places = list(places)
    if places == list(range(value.shape[axis])):
        return value
    shape = (*value.shape[:axis], len(places), *value.shape[axis + 1 :])
    numbers = [*cut(value.shape, axis), *_runs(places)]
    return program.emit("pick", [value], shape, numbers=numbers)


def _runs(places: Sequence[int]) -> list[int]:
    """Start, count and step of each run of places that are equally far apart."""
    found: list[int] = []
    k = 0
    while k < len(places):
        start, count, step = places[k], 1, 1
        if k + 1 < len(places) and (places[k + 1] < 0) == (start < 0):
            step = 0 if start < 0 else places[k + 1] - start
            while k + count < len(places) and (
                places[k + count] < 0 if start < 0 else places[k + count] == start + count * step
            ):
                count += 1
        found += [-1 if start < 0 else start, count, step]
        k += count
    return found


def index(program: Program, value: Value, key: Sequence[Key]) -> Value:
    """What NumPy's basic indexing gives: integers, slices, an ellipsis, None for a new axis.

    Raises:
        ValueError: if nothing would be left along an axis.
        IndexError: if there are too many keys, or an integer is no place of its axis.
    """
    key = tuple(key)
    missing = len(value.shape) - sum(k is not None and k is not Ellipsis for k in key)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    key = (*key[:at], *[slice(None)] * missing, *key[at + 1 :])
    if missing < 0 or any(k is Ellipsis for k in key):
        raise IndexError(f"expected at most {len(value.shape)} keys and one ellipsis, got {key}")
    shape: list[int] = []
    axis = 0
    for k in key:
        if k is None:
            shape.append(1)
            continue
        n = value.shape[axis]
        if isinstance(k, int):
            if not -n <= k < n:
                raise IndexError(f"expected a place in [{-n}, {n}) of axis {axis}, got {k}")
            places = [k % n]
        elif isinstance(k, slice):
            places = list(range(*k.indices(n)))
            shape.append(len(places))
        if not places:
            raise ValueError(f"expected a slice with elements of axis {axis} of {n}, got {k}")
        value = pick(program, value, axis, places)
        axis += 1
    return reshape(program, value, shape)


def permute(program: Program, value: Value, order: Sequence[int]) -> Value:
    """The axes of a value in another order: axis `order[i]` becomes axis i."""
    shape = tuple(value.shape[axis] for axis in order)
    long = [axis for axis in order if value.shape[axis] != 1]
    if long == sorted(long):  # only axes of size 1 change their place
        return reshape(program, value, shape)
    return program.emit("permute", (value,), shape, numbers=order)


def take_along(program: Program, value: Value, places: Value, axis: int) -> Value:
    """Along an axis, the element whose number `places` has; else both have the same shape.

    Negative numbers count from the end; one that is none ends the run with a ``ValueError``.
    """
    numbers = cut(value.shape, axis)
    exact_count("take_along_axis", f"axis {axis}", value.shape[axis])
    return program.emit("take_along", [value, places], places.shape, numbers=numbers)


def gather(
    program: Program,
    places: Value,
    table: Variable | Value,
    *,
    wraps: bool = False,
    label: str = "gather",
) -> Value:
    """Rows of a table by number: of a weight, or of a shared value.

    Args:
        program: what it is appended to.
        places: numbers of rows, one for each element.
        table: the weight or value, whose axis 0 are the rows.
        wraps: whether negative numbers count from the end.
        label: who is named if a number is none, which ends the run with a ``ValueError``.

    Returns:
        The value of shape ``(*places.shape, *table.shape[1:])``. Only rows that are read learn
        from it, or all of them where the optimizer moves weights without a gradient.
    """
    rows, width = table.shape[0], math.prod(table.shape[1:])
    exact_count(label, "the rows of the table", rows)
    if not isinstance(table, Value) and table.storage.matrix:
        table = program.param(table)  # lies in panels: its rows are not in one piece
    inputs: list[Value] = [places]
    params: list[Variable | None] = []
    if isinstance(table, Value):
        inputs.append(reshape(program, table, (rows, width)))
    else:
        params.append(table)
    value = program.emit(
        "gather",
        inputs,
        (*places.shape, width),
        params,
        shared=places.shared,
        wraps=float(wraps),
        label=label,
    )
    return reshape(program, value, (*places.shape, *table.shape[1:]))


def stop(program: Program, value: Value) -> Value:
    """The value, through which no gradient flows."""
    return program.emit("stop", [value], value.shape)
