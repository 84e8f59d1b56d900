"""Indexing: `x[...]`, take, gather along an axis."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common import validation
from cdl._ir import emit
from cdl._ir.lowering import Lowering
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import operation, tensor_operation
from cdl.ops.arrays import Ints, along_samples, axes_of, samples_apart, shape_of, whole
from cdl.ops.indexing_lowering import chosen, cut, gathered, taken_along
from cdl.ops.lowering import sample_axis, value_of
from cdl.ops.numpy.shapes import ravel

SYMBOLIC = (KerasTensor, LoweredTensor)


# --- x[key] ---


def _expanded(key: ArrayLike, ndim: int) -> list[Any]:
    """Key as a list with an entry for each axis, and None for each new one.

    ValueError if it has more entries than axes, or a second Ellipsis.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > ndim or sum(part is Ellipsis for part in parts) > 1:
        raise ValueError(f"get_item: key must be for {ndim} axes, got {key!r}")
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    at = next(i for i, part in enumerate(parts) if part is Ellipsis)
    return [*parts[:at], *[slice(None)] * (ndim - used), *parts[at + 1 :]]


def _is_whole(part: Any, x: Any, axis: int) -> bool:
    """Whether a part of a key is all of an axis of x, for every number of samples."""
    if not isinstance(part, slice) or part.step not in (None, 1) or part.start not in (None, 0):
        return False
    stop, rows = part.stop, getattr(x, "rows_per_sample", 0)
    if stop is None or not rows or axis != x.batch_axis:
        return stop is None
    if isinstance(stop, SymbolicBatch):
        return bool(stop.times >= rows)
    n = x.shape[axis]
    return n is not None and n > 2 and stop == n  # of two samples it is no more for a third one


def keyed_apart(x: Any, key: Any) -> str:
    """Reason why a symbolic tensor cannot be indexed so; "" if it can."""
    parts = [key] if isinstance(key, SYMBOLIC) else _expanded(key, len(shape_of(x)))
    for part in parts:
        if isinstance(part, slice) and any(isinstance(n, SYMBOLIC) for n in _bounds(part)):
            return "a part whose bounds are not known has no shape: use cdl.ops.where"
        if isinstance(part, SYMBOLIC) and part.dtype == "bool":
            return "how many are true is not known: use cdl.ops.where"
    indices = [part for part in parts if part is not None]
    at = getattr(x, "batch_axis", 0)
    if getattr(x, "rows_per_sample", 0) and not _is_whole(indices[at], x, at):
        said = "samples cannot be chosen by their place: weight them, as by cdl.ops.where"
        if any(isinstance(part, (*SYMBOLIC, list, np.ndarray)) for part in indices[at + 1 :]):
            said += "; ops.take_along_axis(x, i[:, None], 1) takes place i of each"
        return said
    if any(isinstance(part, SYMBOLIC) for part in indices):
        return "" if len(parts) == 1 else "use cdl.ops.take, or cdl.ops.take_along_axis"
    lists = [part for part in indices if isinstance(part, (list, np.ndarray)) and np.ndim(part)]
    if len(lists) > 1:
        return "it has one list of places at most: use cdl.ops.take_along_axis"
    return ""


def _bounds(part: slice) -> tuple[Any, Any, Any]:
    return part.start, part.stop, part.step


def _get_item(program: Lowering, spec: KerasTensor, x: Any, key: ArrayLike) -> Any:
    if isinstance(key, SYMBOLIC):
        return _take(program, spec, x, key, 0)
    parts = _expanded(key, x.ndim)
    indices = [part for part in parts if part is not None]
    indices = [slice(None) if _is_whole(each, x, i) else each for i, each in enumerate(indices)]
    if getattr(x, "rows_per_sample", 0) == 1:
        indices.pop(x.batch_axis)
    value = value_of(program, x)
    for axis, part in enumerate(indices):
        if isinstance(part, slice):
            if part != slice(None):
                value = cut(program, value, axis, *_bounds(part))
        elif isinstance(part, (list, np.ndarray)) and np.ndim(part):
            places = np.asarray(part)
            places = np.flatnonzero(places) if places.dtype == bool else places
            value = chosen(program, value, places, axis)
        else:
            place = int(np.asarray(part)) % value.shape[axis]
            value = cut(program, value, axis, place, place + 1)
    return emit.reshape(program, value, spec.sample_shape)


