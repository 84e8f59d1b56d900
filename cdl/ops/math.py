"""Segment reductions, top k, log-sum-exp, error functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import positive_int
from cdl._ir.elementwise import apply
from cdl._tracing.array_call import ArrayForm, on_arrays
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import Saved, operation, tensor_operation
from cdl.ops.arrays import Ints, axes_of, count_arg, real, samples_apart, shape_of
from cdl.ops.core.tensors import cast, stop_gradient
from cdl.ops.indexing_lowering import sorted_along
from cdl.ops.lowering import elementwise
from cdl.ops.numpy.arithmetic import add, negative, sqrt, square, subtract
from cdl.ops.numpy.comparisons import greater, greater_equal, isfinite, less, logical_and, where
from cdl.ops.numpy.elementary import exp, log
from cdl.ops.numpy.indexing import get_item, take, take_along_axis
from cdl.ops.numpy.reductions import all as each
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, squeeze


@tensor_operation(elementwise("erf"))
def erf(x: ArrayLike) -> Any:
    """Error function: 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _erf(real(x))


@tensor_operation(elementwise(lambda x: 1.0 - apply("erf", x)))
def erfc(x: ArrayLike) -> Any:
    """Complementary error function, 1 - erf(x)."""
    x = real(x)
    return np.vectorize(math.erfc, otypes=[x.dtype])(x)


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


@tensor_operation(on_arrays(lambda dy, y, x: dy * np.exp(np.square(y)) * (np.pi**0.5 / 2)))
def erfinv(x: ArrayLike) -> Any:
    """Inverse error function; infinite at -1 and 1, NaN beyond."""
    x = real(x).astype(np.float64)
    guess = _first_inverse(x)
    for _ in range(3):  # Newton: erf'(y) = 2 / sqrt(pi) exp(-y^2)
        gradient = 2 / np.sqrt(np.pi) * np.exp(-np.square(guess))
        step = (_erf(guess) - x) / np.where(gradient == 0, 1, gradient)
        guess = guess - np.where(np.isfinite(step), step, 0)
    guess = np.where(np.abs(x) == 1, x * np.inf, guess)
    return np.where(np.abs(x) > 1, np.nan, guess)


def _first_inverse(x: Any) -> Any:
    """Winitzki's approximation of the inverse error function, to some 2e-3."""
    a = 0.147
    w = np.log(np.maximum((1 - x) * (1 + x), np.finfo(np.float64).tiny))
    b = 2 / (np.pi * a) + w / 2
    return np.sign(x) * np.sqrt(np.sqrt(b * b - w / a) - b)


@tensor_operation(elementwise("rsqrt"))
def rsqrt(x: ArrayLike) -> Any:
    """Reciprocal of the square root, 1 / sqrt(x)."""
    return np.reciprocal(np.sqrt(real(x)))


# --- sums of exponentials ---


def _top(x: ArrayLike, axis: Any) -> Any:
    top = largest(x, axis, True)
    return where(isfinite(top), top, 0.0)


