"""Diagonals and triangles of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, tensor_operation
from cdl.ops.arrays import samples_apart, shape_of
from cdl.ops.numpy.arithmetic import multiply
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, moveaxis, reshape


def _of_samples(x: ArrayLike, *_: Any) -> str:
    return (
        "it is of one matrix, not of one for each sample"
        if getattr(x, "rows_per_sample", 0)
        else ""
    )


def _masked(keep: Any) -> Any:
    """Lowering of a matrix with zeros where `keep(rows, columns, k)` has some."""

    def lower(program: Lowering, spec: KerasTensor, x: Any, k: int) -> Any:
        return where(keep(*x.shape[-2:], k), x, 0.0)

    return lower


def _matrices(function: str) -> Callable[..., tuple[Any, ...]]:
    def prepare(x: Any, k: int) -> tuple[Any, ...]:
        if len(shape_of(x)) < 2:
            raise ValueError(f"{function}: x must have at least 2 axes, got shape {shape_of(x)}")
        return x, k

    return prepare


@tensor_operation(
    _masked(np.tri), prepare=_matrices("tril"), untraced=lambda x, k: samples_apart(x, (-2, -1))
)
def tril(x: ArrayLike, k: int = 0) -> Any:
    """Lower triangle of a matrix, the last two axes of x.

    Args:
        x: matrices.
        k: how far the diagonal is to the right of the main one.
    """
    return np.tril(x, k)


@tensor_operation(
    _masked(lambda n, m, k: 1 - np.tri(n, m, k - 1)),
    prepare=_matrices("triu"),
    untraced=lambda x, k: samples_apart(x, (-2, -1)),
)
def triu(x: ArrayLike, k: int = 0) -> Any:
    """Upper triangle of a matrix, the last two axes of x; arguments as of `tril`."""
    return np.triu(x, k)


def _diag(program: Lowering, spec: Any, x: Any, k: int) -> Any:
    if x.ndim == 2:
        return _diagonal(x, k, 0, 1)
    rows = spec.shape[0]
    places = np.eye(x.shape[0], rows, max(k, 0), dtype=np.float32)  # column j of a row's number
    on = np.eye(rows, rows, k, dtype=np.float32)
    return multiply(total(multiply(expand_dims(x, -1), places), 0), on)


@tensor_operation(_diag, untraced=_of_samples)
def diag(x: ArrayLike, k: int = 0) -> Any:
    """Diagonal of a matrix, or the diagonal matrix of a vector.

    Args:
        x: a matrix or a vector.
        k: how far the diagonal is to the right of the main one.
    """
    return np.array(np.diag(x, k))


@tensor_operation(untraced=_of_samples)
def diagflat(x: ArrayLike, k: int = 0) -> Any:
    """Diagonal matrix of the flattened x; arguments as of `diag`."""
    return diag(reshape(x, (-1,)), k)


def _keeps_samples(x: ArrayLike, offset: int, axis1: int, axis2: int) -> str:
    return samples_apart(x, axis1) or samples_apart(x, axis2)


def _diagonal(x: ArrayLike, offset: int, axis1: int, axis2: int) -> Any:
    """Every (m + 1)-th number of matrices of m columns, row after row."""
    both = moveaxis(x, (axis1, axis2), (-2, -1))
    *outer, n, m = shape_of(both)
    row, column = max(-offset, 0), max(offset, 0)
    size = max(min(n - row, m - column), 0)
    first = row * m + column
    flat = reshape(both, [*(-1 if each is None else each for each in outer), n * m])
    return get_item(flat, (Ellipsis, slice(first, first + size * (m + 1), m + 1)))


def _lower_diagonal(program: Lowering, spec: KerasTensor, *args: Any) -> Any:
    return _diagonal(*args)


@tensor_operation(_lower_diagonal, untraced=_keeps_samples, saved=Saved(statics=("offset",)))
def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Diagonals of the matrices of two axes, along a new last axis.

    Args:
        x: numbers.
        offset: how far the diagonal is to the right of the main one.
        axis1: the rows.
        axis2: the columns.
    """
    return np.array(np.diagonal(x, offset, axis1, axis2))


@tensor_operation(saved=Saved(statics=("offset",)))
def trace(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Trace of a matrix: the sum of `diagonal`."""
    return total(diagonal(x, offset, axis1, axis2), -1)
