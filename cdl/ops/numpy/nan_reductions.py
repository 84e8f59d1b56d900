"""Reductions that ignore NaN as missing.

`axis` and `keepdims` are as in `cdl.ops.sum`.
"""

from __future__ import annotations

from math import prod as prod_of
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.operation import tensor_operation
from cdl.ops.arrays import Ints, axes_of, axis_arg, real, samples_apart, shape_of
from cdl.ops.numpy.arithmetic import add, divide, maximum, multiply, sqrt, square, subtract
from cdl.ops.numpy.comparisons import isnan, logical_not, where
from cdl.ops.numpy.indexing import take, take_along_axis
from cdl.ops.numpy.joining import stack
from cdl.ops.numpy.reductions import all as each
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import min as smallest
from cdl.ops.numpy.reductions import prod
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, moveaxis, reshape, squeeze
from cdl.ops.numpy.sorting import argmax, argmin, sort
from cdl.ops.numpy.statistics import check_method

_INFINITY = float("inf")


@tensor_operation()
def nansum(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Sum of the numbers that are not NaN."""
    return total(where(isnan(x), 0, x), axis, keepdims)


@tensor_operation(untraced=samples_apart)
def nanprod(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Product of the numbers that are not NaN."""
    return prod(where(isnan(x), 1, x), axis, keepdims)


@tensor_operation()
def nanmean(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Mean of the numbers that are not NaN; NaN if there is none."""
    count = total(logical_not(isnan(x)), axis, keepdims)
    return divide(nansum(x, axis, keepdims), count)


@tensor_operation()
def nanvar(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Variance of the numbers that are not NaN; NaN if there is none."""
    missing = isnan(x)
    # Chosen before the squares: the gradient of NaN squared is NaN, and 0 times it as well.
    apart = where(missing, 0, subtract(x, nanmean(x, axis, True)))
    count = total(logical_not(missing), axis, keepdims)
    return divide(total(square(apart), axis, keepdims), count)


@tensor_operation()
def nanstd(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Standard deviation, the square root of `nanvar`."""
    return sqrt(nanvar(x, axis, keepdims))


@tensor_operation()
def nanmax(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Maximum of the numbers that are not NaN; NaN if there is none."""
    found = largest(where(isnan(x), -_INFINITY, multiply(x, 1.0)), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), float("nan"), found)


@tensor_operation()
def nanmin(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Minimum of the numbers that are not NaN; NaN if there is none."""
    found = smallest(where(isnan(x), _INFINITY, multiply(x, 1.0)), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), float("nan"), found)


@tensor_operation(untraced=samples_apart)
def nanargmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the largest number that is not NaN; -1 if there is none."""
    found = argmax(where(isnan(x), -_INFINITY, x), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), -1, found)


@tensor_operation(untraced=samples_apart)
def nanargmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the smallest number that is not NaN; -1 if there is none."""
    found = argmin(where(isnan(x), _INFINITY, x), axis, keepdims)
    return where(each(isnan(x), axis, keepdims), -1, found)


def _nanquantile(x: Any, q: Any, axis: Any, method: str, keepdims: bool) -> Any:
    """Quantile of symbolic numbers, of which NaN are sorted behind the others."""
    n = len(shape_of(x))
    axes, shape = axes_of(axis, n), shape_of(x)
    left = [-1 if shape[a] is None else shape[a] for a in range(n) if a not in axes]
    size = prod_of(shape[a] for a in axes)
    lines = sort(reshape(moveaxis(x, axes, range(-len(axes), 0)), [*left, size]))
    last = maximum(subtract(total(logical_not(isnan(lines)), -1, True), 1), 0)
    at = np.arange(size) * q  # by how many there are, as NumPy has them in float64
    low, high = np.floor(at), np.ceil(at)
    place = {"linear": at, "lower": low, "higher": high, "midpoint": (low + high) / 2}
    share = take((place.get(method, np.round(at)) - low).astype(np.float32), last)
    places = (take(each.astype(np.int32), last) for each in (low, high))
    below, above = (take_along_axis(lines, each, -1) for each in places)
    y = squeeze(add(multiply(below, subtract(1.0, share)), multiply(above, share)), -1)
    return expand_dims(y, axes) if keepdims else y


def _nanquantiles(x: Any, q: Any, axis: Any, method: str, keepdims: bool) -> Any:
    """Quantiles of symbolic numbers, along a first axis where there are several."""
    if np.ndim(q) == 0:
        return _nanquantile(x, float(q), axis, method, keepdims)
    return stack([_nanquantiles(x, each, axis, method, keepdims) for each in np.asarray(q)])


@tensor_operation(
    lambda program, spec, *args: _nanquantiles(*args),
    untraced=lambda x, q, axis, *_: samples_apart(x, axis),
)
def nanquantile(
    x: ArrayLike, q: Any, axis: Ints | None = None, method: Any = "linear", keepdims: Any = False
) -> Any:
    """Quantile as `quantile`, of the numbers that are not NaN."""
    check_method("nanquantile", method)
    return np.nanquantile(real(x), q, axis_arg(axis), method=method, keepdims=keepdims)


@tensor_operation(
    lambda program, spec, x, q, *args: _nanquantiles(x, np.asarray(q) / 100.0, *args),
    untraced=lambda x, q, axis, *_: samples_apart(x, axis),
)
def nanpercentile(
    x: ArrayLike, q: Any, axis: Ints | None = None, method: Any = "linear", keepdims: Any = False
) -> Any:
    """Percentile as `percentile`, of the numbers that are not NaN."""
    check_method("nanpercentile", method)
    return np.nanpercentile(real(x), q, axis_arg(axis), method=method, keepdims=keepdims)


@tensor_operation(
    lambda program, spec, x, axis, keepdims: _nanquantile(x, 0.5, axis, "linear", keepdims),
    untraced=samples_apart,
)
def nanmedian(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Median as `median`, of the numbers that are not NaN."""
    return np.nanmedian(real(x), axis_arg(axis), keepdims=keepdims)
