"""Products of matrices, vectors and tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir import emit
from cdl._ir.emit import reshape as reshaped
from cdl._ir.lowering import Lowering
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import pair_operation
from cdl.ops.arrays import Ints, along_samples, axes_of, count_arg, shape_of
from cdl.ops.exact_integers import bound_of_product, exact
from cdl.ops.indexing_lowering import product
from cdl.ops.numpy.arithmetic import multiply, subtract
from cdl.ops.numpy.comparisons import not_equal
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import stack
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, moveaxis, ravel, reshape, transpose


def truths(y: Any, *factors: Any) -> Any:
    """Sums of products as truths, if all factors are: whether one of the products holds."""
    of_truths = all(str(getattr(x, "dtype", np.asarray(x).dtype)) == "bool" for x in factors)
    return not_equal(y, 0) if of_truths else y


def _matmul(program: Lowering, spec: Any, x1: Any, x2: Any) -> Any:
    if spec.dtype == "bool":
        whole = LoweredTensor(_product(program, spec, x1, x2), spec.like(dtype="int32"))
        return not_equal(whole, 0)
    return _product(program, spec, x1, x2)


def _product(program: Lowering, spec: Any, x1: Any, x2: Any) -> Any:
    if not along_samples(x1, -1):
        return product(program, spec, x1, x2)
    row, column = x1.value.shape, x2.value.shape  # of a sample, whose outer product is summed
    a = reshaped(program, x1.value, (prod(row), 1))
    b = reshaped(program, x2.value, (1, prod(column)))
    y = program.batch_reduce(emit.product(program, a, b), "sum")
    return reshaped(program, y, spec.shape)


def _over_samples(x1: Any, x2: Any) -> str:
    n, m = len(shape_of(x1)), len(shape_of(x2))
    over = along_samples(x1, -1), along_samples(x2, max(-2, -m))
    if not any(over) or (
        all(over) and max(n, m) <= 2 and x1.rows_per_sample == x2.rows_per_sample == 1
    ):
        return ""
    return "a sum over the samples is cdl.ops.sum of products, over axis 0"


_NAMES = "matmul (of which dot, inner, tensordot and einsum are made)"


def _of_arrays(lower: Callable[..., Any]) -> Callable[..., Any]:
    """Lowering whose operands may be lists of numbers too."""

    def appended(program: Lowering, spec: Any, *operands: Any) -> Any:
        arrays = [np.asarray(x) if isinstance(x, (list, tuple)) else x for x in operands]
        return lower(program, spec, *arrays)

    return appended


_of_matmul = _of_arrays(exact(_NAMES, _matmul, bound_of_product, cancels=True))


@pair_operation(_of_matmul, untraced=_over_samples)
def matmul(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Matrix product of the last two axes of both; a vector is a row, or a column on the right.

    Args:
        x1: of shape (..., m, k) or (k,).
        x2: of shape (..., k, n) or (k,); the axes before broadcast.

    Returns:
        An array of shape (..., m, n).
    """
    return np.matmul(x1, x2)


