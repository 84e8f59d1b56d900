"""Reshaping, transposing and broadcasting of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.dtypes import numpy_dtype, standardize_dtype
from cdl._common.validation import expected
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.operation import is_symbolic, tensor_operation
from cdl.ops.arrays import Ints, axis_arg, shape_arg, sizes_for
from cdl.ops.lowering import as_shape, broadcast, moved, value_of


def _keeps(x: Any, newshape: tuple[Any, ...], rows: int) -> bool:
    """Whether the samples follow each other along one axis of the result."""
    sizes = [4 if n is None else n for n in x.shape]
    sizes[x.batch_axis] = rows * x.rows_per_sample
    owners = np.repeat(np.arange(rows), x.rows_per_sample)
    place = [-1 if axis == x.batch_axis else 1 for axis in range(len(sizes))]
    new = [rows * n.times if isinstance(n, SymbolicBatch) else n for n in newshape]
    try:
        found = np.broadcast_to(owners.reshape(place), sizes).reshape(new)
    except ValueError:
        return True  # the shapes do not fit, which is said elsewhere
    lines = [np.moveaxis(found, axis, 0).reshape(n, -1) for axis, n in enumerate(found.shape)]
    steps = [np.diff(each[:, 0]) for each in lines if (each == each[:, :1]).all()]
    return any((step >= 0).all() and step.any() for step in steps)


_OF_ONE_NUMBER = (
    "it fits one number of samples alone: cdl.ops.shape(x)[0] is the size of their axis"
)


def _keeps_order(x: ArrayLike, newshape: Any = -1) -> str:
    """Advice, if the numbers of a sample would not stay together."""
    if not getattr(x, "rows_per_sample", 0):
        return ""
    if all(_keeps(x, shape_arg(newshape), rows) for rows in (3, 5)):
        return ""
    return "the numbers of a sample must stay together: bring its axis to the front first"


def _checked_sizes(newshape: Any) -> Any:
    """Check a new shape: at most one -1 and no other negative numbers."""
    sizes = newshape if isinstance(newshape, (list, tuple)) else ()
    known = [int(n) for n in sizes if isinstance(n, (int, np.integer))]
    if min(known, default=0) < -1:
        raise expected("reshape", "newshape", "sizes of at least 0, or one -1", newshape)
    if known.count(-1) > 1:
        raise expected("reshape", "newshape", "a shape with at most one -1", newshape)
    return newshape


def _fits_any_number(x: Any, newshape: Any) -> str:
    """Advice, if one number of samples alone fits a shape, or a sample would be torn apart."""
    sizes = shape_arg(newshape)
    known = all(isinstance(n, int) and n > 0 for n in sizes)
    of_samples: Any = getattr(x, "rows_per_sample", 0)
    if known and of_samples and x.shape[x.batch_axis] is None:
        others = [n for axis, n in enumerate(x.shape) if axis != x.batch_axis]
        if all(others) and not math.prod(sizes) % (math.prod(others) * x.rows_per_sample):
            return _OF_ONE_NUMBER
    return _keeps_order(x, newshape)


def _reshape_outline(x: KerasTensor, newshape: Any) -> KerasTensor | None:
    """Symbolic result for the one number of samples that fits; None where none does."""
    if _fits_any_number(x, newshape) != _OF_ONE_NUMBER:
        return None
    return KerasTensor(shape_arg(newshape), x.dtype, rows_per_sample=0)


@tensor_operation(
    as_shape,
    prepare=lambda x, newshape: (x, sizes_for(x, _checked_sizes(newshape))),
    untraced=_fits_any_number,
    outline=_reshape_outline,
)
def reshape(x: ArrayLike, newshape: Ints) -> Any:
    """Reshape x, with its numbers in order.

    Args:
        x: numbers.
        newshape: the sizes of the axes; one of them may be -1, for what is left. The size of the
            axis of the samples is `cdl.ops.shape(x)[0]`, None, or -1.

    Raises:
        ValueError: the shape has another number of elements.
    """
    return np.reshape(x, shape_arg(newshape))


@tensor_operation(as_shape, untraced=_keeps_order)
def ravel(x: ArrayLike) -> Any:
    """Flatten x to one axis."""
    return np.ravel(x)


@tensor_operation(as_shape)
def expand_dims(x: ArrayLike, axis: Ints) -> Any:
    """Insert axes of size 1 into x.

    Args:
        x: numbers.
        axis: where the axes are in the result.
    """
    return np.expand_dims(x, axis_arg(axis))


@tensor_operation(as_shape)
def squeeze(x: ArrayLike, axis: Ints | None = None) -> Any:
    """Remove axes of size 1 from x.

    Args:
        x: numbers.
        axis: which; None for all that have size 1.

    Raises:
        ValueError: an axis has another size.
    """
    return np.squeeze(x, axis_arg(axis))


def _transpose(program: Lowering, spec: KerasTensor, x: Any, axes: Any) -> Any:
    order = range(x.ndim)[::-1] if axes is None else [axis % x.ndim for axis in axes]
    return moved(program, x, order)


@tensor_operation(_transpose)
def transpose(x: ArrayLike, axes: Ints | None = None) -> Any:
    """Permute the axes of x.

    Args:
        x: numbers.
        axes: which axis of x each axis of the result is; None for the reverse order. That of the
            samples must stay the first one.
    """
    return np.transpose(x, axis_arg(axes))


def _swapaxes(program: Lowering, spec: KerasTensor, x: Any, axis1: int, axis2: int) -> Any:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return moved(program, x, order)


@tensor_operation(_swapaxes)
def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Any:
    """Swap two axes of x."""
    return np.swapaxes(x, axis1, axis2)


def _moveaxis(program: Lowering, spec: KerasTensor, x: Any, source: Any, destination: Any) -> Any:
    order = np.moveaxis(np.empty(range(x.ndim)), source, destination).shape
    return moved(program, x, order)


@tensor_operation(_moveaxis)
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Move axes of x to other positions, the others in their order.

    Args:
        x: numbers.
        source: an axis, or several.
        destination: their places in the result.
    """
    return np.moveaxis(np.asarray(x), source, destination)


