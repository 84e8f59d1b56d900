"""Reading and writing of parts of arrays: slices, scattered elements, rows one by one."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import tree
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import is_symbolic, operation
from cdl._tracing.variable import Variable
from cdl.ops.arrays import axes_of, samples_apart, shape_of, whole
from cdl.ops.numpy.arithmetic import add
from cdl.ops.numpy.comparisons import greater_equal, less, logical_and, where
from cdl.ops.numpy.indexing import SYMBOLIC, get_item, keyed_apart, take_along_axis


def _all_parts(x: ArrayLike, num: int | None, axis: int) -> tuple[Any, ...]:
    size = shape_of(x)[axes_of(axis, len(shape_of(x)))[0]]
    if num is not None and size not in (None, num):
        raise ValueError(f"unstack: num must be the size of the axis, {size}, got {num}")
    return x, num, axis


@operation(untraced=lambda x, num, axis: samples_apart(x, axis), prepare=_all_parts)
def unstack(x: ArrayLike, num: int | None = None, axis: int = 0) -> Any:
    """Parts of x along an axis, as a list.

    Args:
        x: an array.
        num: their number; None for that of the axis.
        axis: along which; the parts do not have it.
    """
    at = axes_of(axis, len(shape_of(x)))[0]
    n = shape_of(x)[at] if num is None else num
    return [get_item(x, (*[builtins.slice(None)] * at, i)) for i in range(n)]


def _key(start_indices: Any, shape: Any) -> tuple[builtins.slice, ...]:
    """Slices from start indices and a shape."""
    parts = []
    for start, n in zip(start_indices, shape, strict=True):
        whole = not isinstance(n, (int, np.integer)) or n == -1  # or the number of samples
        parts.append(builtins.slice(int(start), None if whole else int(start) + int(n)))
    return tuple(parts)


def _is_late(start: Any) -> bool:
    """Whether a start index is known in a program only."""
    return isinstance(start, SYMBOLIC) or (isinstance(start, Variable) and is_symbolic(start))


def _starts_late(start_indices: Any) -> bool:
    """Whether one of the start indices is known in a program only."""
    return any(map(_is_late, tree.flatten(start_indices)))


def _check_starts(inputs: Any, start_indices: Any, shape: Any) -> None:
    """Error unless there is a start index, a single number, and a size for each axis."""
    sizes, vector = shape_of(inputs), _is_late(start_indices)
    ranks = [len(shape_of(start)) for start in tree.flatten(start_indices)]
    if _starts_late(start_indices) and {*ranks} != {int(vector)}:
        raise ValueError(
            "slice: start_indices must be a number for each axis of inputs, got tensors of "
            f"{ranks} axes"
        )
    starts = start_indices.shape[0] if vector else len(start_indices)
    for one, other, n in (("inputs", "shape", len(shape)), ("start_indices", "inputs", starts)):
        if n != len(sizes):
            raise ValueError(
                f"slice: the number of dimensions in `{one}` must match that of the dimensions in "
                f"`{other}`, got start_indices {start_indices} and shape {shape} for inputs of "
                f"shape {sizes}"
            )


def _within(inputs: ArrayLike, start_indices: Any, shape: Any) -> tuple[Any, ...]:
    _check_starts(inputs, start_indices, shape)
    sizes, vector, starts = shape_of(inputs), _is_late(start_indices), []
    for axis, (size, n) in enumerate(zip(sizes, shape, strict=True)):
        start = start_indices if vector else start_indices[axis]
        begin = 0 if _is_late(start) else int(start)
        if isinstance(size, int):
            begin += size if begin < 0 else 0
            count = n if isinstance(n, (int, np.integer)) and n != -1 else 0
            if not 0 <= begin <= begin + count <= size:
                raise ValueError(
                    f"slice: start_indices and shape must stay within inputs, of shape {sizes}, "
                    f"got {start_indices} and {shape}"
                )
        starts.append(start if _is_late(start) else begin)
    return inputs, start_indices if vector else starts, shape


def _slice_apart(inputs: Any, start_indices: Any, shape: Any) -> str:
    """Reason why a slice cannot be traced; "" if it can."""
    _check_starts(inputs, start_indices, shape)
    if not _starts_late(start_indices):
        return keyed_apart(inputs, _key(start_indices, shape))
    if _is_late(start_indices):
        return samples_apart(start_indices, None) or samples_apart(inputs, None) or _open(shape)
    if getattr(inputs, "rows_per_sample", 0) and _is_late(start_indices[inputs.batch_axis]):
        return samples_apart(inputs, inputs.batch_axis)
    known = [0 if _is_late(start) else start for start in start_indices]
    return keyed_apart(inputs, _key(known, shape)) or _open(
        [n for start, n in zip(start_indices, shape, strict=True) if _is_late(start)]
    )


def _open(shape: Any) -> str:
    """Reason why no slice of a start that is not known can have a shape; "" if it can."""
    open_end = any(isinstance(n, int) and n == -1 for n in shape)
    return "what is left behind a start that is not known has no size: give one" if open_end else ""


def _slice_outline(inputs: KerasTensor, start_indices: Any, shape: Any) -> KerasTensor:
    _within(inputs, start_indices, shape)
    return KerasTensor([None if n == -1 else n for n in shape], inputs.dtype, rows_per_sample=0)


@operation(untraced=_slice_apart, prepare=_within, outline=_slice_outline)
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """Slice of an array, from start indices and a shape.

    Args:
        inputs: an array.
        start_indices: the first place along each axis; negative ones count from its end. One that
            only the program knows, such as an integer weight, may be negative too.
        shape: how many along each axis; -1 for all that are left.

    Raises:
        ValueError: the part is not within the array, or there is not a number for each axis.
    """
    if not _starts_late(start_indices):
        return get_item(inputs, _key(start_indices, shape))
    for axis, n in enumerate(shape):
        start = start_indices[axis]
        if not _is_late(start):
            inputs = get_item(inputs, (*[builtins.slice(None)] * axis, *_key([start], [n])))
            continue
        places = np.arange(n, dtype=np.int32).reshape(
            *[1] * axis, -1, *[1] * (len(shape) - axis - 1)
        )
        at = add(start, places)
        wraps = logical_and(less(start, 0), greater_equal(at, 0))
        at = where(wraps, add(at, shape_of(inputs)[axis]), at)
        inputs = take_along_axis(inputs, at, axis)
    return inputs


def _update_apart(inputs: Any, start_indices: Any, updates: Any) -> str:
    """Advice unless each sample is written to by itself."""
    if samples_apart(start_indices, None):
        return samples_apart(start_indices, None)
    batches = {getattr(x, "batch_axis", None) for x in (inputs, updates) if samples_apart(x, None)}
    rows = {getattr(x, "rows_per_sample", 0) for x in (inputs, updates)}
    known = not hasattr(start_indices, "rows_per_sample")
    alike = len(batches) == 1 and rows == {1} and known
    if not batches or (alike and not int(np.asarray(start_indices)[batches.pop()])):
        return ""
    return samples_apart(inputs, None) or samples_apart(updates, None)


def _written(start_indices: Any, shape: Any) -> tuple[builtins.slice, ...]:
    """Places that an update of a shape is written to."""
    starts = [int(each) for each in np.asarray(start_indices)]
    return tuple(builtins.slice(a, a + n) for a, n in zip(starts, shape, strict=True))


def _slice_update_gradient(dy: Any, y: Any, inputs: Any, start: Any, updates: Any) -> Any:
    """Gradients by what is left of the array, and by what stands there now."""
    by_inputs, places = np.array(dy), _written(start, np.shape(updates))
    by_inputs[places] = 0
    return by_inputs, None, dy[places]


@operation(on_arrays(_slice_update_gradient, linear=True), untraced=_update_apart)
def slice_update(inputs: ArrayLike, start_indices: Any, updates: ArrayLike) -> Any:
    """Copy of an array with another array at start indices.

    Args:
        inputs: the array.
        start_indices: the first place along each axis.
        updates: what stands there.
    """
    result = np.array(inputs)
    result[_written(start_indices, np.shape(updates))] = updates
    return result


def _places(indices: Any) -> tuple[Any, ...]:
    """Index of each axis, of places along the last axis of an array."""
    whole_numbers = np.asarray(indices).astype(np.int64)
    return tuple(np.moveaxis(whole_numbers, -1, 0))


@operation(
    on_arrays(lambda dy, y, indices, values, shape: (None, dy[_places(indices)])),
    untraced=lambda *args: whole(args),
)
def scatter(indices: ArrayLike, values: ArrayLike, shape: Any) -> Any:
    """Scatter values into zeros; those of one place are added up.

    Args:
        indices: places, along the last axis an index for each axis.
        values: a number for each place.
        shape: of the result.
    """
    result = np.zeros(tuple(shape), np.asarray(values).dtype)
    np.add.at(result, _places(indices), values)
    return result


_UPDATES = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


def _scatter_update_gradient(
    dy: Any, y: Any, inputs: Any, indices: Any, updates: Any, reduction: str | None
) -> Any:
    """Gradients by the array and by the updates; of equal largest ones each has all of it.

    Of several updates of one place without a reduction, the last one has it.
    """
    places = _places(indices)
    there = dy[places]
    if reduction is None:
        last = np.full(dy.shape, -1)
        numbers = np.arange(last[places].size).reshape(last[places].shape)
        last[places] = numbers
        return np.where(last < 0, dy, 0), None, np.where(last[places] == numbers, there, 0)
    if reduction == "add":
        return dy, None, there
    if reduction == "mul":
        factors = np.ones_like(dy)
        np.multiply.at(factors, places, updates)
        is_zero, zeros, others = updates == 0, np.zeros_like(dy), np.array(inputs)
        np.add.at(zeros, places, is_zero)
        divisors = np.where(is_zero, 1, updates)
        np.multiply.at(others, places, divisors)
        by_updates = there * others[places] / divisors * (zeros[places] == is_zero)
        return dy * factors, None, by_updates
    return np.where(inputs == y, dy, 0), None, np.where(updates == y[places], there, 0)


@operation(on_arrays(_scatter_update_gradient), untraced=lambda *args: whole(args[:3]))
def scatter_update(
    inputs: ArrayLike, indices: ArrayLike, updates: ArrayLike, reduction: str | None = None
) -> Any:
    """Copy of an array with values at some indices.

    Args:
        inputs: the array.
        indices: places, along the last axis an index for each axis.
        updates: a number for each place.
        reduction: "add", "max", "min" or "mul": what becomes of the number that was there; None to
            forget it.
    """
    result = np.array(inputs)
    places = _places(indices)
    if reduction is None:
        result[places] = updates
    elif reduction in _UPDATES:
        _UPDATES[reduction].at(result, places, updates)
    else:
        raise ValueError(
            f"scatter_update: reduction must be one of {list(_UPDATES)} or None, got {reduction!r}"
        )
    return result
