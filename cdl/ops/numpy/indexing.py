"""indexing.py - elements by their places: `x[...]`, take, gather along an axis."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from cdl._operation import operation
from cdl._symbols import KerasTensor
from cdl._term import Term
from cdl.ops.arrays import along_samples, samples_apart, shape_of
from cdl.ops.lowering import chosen, cut, gathered, reshape, taken_along, value_of

_SYMBOLIC = (KerasTensor, Term)


# --- x[key] ---


def _expanded(key: Any, ndim: int) -> list[Any]:
    """A key as a list with an entry for each axis, and None for each new one.

    Raises:
        IndexError: more entries than axes.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > ndim or sum(part is Ellipsis for part in parts) > 1:
        raise IndexError(f"get_item: key must be for {ndim} axes, got {key!r}")
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    at = next(i for i, part in enumerate(parts) if part is Ellipsis)
    return [*parts[:at], *[slice(None)] * (ndim - used), *parts[at + 1 :]]


def _is_whole(part: Any) -> bool:
    return isinstance(part, slice) and part in (slice(None), slice(0, None), slice(None, None, 1))


def _keyed_apart(x: Any, key: Any) -> str:
    parts = _expanded(key, len(shape_of(x)))
    for part in parts:
        if isinstance(part, slice) and any(isinstance(n, _SYMBOLIC) for n in _bounds(part)):
            return "a part whose bounds are not known has no shape: use cdl.ops.where"
        if isinstance(part, _SYMBOLIC) and part.dtype == "bool":
            return "how many are true is not known: use cdl.ops.where"
    own = [part for part in parts if part is not None]
    if getattr(x, "lead", 0) and not _is_whole(own[0]):
        return "samples cannot be chosen by their place: weight them, as by cdl.ops.where"
    lists = [part for part in own if isinstance(part, (list, np.ndarray, *_SYMBOLIC))]
    if len(lists) > 1:
        return "it has one list of places at most: use cdl.ops.take_along_axis"
    return ""


def _bounds(part: slice) -> tuple[Any, Any, Any]:
    return part.start, part.stop, part.step


def _get_item(program: Any, spec: Any, x: Any, key: Any) -> Any:
    parts = _expanded(key, x.ndim)
    if getattr(x, "lead", 0) == 1:
        parts.remove(next(part for part in parts if part is not None))
    value, axis = value_of(program, x), 0
    for part in parts:
        if part is None:
            continue
        if isinstance(part, slice):
            if not _is_whole(part):
                value = cut(program, value, axis, *_bounds(part))
        elif isinstance(part, (list, np.ndarray, *_SYMBOLIC)) and np.ndim(_plain(part)):
            value = _by_list(program, value, part, axis)
        else:
            place = int(np.asarray(part)) % value.shape[axis]
            value = cut(program, value, axis, place, place + 1)
        axis += 1
    return reshape(program, value, spec.sample_shape)


def _plain(part: Any) -> Any:
    return np.empty([1] * part.ndim) if isinstance(part, _SYMBOLIC) else part


def _by_list(program: Any, value: Any, part: Any, axis: int) -> Any:
    if isinstance(part, Term):
        return gathered(program, value, part, axis)
    places = np.asarray(part)
    places = np.flatnonzero(places) if places.dtype == bool else places
    return chosen(program, value, places, axis)


@operation(_get_item, untraced=_keyed_apart)
def get_item(x: Any, key: Any) -> Any:
    """x[key]: indices, slices, None for a new axis, `...` for all axes between.

    Args:
        x: an array.
        key: as between brackets. For symbolic tensors that is a slice of all along the axis of the
            samples, and one list of places at most.

    Raises:
        IndexError: a place that x does not have.
        TypeError: a symbolic tensor is asked for single samples.
    """
    array = np.asarray(x)
    if isinstance(key, list):
        key = np.asarray(key)
    return array[key]


# --- take ---


