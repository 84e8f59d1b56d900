"""Common parts of eager functions: arrays of the dtype that Keras computes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import tree
from cdl._common.dtypes import astype, standardize_dtype
from cdl._tracing import graph
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.known_sizes import sizes_in
from cdl._tracing.lowered_tensor import LoweredTensor

Array = np.ndarray[Any, np.dtype[Any]]
Ints = int | Sequence[int]  # one size or axis, or several


def real(x: ArrayLike) -> Array:
    """Array of floating-point numbers: integers become float32."""
    array = np.asarray(x)
    known = array.dtype.kind in "fc" or array.dtype.name == "bfloat16"
    return array if known else array.astype(np.float32)


def as_dtype(x: ArrayLike, dtype: Any) -> Array:
    """Array of a dtype; None leaves it."""
    array = np.asarray(x)
    return array if dtype is None else astype(array, standardize_dtype(dtype))


def shape_of(x: Any) -> tuple[Any, ...]:
    """Shape of a tensor of any kind, None for unknown sizes and for the samples."""
    if not hasattr(x, "shape"):
        return np.shape(x)
    if not getattr(x, "rows_per_sample", 0):
        return tuple(x.shape)
    return (*x.shape[: x.batch_axis], None, *x.shape[x.batch_axis + 1 :])


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as numbers from 0, in order; None is all of them.

    Raises:
        ValueError: there is no such axis.
    """
    if axis is None:
        return tuple(range(ndim))
    several = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = []
    for each in several:
        if not -ndim <= each < ndim:
            raise ValueError(f"axis {each} is out of bounds of {ndim} axes")
        found.append(each % ndim)
    return tuple(sorted(found))


def count_arg(function: str, argument: str, n: ArrayLike, most: int | None = None) -> int:
    """Check a count from 0 to `most`, as an int.

    Raises:
        ValueError: it is no whole number, or not in this range.
    """
    if not isinstance(n, (int, np.integer)) or n < 0 or (most is not None and n > most):
        range_ = "an int of at least 0" if most is None else f"an int from 0 to {most}"
        raise ValueError(f"{function}: {argument} must be {range_}, got {n!r}")
    return int(n)


def axis_arg(axis: Any) -> Any:
    """Check an axis, or several, as NumPy takes it."""
    return tuple(axis) if isinstance(axis, list) else axis


def shape_arg(shape: Any) -> tuple[int, ...]:
    """Check a shape as NumPy takes it: an int, a list, a tuple or an array."""
    if isinstance(shape, np.ndarray):
        shape = shape.tolist()
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if any(size is None for size in sizes):
        raise ValueError(
            f"shape: sizes must be known, got {sizes}: that of an open axis is known in the `call` "
            "of a layer"
        )
    return sizes


def sizes_for(x: Any, shape: Ints) -> Any:
    """Shape for a tensor: its first size is the number of samples if it is None or equal.

    Args:
        x: the tensor; None if the shape is that of a new one.
        shape: as the user gives it.
    """
    if isinstance(shape, (KerasTensor, LoweredTensor)):
        shape = sizes_in(shape) or shape
    if not isinstance(shape, (list, tuple)) or not shape:
        return shape
    tensor = x.spec if isinstance(x, LoweredTensor) else x
    first = shape[0]
    if isinstance(tensor, KerasTensor) and tensor.rows_per_sample and not tensor.batch_axis:
        known = tensor.shape[0]
        if first is None or (isinstance(first, int) and first == known):
            first = SymbolicBatch(1 if first is None else tensor.rows_per_sample)
    elif first is None and graph.current_scope() is not None:
        first = SymbolicBatch()
    return (first, *shape[1:])


def along_samples(x: Any, axis: Ints) -> bool:
    """Whether one of the axes of a symbolic tensor is that of the samples; None is all axes."""
    return bool(getattr(x, "rows_per_sample", 0)) and x.batch_axis in axes_of(axis, len(x.shape))


def whole(*args: Any) -> str:
    """Advice instead of a function of all numbers, if samples are among them; "" if not."""
    return next(filter(None, (samples_apart(leaf, None) for leaf in tree.flatten(args))), "")


def samples_apart(x: Any, axis: Any = None, *rest: Any) -> str:
    """Advice instead of working along the axis of the samples; "" if it is not needed.

    It is the `untraced` of operations whose first arguments these are; the rest does not count.
    """
    if not along_samples(x, axis):
        return ""
    place = ("first", "second", "third", "fourth", "fifth")[x.batch_axis]
    return f"its {place} axis is that of the samples, which must stay apart: work along another one"
