"""Statistics: medians and quantiles, counts, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.operation import operation, pair_operation, tensor_operation
from cdl.ops.arrays import as_dtype, axes_of, axis_arg, real, samples_apart, shape_of
from cdl.ops.numpy.arithmetic import add, multiply
from cdl.ops.numpy.comparisons import isnan, where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.shapes import expand_dims, moveaxis, reshape
from cdl.ops.numpy.sorting import sort

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _line_apart(x: ArrayLike, axis: int | Sequence[int], *_: Any) -> str:
    return samples_apart(x, axis)


def _quantile_apart(x: ArrayLike, q: Any, axis: int | Sequence[int], *_: Any) -> str:
    return samples_apart(x, axis) or ("" if np.ndim(q) == 0 else "ask for one quantile at a time")


def _quantiles(
    x: ArrayLike, q: float, axis: int | Sequence[int], method: str, keepdims: bool
) -> Any:
    """Quantile of symbolic numbers, from one or two places of their order."""
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    lines = moveaxis(x, axes, range(-len(axes), 0))
    left = [shape[a] for a in range(len(shape)) if a not in axes]
    size = prod(shape[a] for a in axes)
    lines = sort(reshape(lines, [*(-1 if n is None else n for n in left), size]))
    at = q * (shape_of(lines)[-1] - 1)
    low, high = int(np.floor(at)), int(np.ceil(at))
    share = {"linear": at - low, "lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(method)
    if share is None:
        share = float(np.round(at)) - low
    below, above = (get_item(lines, (Ellipsis, i)) for i in (low, high))
    y = add(multiply(below, 1.0 - share), multiply(above, share)) if high > low else below
    last = get_item(lines, (Ellipsis, -1))  # NaN, if any number of the line is
    y = where(isnan(last), last, y)
    return expand_dims(y, axes) if keepdims else y


@tensor_operation(
    lambda program, spec, x, q, axis, method, keepdims: _quantiles(
        x, float(np.asarray(q)), axis, method, keepdims
    ),
    untraced=_quantile_apart,
)
def quantile(
    x: ArrayLike,
    q: Any,
    axis: int | Sequence[int] | None = None,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    """Quantile q of the numbers over some axes, from 0 to 1.

    Args:
        x: numbers.
        q: from 0 to 1; of several the results have a first axis.
        axis: an axis, several, or None for all.
        method: what to take between two numbers: "linear", "lower", "higher", "midpoint",
            "nearest".
        keepdims: whether the axes stay, with size 1.
    """
    if method not in _METHODS:
        raise ValueError(f"quantile: method must be one of {_METHODS}, got {method!r}")
    numbers, axes = real(x), axis_arg(axis)
    found = np.quantile(numbers, q, axes, method=method, keepdims=keepdims)
    if method not in ("linear", "midpoint") or not np.isinf(numbers).any():
        return found
    # NumPy finds NaN between equal infinities, and beside one.
    low, high = (
        np.quantile(numbers, q, axes, method=side, keepdims=keepdims)
        for side in ("lower", "higher")
    )
    with np.errstate(invalid="ignore"):
        between = np.where(np.isinf(low) | np.isinf(high), low + high, found)
    return np.where(low == high, low, between).astype(found.dtype)[()]


@tensor_operation(untraced=_quantile_apart)
def percentile(
    x: ArrayLike,
    q: ArrayLike,
    axis: int | Sequence[int] | None = None,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    """Percentile: `quantile` with q from 0 to 100."""
    return quantile(x, np.asarray(q) / 100.0, axis, method, keepdims)


@tensor_operation(untraced=_line_apart)
def median(x: ArrayLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Median over some axes: the middle number, or the mean of the two.

    Args:
        x: numbers.
        axis: an axis, several, or None for all.
        keepdims: whether the axes stay, with size 1.
    """
    return quantile(x, 0.5, axis, "linear", keepdims)


@tensor_operation(
    untraced="how many there will be is not known: use cdl.ops.sum of cdl.ops.one_hot"
)
def bincount(x: ArrayLike, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """Count of each integer from 0 on, along the last axis.

    Args:
        x: whole numbers from 0, a vector or lines of them.
        weights: what each of them counts; None for 1.
        minlength: how many numbers there are counts of, at least.
        sparse: not supported.
    """
    if sparse:
        raise ValueError("bincount: sparse must be False, got True")
    whole = np.asarray(x)
    n = max(minlength, int(whole.max(initial=-1)) + 1)
    lines = whole.reshape(-1, whole.shape[-1])
    shares = [None] * len(lines)
    if weights is not None:
        shares = list(np.broadcast_to(weights, whole.shape).reshape(lines.shape))
    counts = [np.bincount(a, w, n) for a, w in zip(lines, shares, strict=True)]
    found = np.stack(counts).reshape(*whole.shape[:-1], n)
    return as_dtype(found, "int32" if weights is None else None)


@operation(untraced="work on arrays")
def histogram(x: ArrayLike, bins: int = 10, range: Any = None) -> Any:
    """Histogram: counts in bins of equal width, and the borders of these.

    Args:
        x: a vector.
        bins: how many ranges.
        range: from where to where; None for from the smallest to the largest.
    """
    if not isinstance(bins, (int, np.integer)) or bins < 0:
        raise ValueError(f"histogram: bins must be an int >= 0, got {bins!r}")
    if np.ndim(x) > 1:
        raise ValueError(
            f"histogram: x must be 1-dimensional, a vector, got shape {np.shape(x)}: ravel it"
        )
    counts, borders = np.histogram(np.asarray(x), bins, range)
    return counts.astype(np.float32), borders.astype(np.float32)


@tensor_operation(untraced="work on arrays")
def corrcoef(x: ArrayLike) -> Any:
    """Correlation matrix of variables, which are the rows of a matrix."""
    return np.corrcoef(real(x))


@pair_operation(untraced="work on arrays")
def correlate(x1: ArrayLike, x2: ArrayLike, mode: Any = "valid") -> Any:
    """Cross-correlation of two vectors.

    Args:
        x1: a vector.
        x2: another one.
        mode: "valid": where they overlap as a whole; "same": as many as x1 has; "full": all.
    """
    return np.correlate(real(x1), real(x2), mode)
