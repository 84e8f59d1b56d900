"""Sorting and searching along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._ir.lowering import Lowering
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, operation, tensor_operation
from cdl.ops.arrays import Ints, samples_apart
from cdl.ops.indexing_lowering import argued, sorted_along


def _arg(smallest: bool) -> Any:
    def lower(program: Lowering, spec: KerasTensor, x: Any, axis: Ints, keepdims: bool) -> Any:
        return argued(program, spec, x, axis, smallest)

    return lower


@tensor_operation(_arg(False), untraced=samples_apart)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the largest number along an axis, the first of equal ones.

    Args:
        x: numbers.
        axis: along which; None flattens x.
        keepdims: whether the axis stays, with size 1.
    """
    return np.argmax(x, axis, keepdims=keepdims)


@tensor_operation(_arg(True), untraced=samples_apart)
@described_by(argmax)
def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the smallest number along an axis, the first of equal ones."""
    return np.argmin(x, axis, keepdims=keepdims)


def _sort(program: Lowering, spec: KerasTensor, x: ArrayLike, axis: Ints) -> Any:
    return sorted_along(program, x, axis)[0]


def _argsort(program: Lowering, spec: KerasTensor, x: ArrayLike, axis: Ints) -> Any:
    return sorted_along(program, x, axis)[1]


@tensor_operation(_sort, untraced=samples_apart)
def sort(x: ArrayLike, axis: int | None = -1) -> Any:
    """Sort numbers along an axis, in ascending order.

    Args:
        x: numbers.
        axis: along which; None flattens x.
    """
    return np.sort(x, axis)


@tensor_operation(_argsort, untraced=samples_apart)
@described_by(sort)
def argsort(x: ArrayLike, axis: int | None = -1) -> Any:
    """Indices that sort x along an axis, in ascending order; equal ones stay in order."""
    return np.argsort(x, axis, kind="stable")


@tensor_operation(on_arrays(), untraced=lambda x, kth, axis: samples_apart(x, axis))
def argpartition(x: ArrayLike, kth: int, axis: int = -1) -> Any:
    """Indices that partition x along an axis: those of the kth smallest in front.

    Args:
        x: numbers.
        kth: what stands at this place is not smaller than what is before, not larger than what is
            behind.
        axis: along which.
    """
    return np.argpartition(x, kth, axis)


@operation(
    on_arrays(),
    untraced=lambda sorted_sequence, *_: samples_apart(sorted_sequence, None),
    saved=Saved("SearchSorted"),
)
def searchsorted(sorted_sequence: Any, values: ArrayLike, side: Any = "left") -> Any:
    """Insertion points of values in a sorted vector.

    Args:
        sorted_sequence: numbers in order.
        values: numbers.
        side: "left": before equal ones; "right": behind them.
    """
    if np.ndim(sorted_sequence) != 1:
        raise ValueError(
            f"searchsorted: sorted_sequence must be a vector, got {np.ndim(sorted_sequence)} axes"
        )
    return np.searchsorted(sorted_sequence, values, side)


def _digitize(x: ArrayLike, bins: Any) -> Any:
    """Number of bins that are not above x; of descending ones, that are."""
    from cdl.ops.numpy.comparisons import less, logical_not
    from cdl.ops.numpy.reductions import sum as total
    from cdl.ops.numpy.shapes import expand_dims

    bins = np.asarray(bins, np.float32)
    below = less(expand_dims(x, -1), bins)
    return total(below if (bins[:1] > bins[-1:]).any() else logical_not(below), -1)


@tensor_operation(lambda program, spec, x, bins: _digitize(x, bins))
def digitize(x: Any, bins: Any) -> Any:
    """Bin index of x: the number of borders up to it.

    Args:
        x: numbers.
        bins: numbers in order.
    """
    return np.digitize(x, np.asarray(bins))
