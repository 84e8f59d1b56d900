"""Reductions over axes: sums, means, maxima, minima.

`axis` is an axis, several, or None for all; with `keepdims` the axes stay, with size 1. Over the
axis of the samples a sum, a mean, a largest or a smallest is one of the whole batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._common.shared_arguments import described_by
from cdl._ir.elementwise import apply, argument
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, tensor_operation
from cdl.ops.arrays import Ints, axis_arg, real, samples_apart, shape_of
from cdl.ops.exact_integers import bound_of_sum, exact, no_bound
from cdl.ops.lowering import reduction
from cdl.ops.numpy.arithmetic import divide, multiply, sqrt, square, subtract
from cdl.ops.numpy.comparisons import not_equal
from cdl.ops.numpy.shapes import reshape


def _counted(x: ArrayLike) -> Any:
    """Bools as numbers 0 and 1."""
    array = np.asarray(x)
    return array.astype(np.int32) if array.dtype == bool else array


@tensor_operation(exact("sum", reduction("sum"), bound_of_sum, cancels=True))
def sum(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Sum of x over axes.

    Args:
        x: numbers.
        axis: an axis, several, or None for all.
        keepdims: whether the axes stay, with size 1.
    """
    return np.sum(_counted(x), axis_arg(axis), keepdims=keepdims)


@tensor_operation(reduction("mean"))
@described_by(sum)
def mean(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Mean of x over axes."""
    numbers = real(x)
    if numbers.dtype.kind == "c":
        return np.mean(numbers, axis_arg(axis), keepdims=keepdims)
    # The sum of floats of a large offset is off by more than they differ.
    found = np.mean(numbers, axis_arg(axis), np.float64, keepdims=keepdims)
    return found.astype(numbers.dtype)


def _initial(reduce: Any, choose: Any) -> Any:
    """Lowering of max or min that starts with a number."""

    def lower(
        program: Lowering, spec: KerasTensor, x: Any, axis: Ints, keepdims: bool, initial: Any
    ) -> Any:
        value = reduce(program, spec, x, axis, keepdims)
        if initial is None:
            return value
        return program.map(apply(choose, argument(0), float(initial)), [value])

    return lower


@tensor_operation(_initial(reduction("max"), "maximum"))
@described_by(sum)
def max(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Maximum of x over axes; equal ones share the gradient.

    Args:
        initial: a number that the result is at least; None for none.
    """
    start = {} if initial is None else {"initial": initial}
    return np.max(x, axis_arg(axis), keepdims=keepdims, **start)


@tensor_operation(_initial(reduction("min"), "minimum"))
@described_by(sum)
def min(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Minimum of x over axes; equal ones share the gradient.

    Args:
        initial: a number that the result is at most; None for none.
    """
    start = {} if initial is None else {"initial": initial}
    return np.min(x, axis_arg(axis), keepdims=keepdims, **start)


@tensor_operation(reduction("max"))
def amax(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Maximum of x over axes, as `max`."""
    return np.max(x, axis_arg(axis), keepdims=keepdims)


@tensor_operation(reduction("min"))
def amin(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Minimum of x over axes, as `min`."""
    return np.min(x, axis_arg(axis), keepdims=keepdims)


@tensor_operation()
def ptp(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Range (maximum less minimum), over axes as in `sum`."""
    return subtract(amax(x, axis, keepdims), amin(x, axis, keepdims))


def _prod(
    program: Lowering, spec: KerasTensor, x: ArrayLike, axis: Ints, keepdims: bool, dtype: DTypeLike
) -> Any:
    return reduction("prod")(program, spec, x, axis, keepdims)


@tensor_operation(exact("prod", _prod, no_bound), untraced=samples_apart)
@described_by(sum)
def prod(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """Product of x over axes, but not that of the samples.

    Args:
        dtype: of the result; None for that of x.
    """
    result = np.prod(_counted(x), axis_arg(axis), keepdims=keepdims)
    return result if dtype is None else result.astype(dtype)


@tensor_operation()
def var(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Variance, the mean of (x - mean(x))^2, over axes as in `sum`."""
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


@tensor_operation()
def std(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Standard deviation, the square root of `var`."""
    return sqrt(var(x, axis, keepdims))


@tensor_operation(reduction("max", of_truths=True))
def any(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Whether any element is true, over axes as in `sum`."""
    return np.any(x, axis_arg(axis), keepdims=keepdims)


@tensor_operation(reduction("min", of_truths=True))
def all(x: ArrayLike, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Whether all elements are true, over axes as in `sum`."""
    return np.all(x, axis_arg(axis), keepdims=keepdims)


@tensor_operation()
def count_nonzero(x: ArrayLike, axis: Ints | None = None) -> Any:
    """Number of nonzero elements, over axes as in `sum`."""
    return sum(not_equal(x, 0), axis)


@tensor_operation(saved=Saved(by_name=("weights",)))
def average(x: ArrayLike, axis: Any = None, weights: ArrayLike | None = None) -> Any:
    """Weighted mean of x.

    Args:
        x: numbers.
        axis: an axis, several, or None for all.
        weights: of the shape of x, or of as many numbers as there are along the axis; None for
            equal ones.
    """
    if weights is None:
        return mean(x, axis)
    ndim = len(shape_of(x))
    if len(shape_of(weights)) < ndim:
        if axis is None:
            raise ValueError(
                f"average: axis must be given for weights of another shape than x, got shapes "
                f"{shape_of(x)} and {shape_of(weights)}"
            )
        place = [1] * ndim
        place[axis] = -1
        weights = reshape(weights, place)
    return divide(sum(multiply(x, weights), axis), sum(weights, axis))