@operation(_get_item, untraced=keyed_apart)
def get_item(x: Any, key: Any) -> Any:
    """Elements x[key]: indices, slices, None for a new axis, `...` for all axes between.

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


def _take_apart(x: ArrayLike, indices: ArrayLike, axis: Ints) -> str:
    if along_samples(x, axis):
        return "samples cannot be chosen by their place"
    if not isinstance(indices, SYMBOLIC):
        return ""
    return (
        "use cdl.ops.take_along_axis to choose for each sample"
        if getattr(x, "rows_per_sample", 0)
        else ""
    )


def _take(program: Lowering, spec: KerasTensor, x: Any, indices: Any, axis: Any) -> Any:
    if isinstance(indices, LoweredTensor):
        if axis is None and len(shape_of(x)) > 1:
            x = ravel(x)
        at = 0 if axis is None else axis % len(x.shape)
        y = gathered(program, x, indices, at, "take")
        return emit.reshape(program, y, spec.sample_shape)
    value = value_of(program, x)
    if axis is None:
        value, at = emit.reshape(program, value, (prod(value.shape),)), 0
    else:
        at = sample_axis(x, axis)
    return emit.reshape(program, chosen(program, value, indices, at), spec.sample_shape)


@tensor_operation(_take, untraced=_take_apart)
def take(x: ArrayLike, indices: ArrayLike, axis: Any = None) -> Any:
    """Elements of x at indices along an axis.

    Args:
        x: an array.
        indices: whole numbers of any shape, which stands in the result for the axis; negative ones
            count from the end.
        axis: along which; None flattens x first.
    """
    array, places = np.asarray(x), np.asarray(indices).astype(np.int64)
    n = array.size if axis is None else array.shape[axes_of(axis, array.ndim)[0]]
    inside = np.where(places < 0, places + n, places)
    outside = (inside < 0) | (inside >= n)
    found = np.take(array, np.clip(inside, 0, n - 1), axis)
    if not outside.any():
        return found
    raise IndexError(f"take: indices must be below {n}, got {places[outside].flat[0]}")


def _along_apart(x: ArrayLike, indices: ArrayLike, axis: Ints) -> str:
    return samples_apart(x, axis)


def _take_along(
    program: Lowering, spec: KerasTensor, x: ArrayLike, indices: ArrayLike, axis: Any
) -> Any:
    if axis is None:
        x, axis = ravel(x), 0
    return taken_along(program, spec, x, indices, axis)


@tensor_operation(_take_along, untraced=_along_apart)
def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: Any = None) -> Any:
    """Elements of each line of x along an axis, at the indices of its own.

    Args:
        x: an array.
        indices: whole numbers, of the shape of x but for the axis.
        axis: along which; None flattens x first.
    """
    return np.take_along_axis(np.asarray(x), np.asarray(indices).astype(np.int64), axis)


# --- where something is ---


def _places_outline(x: KerasTensor) -> tuple[KerasTensor, ...]:
    """Indices along each axis; how many follows from the data."""
    return tuple(KerasTensor((None,), "int32", rows_per_sample=0) for _ in x.shape)


@operation(untraced="how many there are is not known: use cdl.ops.where", outline=_places_outline)
def nonzero(x: Any) -> Any:
    """Indices of nonzero elements, an array for each axis."""
    return tuple(each.astype(np.int32) for each in np.nonzero(x))


def _unique_apart(x: ArrayLike, *args: Any) -> str:
    return whole(x) if args[5] is not None else "how many there are is not known: give a size"


def _unique_outline(
    x: KerasTensor, _: bool, index: bool, inverse: bool, counts: bool, axis: int | None, *rest: Any
) -> Any:
    """Symbolic results of sizes that the data decides."""
    size, at = rest[0], 0
    if axis is not None:
        at = axes_of(validation.whole("unique", "axis", axis), x.ndim)[0]
    sizes = (size,) if axis is None else (*x.shape[:at], size, *x.shape[at + 1 :])
    of_inverse = x.shape if axis is None else (x.shape[at],)
    shapes = [(index, (size,)), (inverse, of_inverse), (counts, (size,))]
    others = [KerasTensor(shape, "int32", rows_per_sample=0) for asked, shape in shapes if asked]
    values = KerasTensor(sizes, x.dtype, rows_per_sample=0)
    return (values, *others) if others else values


@operation(on_arrays(), untraced=_unique_apart, outline=_unique_outline)
def unique(
    x: ArrayLike,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """Unique numbers of x, in order; each NaN is one of its own.

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
    unique_of: Any = np.unique
    found = unique_of(np.asarray(x), *several, axis=axis, equal_nan=False)
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
    if not any(several):
        return values
    rest = list(found[1:])
    if return_counts:  # of what is missing there is none
        rest[-1] = np.concatenate([rest[-1][:size], np.zeros(max(missing, 0), rest[-1].dtype)])
    if return_index:  # what is missing stands where the smallest does
        rest[0] = np.concatenate([rest[0][:size], np.repeat(rest[0][:1], max(missing, 0))])
    return (values, *rest)


@operation(on_arrays(of_integers=True))
def unravel_index(indices: ArrayLike, shape: Ints) -> Any:
    """Flat indices converted to indices along each axis of that shape."""
    places = np.unravel_index(np.asarray(indices), shape)
    return tuple(np.asarray(each, np.int32) for each in places)