@pair_operation()
def dot(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Dot product over the last axis of x1 and the last but one of x2.

    Args:
        x1: an array or a number.
        x2: likewise; of a vector the only axis.
    """
    first, second = shape_of(x1), shape_of(x2)
    if not first or not second:
        return multiply(x1, x2)
    if len(second) <= 2:
        return matmul(x1, x2)
    return tensordot(x1, x2, [[len(first) - 1], [len(second) - 2]])


@pair_operation()
def vdot(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Dot product of two flattened arrays."""
    return truths(total(multiply(ravel(x1), ravel(x2))), x1, x2)


@pair_operation()
def inner(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Inner product over the last axes of both."""
    first, second = shape_of(x1), shape_of(x2)
    if not first or not second:
        return multiply(x1, x2)
    if first[-1] != second[-1] and None not in (first[-1], second[-1]):
        raise ValueError(
            f"inner: x1 and x2 must have the same last dimension, got shapes {first} and {second}"
        )
    return tensordot(x1, x2, [[len(first) - 1], [len(second) - 1]])


@pair_operation()
def outer(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Outer product of the elements of both, as a matrix."""
    return multiply(reshape(x1, (-1, 1)), reshape(x2, (1, -1)))


def _summed(axes: Ints, n: int, m: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, (int, np.integer)):
        count = count_arg("tensordot", "axes", axes, most=min(n, m))
        return list(range(n - count, n)), list(range(count))
    first, second = (np.ravel(a).tolist() for a in axes)
    return [axes_of(a, n)[0] for a in first], [axes_of(a, m)[0] for a in second]


def _tensordot_apart(x1: ArrayLike, x2: ArrayLike, axes: Ints) -> str:
    first, second = _summed(axes, len(shape_of(x1)), len(shape_of(x2)))
    if any(
        along_samples(x1, a) != along_samples(x2, b) for a, b in zip(first, second, strict=False)
    ):
        return "a sum over the samples is cdl.ops.sum of products, over axis 0"
    return ""


@pair_operation(untraced=_tensordot_apart)
def tensordot(x1: ArrayLike, x2: ArrayLike, axes: Any = 2) -> Any:
    """Tensor contraction: sums of products over axes of both.

    Args:
        x1: an array.
        x2: another one.
        axes: how many axes at the end of x1 and at the start of x2; or two lists of them.

    Returns:
        An array of the axes of x1 that are left, then those of x2.

    Raises:
        ValueError: the axes are not of the same sizes.
    """
    n, m = shape_of(x1), shape_of(x2)
    first, second = _summed(axes, len(n), len(m))
    pairs = [(n[a], m[b]) for a, b in zip(first, second, strict=True)]
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(
            f"tensordot: axes {first} of x1 and {second} of x2 must have the same sizes, got "
            f"shapes {n} and {m}"
        )
    left = [a for a in range(len(n)) if a not in first]
    right = [a for a in range(len(m)) if a not in second]
    if any(along_samples(x1, a) for a in first):
        return _over_all(x1, x2, [*left, *first], [*right, *second], len(first))
    size, wide = prod(m[a] for a in second), [m[a] for a in right]
    a = reshape(transpose(x1, [*left, *first]), (*_leading(x1, n, left), size))
    b = reshape(transpose(x2, [*second, *right]), (size, -1 if None in wide else prod(wide)))
    whole = (*(_size(x1, n, i) for i in left), *(m[i] for i in right))
    return reshape(matmul(a, b), whole)


def _over_all(x1: ArrayLike, x2: ArrayLike, order: list[int], other: list[int], summed: int) -> Any:
    """All products over the last axes of both, summed over that of the samples too."""
    a, b = transpose(x1, order), transpose(x2, other)
    left, right = len(order) - summed, len(other) - summed
    a = expand_dims(a, tuple(range(left, left + right))) if right else a
    found = total(multiply(a, b), axis=tuple(range(left + right, left + right + summed)))
    return truths(found, x1, x2)


def _size(x: ArrayLike, shape: Any, axis: int) -> Any:
    """Size of an axis, -1 for that of the samples."""
    return -1 if along_samples(x, axis) else shape[axis]


def _leading(x: ArrayLike, shape: Any, axes: list[int]) -> tuple[Any, ...]:
    """Sizes of the rows of x: those of the samples and of all others, made one."""
    if axes and along_samples(x, axes[0]):
        return (-1, prod(shape[a] for a in axes[1:]))
    return (prod(shape[a] for a in axes),)


@pair_operation()
def cross(
    x1: ArrayLike,
    x2: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Any:
    """Cross product of vectors of 2 or 3 numbers.

    Args:
        x1: vectors along `axisa`.
        x2: vectors along `axisb`.
        axisa: an axis of x1.
        axisb: an axis of x2.
        axisc: an axis of the result; there is none if both vectors have 2 numbers.
        axis: stands for all three.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(x1, axisa, -1), moveaxis(x2, axisb, -1)
    n, m = shape_of(a)[-1], shape_of(b)[-1]
    if n not in (2, 3) or m not in (2, 3):
        raise ValueError(f"cross: x1 and x2 must have vectors of 2 or 3 numbers, got {n} and {m}")
    u = [get_item(a, (Ellipsis, i)) for i in range(n)]
    v = [get_item(b, (Ellipsis, i)) for i in range(m)]
    last = subtract(multiply(u[0], v[1]), multiply(u[1], v[0]))
    if n == m == 2:
        return last
    zero = multiply(u[0], 0)
    u, v = (each if len(each) == 3 else [*each, zero] for each in (u, v))
    parts = [
        subtract(multiply(u[1], v[2]), multiply(u[2], v[1])),
        subtract(multiply(u[2], v[0]), multiply(u[0], v[2])),
        last,
    ]
    return moveaxis(stack(parts, -1), -1, axisc)


@pair_operation()
def kron(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Kronecker product of x1 and x2."""
    n, m = shape_of(x1), shape_of(x2)
    ndim = max(len(n), len(m))
    n, m = (1,) * (ndim - len(n)) + n, (1,) * (ndim - len(m)) + m
    a = reshape(x1, [k for size in n for k in (size, 1)])
    b = reshape(x2, [k for size in m for k in (1, size)])
    return reshape(multiply(a, b), [i * j for i, j in zip(n, m, strict=True)])
