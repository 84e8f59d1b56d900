"""Statistics: medians and quantiles, counts, correlations."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._tracing.array_call import on_arrays
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import operation, pair_operation, tensor_operation
from cdl.ops.arrays import Ints, as_dtype, axes_of, axis_arg, real, samples_apart, shape_of, whole
from cdl.ops.numpy.arithmetic import (
    absolute,
    add,
    divide,
    maximum,
    multiply,
    sqrt,
    square,
    subtract,
)
from cdl.ops.numpy.comparisons import greater, isnan, where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import stack
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.reductions import mean
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.rounding import ceil, clip, floor
from cdl.ops.numpy.rounding import round as rounded
from cdl.ops.numpy.shapes import expand_dims, moveaxis, reshape, swapaxes
from cdl.ops.numpy.sorting import sort

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def check_method(owner: str, method: Any) -> None:
    """Check what to take between two numbers of a quantile.

    Raises:
        ValueError: there is no such method.
    """
    if method not in _METHODS:
        raise ValueError(f"{owner}: method must be one of {_METHODS}, got {method!r}")


def _quantile_apart(x: ArrayLike, q: Any, axis: Ints, *_: Any) -> str:
    return samples_apart(q, None) or samples_apart(x, axis)


def _quantiles(x: ArrayLike, q: Any, axis: Any, method: str, keepdims: bool) -> Any:
    """Quantiles of symbolic numbers, along first axes where there are several."""
    if isinstance(q, LoweredTensor):
        return _quantile(x, q, axis, method, keepdims)
    several = np.asarray(q, np.float64)
    found = [_quantile(x, float(each), axis, method, keepdims) for each in several.reshape(-1)]
    for size in several.shape[::-1]:
        found = [stack(found[k : k + size]) for k in range(0, len(found), size)]
    return found[0]


def _weights(q: Any, n: int, method: str) -> Any:
    """Weights of n numbers in order, along a new last axis, for symbolic q."""
    at = expand_dims(multiply(q, n - 1), -1)
    places = {
        "linear": [at],
        "lower": [floor(at)],
        "higher": [ceil(at)],
        "midpoint": [floor(at), ceil(at)],
        "nearest": [rounded(at)],
    }[method]
    each = [maximum(subtract(1.0, absolute(subtract(p, np.arange(n)))), 0.0) for p in places]
    return each[0] if len(each) == 1 else multiply(add(*each), 0.5)


def _quantile(x: ArrayLike, q: Any, axis: Any, method: str, keepdims: bool) -> Any:
    """Quantile of symbolic numbers, from one or two places of their order."""
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    lines = moveaxis(x, axes, range(-len(axes), 0))
    left = [shape[a] for a in range(len(shape)) if a not in axes]
    size = prod(shape[a] for a in axes)
    lines = sort(reshape(lines, [*(-1 if n is None else n for n in left), size]))
    last = get_item(lines, (Ellipsis, -1))  # NaN, if any number of the line is
    if isinstance(q, LoweredTensor):
        weights = _weights(q, shape_of(lines)[-1], method)
        weights = expand_dims(weights, tuple(range(q.ndim, q.ndim + lines.ndim - 1)))
        y = total(where(greater(weights, 0.0), multiply(weights, lines), 0.0), -1)
        y = where(isnan(last), last, y)
        return expand_dims(y, tuple(a + q.ndim for a in axes)) if keepdims else y
    at = q * (shape_of(lines)[-1] - 1)
    low, high = int(np.floor(at)), int(np.ceil(at))
    share = {"linear": at - low, "lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(method)
    if share is None:
        share = float(np.round(at)) - low
    below, above = (get_item(lines, (Ellipsis, i)) for i in (low, high))
    y = add(multiply(below, 1.0 - share), multiply(above, share)) if high > low else below
    y = where(isnan(last), last, y)
    return expand_dims(y, axes) if keepdims else y


@tensor_operation(lambda program, spec, *args: _quantiles(*args), untraced=_quantile_apart)
def quantile(
    x: ArrayLike, q: Any, axis: Ints | None = None, method: Any = "linear", keepdims: Any = False
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
    check_method("quantile", method)
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
    x: ArrayLike, q: Any, axis: Ints | None = None, method: Any = "linear", keepdims: Any = False
) -> Any:
    """Percentile: `quantile` with q from 0 to 100."""
    if isinstance(q, LoweredTensor):
        return quantile(x, multiply(q, 0.01), axis, method, keepdims)
    return quantile(x, np.asarray(q) / 100.0, axis, method, keepdims)


@tensor_operation(untraced=samples_apart)
@described_by(quantile)
def median(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Median over some axes: the middle number, or the mean of the two."""
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
    numbers = np.asarray(x)
    n = max(minlength, int(numbers.max(initial=-1)) + 1)
    lines = numbers.reshape(-1, numbers.shape[-1])
    shares = [None] * len(lines)
    if weights is not None:
        shares = list(np.broadcast_to(weights, numbers.shape).reshape(lines.shape))
    counts = [np.bincount(a, w, n) for a, w in zip(lines, shares, strict=True)]
    found = np.stack(counts).reshape(*numbers.shape[:-1], n)
    return as_dtype(found, "int32" if weights is None else None)


def _histogram_gradient(dy: Any, y: Any, x: Any, bins: int, range: Any) -> Any:
    """Gradient by the smallest and the largest number, between which the borders lie."""
    shares, found = np.arange(bins + 1) / max(bins, 1), np.zeros_like(x)
    if range is None and x.size and x.max() > x.min():
        found[x.argmin()] = dy[1] @ (1.0 - shares)
        found[x.argmax()] = dy[1] @ shares
    return found


@operation(on_arrays(_histogram_gradient), untraced=lambda x, *_: samples_apart(x, None))
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


def _corrcoef(x: Any) -> Any:
    """Correlation matrix of symbolic variables."""
    apart = subtract(x, mean(x, -1, True))
    found = matmul(apart, swapaxes(apart, -1, -2))
    size = sqrt(total(square(apart), -1))
    return clip(divide(found, multiply(expand_dims(size, -1), size)), -1.0, 1.0)


@tensor_operation(lambda program, spec, x: _corrcoef(x), untraced=lambda x: samples_apart(x, None))
def corrcoef(x: ArrayLike) -> Any:
    """Correlation matrix of variables, which are the rows of a matrix."""
    return np.corrcoef(real(x))


def _correlate_gradient(dy: Any, y: Any, x1: Any, x2: Any, mode: str) -> Any:
    """Gradients by both vectors: correlations with the gradient, as of mode "full"."""
    n, m = len(x1), len(x2)
    short = min(n, m)
    before = {"full": 0, "valid": short - 1, "same": short - short // 2 - 1}[mode]
    after = n + m - 1 - before - len(y)
    whole = np.pad(dy, (before, after) if n >= m else (after, before))
    by_second = np.correlate(whole, x1, "valid")[::-1]
    return np.correlate(whole, x2[::-1], "valid"), by_second


@pair_operation(on_arrays(_correlate_gradient), untraced=whole)
def correlate(x1: ArrayLike, x2: ArrayLike, mode: Any = "valid") -> Any:
    """Cross-correlation of two vectors.

    Args:
        x1: a vector.
        x2: another one.
        mode: "valid": where they overlap as a whole; "same": as many as x1 has; "full": all.
    """
    return np.correlate(real(x1), real(x2), mode)
