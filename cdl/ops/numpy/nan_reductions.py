"""Reductions that ignore NaN as missing.

`axis` and `keepdims` are as in `cdl.ops.sum`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.operation import tensor_operation
from cdl.ops.arrays import axis_arg, real, samples_apart
from cdl.ops.numpy.arithmetic import divide, multiply, sqrt, square, subtract
from cdl.ops.numpy.comparisons import isnan, logical_not, where
from cdl.ops.numpy.reductions import all as each
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import min as smallest
from cdl.ops.numpy.reductions import prod
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.sorting import argmax, argmin

_INFINITY = float("inf")


@tensor_operation()
def nansum(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Sum of the numbers that are not NaN."""
    return total(where(isnan(x), 0, x), axis, keepdims)


@tensor_operation(untraced=lambda x, axis, keepdims: samples_apart(x, axis))
def nanprod(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Product of the numbers that are not NaN."""
    return prod(where(isnan(x), 1, x), axis, keepdims)


@tensor_operation()
def nanmean(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Mean of the numbers that are not NaN; NaN if there is none."""
    count = total(logical_not(isnan(x)), axis, keepdims)
    return divide(nansum(x, axis, keepdims), count)


@tensor_operation()
def nanvar(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Variance of the numbers that are not NaN; NaN if there is none."""
    return nanmean(square(subtract(x, nanmean(x, axis, True))), axis, keepdims)


@tensor_operation()
def nanstd(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Standard deviation, the square root of `nanvar`."""
    return sqrt(nanvar(x, axis, keepdims))


@tensor_operation()
def nanmax(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Maximum of the numbers that are not NaN; NaN if there is none."""
    found = largest(where(isnan(x), -_INFINITY, multiply(x, 1.0)), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), float("nan"), found)


@tensor_operation()
def nanmin(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Minimum of the numbers that are not NaN; NaN if there is none."""
    found = smallest(where(isnan(x), _INFINITY, multiply(x, 1.0)), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), float("nan"), found)


@tensor_operation(untraced=lambda x, axis, keepdims: samples_apart(x, axis))
def nanargmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the largest number that is not NaN; -1 if there is none."""
    found = argmax(where(isnan(x), -_INFINITY, x), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), -1, found)


@tensor_operation(untraced=lambda x, axis, keepdims: samples_apart(x, axis))
def nanargmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the smallest number that is not NaN; -1 if there is none."""
    found = argmin(where(isnan(x), _INFINITY, x), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), -1, found)


@tensor_operation(untraced="work on arrays")
def nanquantile(
    x: ArrayLike,
    q: Any,
    axis: int | Sequence[int] | None = None,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    """Quantile as `quantile`, of the numbers that are not NaN."""
    return np.nanquantile(real(x), q, axis_arg(axis), method=method, keepdims=keepdims)


@tensor_operation(untraced="work on arrays")
def nanpercentile(
    x: ArrayLike,
    q: Any,
    axis: int | Sequence[int] | None = None,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    """Percentile as `percentile`, of the numbers that are not NaN."""
    return np.nanpercentile(real(x), q, axis_arg(axis), method=method, keepdims=keepdims)


@tensor_operation(untraced="work on arrays")
def nanmedian(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Median as `median`, of the numbers that are not NaN."""
    return np.nanmedian(real(x), axis_arg(axis), keepdims=keepdims)
