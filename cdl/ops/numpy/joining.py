"""Joining, splitting and repeating of arrays, and moving of their parts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import expected
from cdl._ir.elementwise import argument
from cdl._ir.emit import concat, pick
from cdl._ir.emit import reshape as reshaped
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.operation import Saved, operation, pair_operation, tensor_operation
from cdl.data import brief
from cdl.ops.arrays import (
    Ints,
    along_samples,
    axes_of,
    axis_arg,
    samples_apart,
    shape_arg,
    shape_of,
    sizes_for,
)
from cdl.ops.indexing_lowering import cut, lines, repeated
from cdl.ops.lowering import sample_axis, value_of
from cdl.ops.numpy.shapes import expand_dims, ravel, reshape, swapaxes


def _checked_axis(name: str, axis: Ints) -> int:
    """Axis of a function of several arrays, which are one argument."""
    if isinstance(axis, (int, np.integer)):
        return int(axis)
    raise ValueError(
        f"{name}: axis must be an int, got {brief(axis)}: the arrays are one argument, a list"
    )


def _apart(xs: Any, axis: Ints) -> str:
    axis = _checked_axis("concatenate", axis)
    return next(filter(None, (samples_apart(x, axis) for x in xs)), "")


def _concatenate(program: Lowering, spec: KerasTensor, xs: Any, axis: int) -> Any:
    values, at = [value_of(program, x) for x in xs], sample_axis(spec, axis)
    return concat(program, [value for value in values if value.shape[at]] or values, at)


@operation(_concatenate, untraced=_apart)
def concatenate(xs: Any, axis: int = 0) -> Any:
    """Concatenate arrays along an existing axis.

    Args:
        xs: a list of them, of one shape but for that axis.
        axis: which.
    """
    axis = _checked_axis("concatenate", axis)
    return np.concatenate([np.asarray(x) for x in xs], axis)


@operation()
def stack(x: Any, axis: int = 0) -> Any:
    """Stack arrays of one shape along a new axis.

    Args:
        x: a list of them.
        axis: where it is in the result.
    """
    axis = _checked_axis("stack", axis)
    return concatenate([expand_dims(each, axis) for each in x], axis)


@operation()
def hstack(xs: Any) -> Any:
    """Stack arrays horizontally: along the second axis, or the only one."""
    several = [reshape(x, (1,)) if not shape_of(x) else x for x in xs]
    return concatenate(several, 0 if len(shape_of(several[0])) == 1 else 1)


@operation()
def vstack(xs: Any) -> Any:
    """Stack arrays vertically: along the first axis, of which lines have one."""
    several = [reshape(x, (1, -1)) if len(shape_of(x)) < 2 else x for x in xs]
    return concatenate(several, 0)


@operation()
def dstack(xs: Any) -> Any:
    """Stack arrays in depth: along the third axis."""
    several = [vstack([x]) if len(shape_of(x)) < 2 else x for x in xs]
    return concatenate([expand_dims(x, 2) if len(shape_of(x)) == 2 else x for x in several], 2)


@pair_operation()
def append(x1: ArrayLike, x2: ArrayLike, axis: Any = None) -> Any:
    """Append x2 to x1 along an axis.

    Args:
        x1: an array.
        x2: another one.
        axis: which; None flattens both.
    """
    if axis is None:
        return concatenate([ravel(x1), ravel(x2)], 0)
    return concatenate([x1, x2], axis)


def _cuts(x: ArrayLike, sections: Any, axis: int) -> list[int]:
    """Starts of the parts, and the end of the last one."""
    n = shape_of(x)[axis]
    if isinstance(sections, (int, np.integer)):
        if sections < 1:
            raise expected("split", "indices_or_sections", "at least 1", sections)
        if n % sections:
            raise ValueError(
                f"split: indices_or_sections must divide the axis, of size {n}, got {sections}"
            )
        return [i * (n // int(sections)) for i in range(int(sections) + 1)]
    places = [int(i) for i in np.asarray(sections)]
    return [0, *(i % n if i < 0 else i for i in places), n]


def _split(
    program: Lowering, spec: KerasTensor, x: Any, indices_or_sections: Any, axis: int
) -> Any:
    places = _cuts(x, indices_or_sections, axis)
    at = sample_axis(x, axis)
    return [cut(program, x.value, at, *pair) for pair in itertools.pairwise(places)]


@operation(_split, untraced=lambda x, indices_or_sections, axis: samples_apart(x, axis))
def split(x: ArrayLike, indices_or_sections: Any, axis: int = 0) -> Any:
    """Split x into a list of parts along an axis.

    Args:
        x: an array.
        indices_or_sections: how many parts of one size, or a list of where they begin but for
            the first.
        axis: along which.

    Raises:
        ValueError: the parts are not of one size.
    """
    array = np.asarray(x)
    axes_of(axis, array.ndim)
    if isinstance(indices_or_sections, (int, np.integer)):
        _cuts(array, indices_or_sections, axis)
    return np.split(array, indices_or_sections, axis)


def _array_split(program: Lowering, spec: KerasTensor, x: Any, sections: Any, axis: int) -> Any:
    if isinstance(sections, (int, np.integer)):
        parts = np.array_split(np.arange(shape_of(x)[axis]), sections)
        sections = np.cumsum([len(part) for part in parts[:-1]])
    return _split(program, spec, x, sections, axis)


@operation(_array_split, untraced=lambda x, indices_or_sections, axis: samples_apart(x, axis))
def array_split(x: ArrayLike, indices_or_sections: Any, axis: int = 0) -> Any:
    """Split as `split`, into parts of unequal size: the first ones are larger by one."""
    return np.array_split(np.asarray(x), indices_or_sections, axis)


@operation()
def hsplit(x: ArrayLike, indices_or_sections: Any) -> Any:
    """Split as `split`, along the second axis, or the only one."""
    return split(x, indices_or_sections, 0 if len(shape_of(x)) == 1 else 1)


@operation()
def vsplit(x: ArrayLike, indices_or_sections: Any) -> Any:
    """Split as `split`, along the first axis."""
    return split(x, indices_or_sections, 0)


@operation()
def dsplit(x: ArrayLike, indices_or_sections: Any) -> Any:
    """Split as `split`, along the third axis."""
    return split(x, indices_or_sections, 2)


def _tile_apart(x: Any, repeats: Any) -> str:
    if not getattr(x, "rows_per_sample", 0):
        return ""
    counts, ndim = list(shape_arg(repeats)), len(x.shape)
    counts = [1] * (ndim - len(counts)) + counts
    return "" if counts[len(counts) - ndim + x.batch_axis] == 1 else samples_apart(x, None)


def _tile(program: Lowering, spec: KerasTensor, x: ArrayLike, repeats: Ints) -> Any:
    value, counts = value_of(program, x), list(shape_arg(repeats))
    counts = [1] * (len(spec.shape) - len(counts)) + counts
    if spec.rows_per_sample == 1 or (spec.rows_per_sample and value.shared):
        counts.pop(spec.batch_axis)  # 1, or a shared value repeated for each sample
    shape = (1,) * (len(counts) - len(value.shape)) + value.shape
    value = reshaped(program, value, shape)
    counts = [1] * (len(shape) - len(counts)) + counts
    for axis, count in enumerate(counts):
        value = repeated(program, value, axis, int(count))
    return reshaped(program, value, spec.sample_shape)


@tensor_operation(
    _tile, untraced=_tile_apart, prepare=lambda x, repeats: (x, sizes_for(None, repeats))
)
def tile(x: ArrayLike, repeats: Ints) -> Any:
    """Repeat x as a whole along each axis.

    Args:
        x: an array.
        repeats: how often, for each axis; there may be more of them than axes.
    """
    return np.tile(x, shape_arg(repeats))


def _repeat_apart(x: Any, repeats: Any, axis: Any) -> str:
    if isinstance(repeats, SymbolicBatch):
        once = repeats.times == 1 and axis is not None and shape_of(x)[axis] == 1
        shared = not getattr(x, "rows_per_sample", 0)
        return "" if once and shared else "repeat one line, along its axis, for each sample"
    if np.ndim(repeats) and np.size(repeats) > 1:
        return samples_apart(x, axis)
    return samples_apart(x, axis) if axis is None or x.rows_per_sample > 1 or x.batch_axis else ""


def _repeat(program: Lowering, spec: KerasTensor, x: Any, repeats: Ints, axis: Any) -> Any:
    if isinstance(repeats, SymbolicBatch):  # which a shared value is as it is
        return reshaped(program, value_of(program, x), spec.sample_shape)
    if axis is None:
        x, axis = ravel(x), 0
    value = x.value
    if np.size(repeats) > 1:
        at = sample_axis(x, axis)
        return pick(program, value, at, np.repeat(np.arange(value.shape[at]), repeats).tolist())
    count = int(np.asarray(repeats).reshape(()))
    at = -1 if along_samples(x, axis) else sample_axis(x, axis)  # -1: of a sample several lines
    value = reshaped(program, value, (*value.shape[: at + 1], 1, *value.shape[at + 1 :]))
    return reshaped(program, lines(program, value, at + 1, count), spec.sample_shape)


def _repeat_outline(x: KerasTensor, repeats: Any, axis: Any) -> KerasTensor:
    """Symbolic result with the sum of the repeats as its size, for any batch size."""
    sizes = list(x.shape) if axis is not None else [None]
    sizes[axis or 0] = None
    return KerasTensor(sizes, x.dtype, rows_per_sample=0)


@tensor_operation(_repeat, untraced=_repeat_apart, outline=_repeat_outline)
def repeat(x: ArrayLike, repeats: Ints, axis: Any = None) -> Any:
    """Repeat each element of x along an axis.

    Args:
        x: an array.
        repeats: how often; one number, or one for each place along the axis.
        axis: along which; None flattens x first.
    """
    return np.repeat(x, repeats, axis)


def _flip(program: Lowering, spec: KerasTensor, x: Any, axis: Ints) -> Any:
    value = x.value
    for each in axes_of(axis, len(x.shape)):
        value = cut(program, value, sample_axis(x, each), None, None, -1)
    return value


@tensor_operation(_flip, untraced=samples_apart)
def flip(x: ArrayLike, axis: Ints | None = None) -> Any:
    """Reverse x along an axis, several, or all (None)."""
    return np.flip(x, axis_arg(axis))


@tensor_operation()
def fliplr(x: ArrayLike) -> Any:
    """Reverse x from right to left: along the second axis."""
    return flip(x, 1)


@tensor_operation()
def flipud(x: ArrayLike) -> Any:
    """Reverse x upside down: along the first axis."""
    return flip(x, 0)


def _roll(program: Lowering, spec: KerasTensor, x: Any, shift: Ints, axis: Ints | None) -> Any:
    value = x.value
    if axis is None:
        x, axis = ravel(x), 0
        return reshaped(program, _roll(program, spec, x, shift, axis), value.shape)
    for n, each in zip(shape_arg(shift), shape_arg(axis), strict=True):
        at = sample_axis(x, each)
        size = value.shape[at]
        first = size - n % size
        if first != size:
            parts = (cut(program, value, at, first, size), cut(program, value, at, 0, first))
            value = concat(program, list(parts), at)
    return value


@tensor_operation(_roll, untraced=lambda x, shift, axis: samples_apart(x, axis))
def roll(x: ArrayLike, shift: Ints, axis: Ints | None = None) -> Any:
    """Roll x along an axis: elements beyond the end reappear at the start.

    Args:
        x: an array.
        shift: by how many places, of an axis or of each of several.
        axis: along which; None flattens x and gives it its shape again.
    """
    return np.roll(x, axis_arg(shift), axis_arg(axis))


def _rot90(array: Any, k: int, axes: Any) -> Any:
    """Rotation of a symbolic array: its axes reversed, exchanged, or both."""
    first, second = axes_of(axes[0], len(array.shape))[0], axes_of(axes[1], len(array.shape))[0]
    if k % 4 in (1, 2):
        array = flip(array, second)
    if k % 2:
        array = swapaxes(array, first, second)
    return flip(array, second if k % 4 == 3 else first) if k % 4 > 1 else array


@operation(
    lambda program, spec, array, k, axes: _rot90(array, k, axes),
    untraced=lambda array, k, axes: samples_apart(array, tuple(axes)) if k % 4 else "",
)
def rot90(array: ArrayLike, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Rotate an array by k right angles in the plane of two axes, from the first to the second."""
    return np.rot90(array, k, axes)