def _of_one_number(x: Any, shape: Any) -> str:
    """Advice, if one number of samples alone, or 1, fits a shape."""
    if getattr(x, "rows_per_sample", 0):
        sizes = shape_arg(shape)
        at = x.batch_axis - x.ndim
        if len(sizes) >= -at and isinstance(sizes[at], int) and x.shape[x.batch_axis] is None:
            return _OF_ONE_NUMBER
    return ""


def _broadcast_to(program: Lowering, spec: KerasTensor, x: ArrayLike, shape: Ints) -> Any:
    return broadcast(program, spec, x)


@tensor_operation(
    _broadcast_to,
    prepare=lambda x, shape: (x, sizes_for(x, shape)),
    untraced=_of_one_number,
    outline=lambda x, shape: KerasTensor(shape, x.dtype, rows_per_sample=0),
)
def broadcast_to(x: ArrayLike, shape: Ints) -> Any:
    """Broadcast x to a shape: repeated along axes of size 1, and along new ones in front.

    Args:
        x: numbers.
        shape: of the result.

    Raises:
        ValueError: x cannot have that shape.
    """
    return np.array(np.broadcast_to(x, shape_arg(shape)))


@tensor_operation(lambda program, spec, x: value_of(program, x))
def copy(x: ArrayLike) -> Any:
    """Copy of x as a new array."""
    return np.array(x)


def _reinterpreted(x: Any, dtype: Any) -> tuple[Any, Any]:
    """Array of the other dtype, made before 16 bits are widened; nothing is left to be done."""
    if dtype is None or is_symbolic((x,), {}):
        return x, dtype
    return np.asarray(x).view(numpy_dtype(standardize_dtype(dtype))), None


def _viewed(x: KerasTensor, dtype: Any) -> KerasTensor:
    """Tensor whose last axis holds as many bytes."""
    to = standardize_dtype(dtype or x.dtype)
    old, new = (numpy_dtype(each).itemsize for each in (x.dtype, to))
    *sizes, last = x.shape
    if last is not None and last * old % new:
        raise ValueError(f"view: x must have whole numbers of {to} in its last axis, got {x.shape}")
    return x.like((*sizes, None if last is None else last * old // new), to)


@tensor_operation(
    untraced="cdl computes in float32, which has no other bits: use cdl.ops.cast",
    prepare=_reinterpreted,
    outline=_viewed,
)
def view(x: ArrayLike, dtype: Any = None) -> Any:
    """Reinterpret the bits of x as another dtype."""
    del dtype  # by `_reinterpreted`
    return np.array(x)