@tensor_operation()
def logsumexp(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Stable log(sum(exp(x))) over axes.

    Args:
        x: numbers.
        axis: an axis, several, or None for all.
        keepdims: whether the axes stay, with size 1.
    """
    top = stop_gradient(_top(x, axis))
    y = add(log(total(exp(subtract(x, top)), axis, True)), top)
    if keepdims:
        return y
    return squeeze(y, axes_of(axis, len(shape_of(x))))


# --- the largest ones ---


def _top_k(program: Any, spec: Any, x: Any, k: int, sorted: bool) -> Any:
    order = sorted_along(program, negative(x), -1)[1]
    places = LoweredTensor(order, x.spec.like(dtype="int32"))
    first = get_item(places, (Ellipsis, slice(0, k)))
    return take_along_axis(x, first, -1), first


def _counted(x: ArrayLike, k: int, sorted: bool) -> tuple[Any, ...]:
    lines = shape_of(x)
    if not lines:
        raise ValueError("top_k: x must have at least one axis, got a number")
    return x, count_arg("top_k", "k", k, most=lines[-1]), sorted


@operation(_top_k, untraced=lambda x, k, sorted: samples_apart(x, -1), prepare=_counted)
def top_k(x: ArrayLike, k: int, sorted: bool = True) -> Any:
    """The k largest numbers of each line, along the last axis, and their indices.

    Args:
        x: numbers.
        k: how many, at most the size of the last axis.
        sorted: they are sorted either way, the largest first.
    """
    del sorted
    array = np.asarray(x)
    places = np.argsort(-array.astype(np.float64), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(array, places, -1), places.astype(np.int32)


@operation()
def in_top_k(targets: ArrayLike, predictions: ArrayLike, k: int) -> Any:
    """Whether the score of the true class is one of the k largest.

    Args:
        targets: class numbers; one that no prediction has is never among them.
        predictions: for each target a line with a number for each class.
        k: how many count; of equal predictions all do.
    """
    places, n = cast(targets, "int32"), shape_of(predictions)[-1]
    there = logical_and(less(places, n), greater_equal(places, -n))
    known = where(there, places, 0)
    target_scores = take_along_axis(predictions, expand_dims(known, -1), -1)
    better = total(cast(greater(predictions, target_scores), "int32"), -1)
    return logical_and(logical_and(there, less(better, k)), each(isfinite(predictions), -1))


# --- segments ---


def _segments(name: str, combine: Any, start: Any, data: ArrayLike, ids: Any, n: int) -> Any:
    array, ids = np.asarray(data), np.asarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"{name}: segment_ids must be a vector, got {ids.ndim} axes")
    if len(ids) != (array.shape[0] if array.ndim else 0):
        raise ValueError(
            f"{name}: segment_ids must be as many as data has rows, should have same leading "
            f"dimension, got shapes {ids.shape} and {array.shape}"
        )
    n = int(ids.max(initial=-1)) + 1 if n is None else int(n)
    result = np.full((n, *array.shape[1:]), start(array.dtype), array.dtype)
    inside = (ids >= 0) & (ids < n)
    combine.at(result, ids[inside], array[inside])
    return result


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


def _rows_apart(data: ArrayLike, segment_ids: ArrayLike, *_: Any) -> str:
    return samples_apart(data, 0) or samples_apart(segment_ids, 0)


def _segment_shape(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> KerasTensor:
    """Symbolic result: as many rows as there are segments, which may not be known."""
    if num_segments is None and not isinstance(segment_ids, KerasTensor):
        num_segments = int(np.max(segment_ids, initial=-1)) + 1
    if len(shape_of(segment_ids)) != 1:
        raise ValueError(f"segment_ids must be a vector, got shape {shape_of(segment_ids)}")
    if isinstance(data, KerasTensor):
        return data.like((num_segments, *data.shape[1:]))
    return KerasTensor((num_segments, *np.shape(data)[1:]), str(data.dtype), rows_per_sample=0)


def _of_segments(by_rows: Callable[..., Any], linear: bool = False) -> ArrayForm:
    """Form of a reduction of segments.

    Args:
        by_rows: from the gradients and results of each row's segment, the rows and the numbers of
            segments to the gradient by the rows.
        linear: whether that depends on the gradients alone.
    """

    def gradient(dy: Any, y: Any, data: Any, ids: Any, *_: Any) -> Any:
        ids = np.asarray(ids, np.int64)
        inside = (ids >= 0) & (ids < len(y))
        found = np.zeros_like(data)
        at = ids[inside]
        found[inside] = by_rows(dy[at], y[at], data[inside], at)
        return found

    return on_arrays(gradient, linear=linear)


def _of_extremes(dy: Any, y: Any, rows: Any, ids: Any) -> Any:
    """Gradient of equal numbers, which share it."""
    best = (rows == y).astype(np.float64)
    counts = np.zeros((ids.max(initial=0) + 1, *rows.shape[1:]))
    np.add.at(counts, ids, best)
    return dy * best / np.maximum(counts[ids], 1.0)


def _of_products(dy: Any, y: Any, rows: Any, ids: Any) -> Any:
    """Gradient by factors: the product of the other ones."""
    zeros = np.zeros((ids.max(initial=0) + 1, *rows.shape[1:]))
    np.add.at(zeros, ids, rows == 0)
    others = np.ones_like(zeros)
    np.multiply.at(others, ids, np.where(rows == 0, 1.0, rows))
    is_zero = rows == 0
    found = np.where(is_zero, others[ids], others[ids] / np.where(is_zero, 1.0, rows))
    return dy * np.where(zeros[ids] - is_zero > 0, 0.0, found)


@operation(
    _of_segments(lambda dy, y, rows, ids: dy, linear=True),
    untraced=_rows_apart,
    shape=_segment_shape,
)
def segment_sum(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: Any = None, sorted: bool = False
) -> Any:
    """Sums of the rows of each segment.

    Args:
        data: rows along the first axis.
        segment_ids: for each row the number of its segment, from 0.
        num_segments: how many there are; None for as many as are named.
        sorted: whether the numbers are in order, which changes nothing here.
    """
    return _segments("segment_sum", np.add, lambda _: 0, data, segment_ids, num_segments)


@operation(_of_segments(_of_products), untraced=_rows_apart, shape=_segment_shape)
def segment_prod(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: Any = None, sorted: bool = False
) -> Any:
    """Products of the rows of each segment; arguments as of `segment_sum`."""
    return _segments("segment_prod", np.multiply, lambda _: 1, data, segment_ids, num_segments)


@operation(_of_segments(_of_extremes), untraced=_rows_apart, shape=_segment_shape)
def segment_max(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: Any = None, sorted: bool = False
) -> Any:
    """Maxima of the rows of each segment, minus infinity for an empty one."""
    return _segments("segment_max", np.maximum, _lowest, data, segment_ids, num_segments)


@operation(_of_segments(_of_extremes), untraced=_rows_apart, shape=_segment_shape)
def segment_min(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: Any = None, sorted: bool = False
) -> Any:
    """Minima of the rows of each segment, infinity for an empty one."""
    return _segments("segment_min", np.minimum, _highest, data, segment_ids, num_segments)


@tensor_operation(saved=Saved("CDist"))
def cdist(x: ArrayLike, y: ArrayLike) -> Any:
    """Euclidean distances of all rows of x from all rows of y.

    Args:
        x: rows of shape (..., n, d).
        y: rows of shape (..., m, d).
    """
    apart = subtract(expand_dims(x, -2), expand_dims(y, -3))
    return sqrt(total(square(apart), -1))


def _windows(program: Any, spec: Any, x: Any, length: int, stride: int) -> Any:
    starts = np.arange(0, shape_of(x)[-1] - length + 1, stride)
    return take(x, starts[:, None] + np.arange(length), -1)


@operation(_windows, untraced=lambda x, *_: samples_apart(x, -1))
def extract_sequences(x: ArrayLike, sequence_length: int, sequence_stride: int) -> Any:
    """Sliding windows of the last axis, as rows.

    Args:
        x: numbers.
        sequence_length: of a window.
        sequence_stride: from the start of a window to that of the next.
    """
    positive_int("extract_sequences", "sequence_length", sequence_length)
    positive_int("extract_sequences", "sequence_stride", sequence_stride)
    array = np.asarray(x)
    if array.ndim < 1 or array.shape[-1] < sequence_length:
        raise ValueError(
            "extract_sequences: sequence_length must fit into the last axis of x, got "
            f"{sequence_length} for x of shape {array.shape}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(array, sequence_length, -1)
    return np.array(windows[..., ::sequence_stride, :])