_PADS = {"constant", "reflect", "symmetric", "edge", "wrap", "empty"}


def _widths(x: ArrayLike, pad_width: Any) -> list[tuple[int, int]]:
    """Padding before and after each axis."""
    pairs = np.broadcast_to(np.asarray(pad_width), (len(shape_of(x)), 2))
    return [(int(a), int(b)) for a, b in pairs]


def _pad_apart(x: Any, pad_width: Any, mode: str, constant_values: Any) -> str:
    del mode, constant_values
    whole = not x.rows_per_sample or _widths(x, pad_width)[x.batch_axis] == (0, 0)
    return "" if whole else samples_apart(x, None)


def _pad(
    program: Lowering, spec: KerasTensor, x: Any, pad_width: Any, mode: str, constant_values: Any
) -> Any:
    value, number = value_of(program, x), float(constant_values or 0.0)
    if number:  # zeros are what is there without places
        value = program.map(argument(0) - number, [value])
    widths = _widths(x, pad_width)
    if x.rows_per_sample == 1:
        widths.pop(x.batch_axis)
    for axis, (before, behind) in enumerate(widths):
        n = value.shape[axis]
        more: Any = {"constant_values": -1} if mode == "constant" else {}
        kind: Any = "edge" if mode == "empty" else mode
        places = np.pad(np.arange(n), (before, behind), kind, **more)
        value = pick(program, value, axis, places.tolist())
    return program.map(argument(0) + number, [value]) if number else value


@tensor_operation(_pad, untraced=_pad_apart, saved=Saved(by_name=("constant_values",)))
def pad(x: ArrayLike, pad_width: Any, mode: Any = "constant", constant_values: Any = None) -> Any:
    """Pad the ends of the axes of x.

    Args:
        x: an array.
        pad_width: how many before and behind each axis; one pair or one number stands for all.
        mode: "constant", "edge", "reflect" or "symmetric", as NumPy has them.
        constant_values: what number, with "constant"; None for 0.
    """
    if mode not in _PADS:
        raise ValueError(f"pad: mode must be one of {sorted(_PADS)}, got {mode!r}")
    if constant_values is not None and mode != "constant":
        raise ValueError(f"pad: constant_values must be None with mode={mode!r}")
    more: Any = {"constant_values": constant_values or 0} if mode == "constant" else {}
    return np.pad(np.asarray(x), _widths(x, pad_width), mode, **more)
