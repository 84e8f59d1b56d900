"""Cumulative sums and products, and differences, along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, operation, tensor_operation
from cdl.ops.arrays import Ints, as_dtype, axes_of, count_arg, samples_apart, shape_of
from cdl.ops.exact_integers import bound_of_sums, exact, no_bound
from cdl.ops.indexing_lowering import cumulated
from cdl.ops.numpy.arithmetic import add, multiply, subtract
from cdl.ops.numpy.comparisons import isnan, where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.reductions import sum as total


def _running(kind: str) -> Any:
    def lower(program: Lowering, spec: KerasTensor, x: Any, axis: Ints, dtype: DTypeLike) -> Any:
        return cumulated(program, spec, x, axis, kind)

    return lower


@tensor_operation(
    exact("cumsum", _running("sum"), bound_of_sums, cancels=True), untraced=samples_apart
)
def cumsum(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Any:
    """Cumulative sum along an axis.

    Args:
        x: numbers.
        axis: along which; None flattens x.
        dtype: of the result; None for that of x.
    """
    return _cumulated(np.cumsum, x, axis, dtype)


@tensor_operation(exact("cumprod", _running("prod"), no_bound), untraced=samples_apart)
def cumprod(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Any:
    """Cumulative product along an axis; arguments as of `cumsum`."""
    return _cumulated(np.cumprod, x, axis, dtype)


def _cumulated(function: Any, x: ArrayLike, axis: int | None, dtype: Any) -> Any:
    array = np.asarray(x)
    if array.dtype == bool:
        array = array.astype(np.int32)
    if dtype is None:  # NumPy by itself would widen small integers
        return function(array, axis, array.dtype)
    return as_dtype(function(array, axis), dtype)


@tensor_operation(untraced=samples_apart)
def nancumsum(x: ArrayLike, axis: Ints | None = None, dtype: Any = None) -> Any:
    """Cumulative sum as `cumsum`, a NaN counting as 0; along several axes, one after the other."""
    return _along_each(cumsum, where(isnan(x), 0, x), axis, dtype)


@tensor_operation(untraced=samples_apart)
def nancumprod(x: ArrayLike, axis: Ints | None = None, dtype: Any = None) -> Any:
    """Cumulative product as `cumprod`, a NaN counting as 1; of several axes as `nancumsum`."""
    return _along_each(cumprod, where(isnan(x), 1, x), axis, dtype)


def _along_each(function: Any, x: Any, axis: Any, dtype: Any) -> Any:
    for each in axis if isinstance(axis, (list, tuple)) else [axis]:
        x = function(x, each, dtype)
    return x


def _part(x: ArrayLike, axis: int, part: slice) -> Any:
    (at,) = axes_of(axis, len(shape_of(x)))
    return get_item(x, (*[slice(None)] * at, part))


@operation(untraced=lambda a, n, axis: samples_apart(a, axis))
def diff(a: ArrayLike, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along an axis.

    Args:
        a: numbers.
        n: how many times.
        axis: along which.
    """
    for _ in range(count_arg("diff", "n", n)):
        a = subtract(_part(a, axis, slice(1, None)), _part(a, axis, slice(0, -1)))
    return a


@operation(untraced=lambda y, x, dx, axis: samples_apart(y, axis), saved=Saved(statics=("x",)))
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Integral along an axis by the trapezoidal rule.

    Args:
        y: numbers.
        x: where they are; None for at distance `dx`.
        dx: the distance.
        axis: along which.
    """
    means = multiply(add(_part(y, axis, slice(1, None)), _part(y, axis, slice(0, -1))), 0.5)
    if x is None:
        return multiply(total(means, axis), dx)
    return total(multiply(means, diff(x, axis=axis)), axis)