def _take_apart(x: Any, indices: Any, axis: Any) -> str:
    if along_samples(x, axis):
        return "samples cannot be chosen by their place"
    if getattr(x, "lead", 0) and getattr(indices, "lead", 0):
        return "use cdl.ops.take_along_axis to choose for each sample"
    return ""


def _take(program: Any, spec: Any, x: Any, indices: Any, axis: Any) -> Any:
    value = value_of(program, x)
    lead = getattr(x, "lead", 0)
    if axis is None:
        value, at = reshape(program, value, (-1,)), 0
    else:
        at = operator.index(axis) % x.ndim - (lead == 1)
    if isinstance(indices, Term):
        return reshape(program, gathered(program, value, indices, at), spec.sample_shape)
    places = np.asarray(indices)
    places = np.where(places < 0, places + value.shape[at], places)
    return reshape(program, chosen(program, value, places.ravel(), at), spec.sample_shape)


@operation(_take, untraced=_take_apart)
def take(x: Any, indices: Any, axis: Any = None) -> Any:
    """The elements of x at some places along an axis.

    Args:
        x: an array.
        indices: whole numbers of any shape, which stands in the result for the axis; negative ones
            count from the end.
        axis: along which; None flattens x first.
    """
    array, places = np.asarray(x), np.asarray(indices).astype(np.int64)
    n = array.size if axis is None else array.shape[axis]
    inside = np.where(places < 0, places + n, places)
    outside = (inside < 0) | (inside >= n)
    found = np.take(array, np.clip(inside, 0, n - 1), axis)
    if not outside.any():
        return found
    raise IndexError(f"take: indices must be below {n}, got {places[outside].flat[0]}")


def _along_apart(x: Any, indices: Any, axis: Any) -> str:
    return samples_apart(x, axis)


def _take_along(program: Any, spec: Any, x: Any, indices: Any, axis: Any) -> Any:
    return taken_along(program, spec, x, indices, axis)


@operation(_take_along, untraced=_along_apart)
def take_along_axis(x: Any, indices: Any, axis: Any = None) -> Any:
    """Of each line of x along an axis the elements at the places of its own.

    Args:
        x: an array.
        indices: whole numbers, of the shape of x but for the axis.
        axis: along which; None flattens x first.
    """
    return np.take_along_axis(np.asarray(x), np.asarray(indices).astype(np.int64), axis)


# --- where something is ---


@operation(untraced="how many there are is not known: use cdl.ops.where")
def nonzero(x: Any) -> Any:
    """The places of what is not 0, for each axis an array."""
    return tuple(each.astype(np.int32) for each in np.nonzero(x))


@operation(untraced="how many there are is not known")
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different numbers of x, in order.

    Args:
        x: an array.
        sorted: they are sorted either way.
        return_index: whether to give where each is first.
        return_inverse: whether to give which of them each element is.
        return_counts: whether to give how often each is there.
        axis: along which slices are compared; None compares single numbers.
        size: how many to give; None for as many as there are.
        fill_value: what stands for those that are missing then; None for the smallest.
    """
    del sorted
    several = (return_index, return_inverse, return_counts)
    found = np.unique(np.asarray(x), *several, axis=axis)
    if size is None:
        return found
    values = found[0] if any(several) else found
    at = 0 if axis is None else axis
    missing = size - values.shape[at]
    first = np.take(values, [0], at)
    more = first if fill_value is None else np.full_like(first, fill_value)
    values = np.take(values, range(min(size, values.shape[at])), at)
    if missing > 0:
        values = np.concatenate([values, np.repeat(more, missing, at)], at)
    return (values, *found[1:]) if any(several) else values


@operation(untraced="work on arrays")
def unravel_index(indices: Any, shape: Any) -> Any:
    """The places along each axis of what stands at some places of an array of that shape."""
    places = np.unravel_index(np.asarray(indices), shape)
    return tuple(np.asarray(each, np.int32) for each in places)
