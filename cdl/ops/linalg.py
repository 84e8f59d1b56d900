"""Linear algebra: norms, also traced; decompositions and solvers, on arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.public_names import publish
from cdl._common.validation import expected
from cdl._tracing.operation import Saved, operation, tensor_operation
from cdl.config import floatx
from cdl.ops.arrays import axes_of, axis_arg, real, shape_of
from cdl.ops.core.tensors import cast
from cdl.ops.numpy.arithmetic import abs as size
from cdl.ops.numpy.arithmetic import power, sqrt, square
from cdl.ops.numpy.comparisons import not_equal
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import min as smallest
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import squeeze

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "det",
    "eig",
    "eigh",
    "inv",
    "lstsq",
    "lu_factor",
    "matrix_rank",
    "norm",
    "pinv",
    "qr",
    "solve",
    "solve_triangular",
    "svd",
]

_INFINITY = float("inf")
_MATRICES = "it is of whole matrices, which programs do not work on: compute it beforehand"


def _vector_norm(x: ArrayLike, order: Any, axis: Any, keepdims: bool) -> Any:
    if order in (None, 2):
        return sqrt(total(square(size(x)), axis, keepdims))
    if order == _INFINITY:
        return largest(size(x), axis, keepdims)
    if order == -_INFINITY:
        return smallest(size(x), axis, keepdims)
    if order == 0:
        return total(cast(not_equal(x, 0.0), floatx()), axis, keepdims)
    if order == 1:
        return total(size(x), axis, keepdims)
    if isinstance(order, str):
        raise ValueError(f"norm: ord must be a number for vectors, got {order!r}")
    return power(total(power(size(x), float(order)), axis, keepdims), 1.0 / order)


def _matrix_norm(x: ArrayLike, order: Any, axis: tuple[int, int], keepdims: bool) -> Any:
    """Norms of matrices that are sums."""
    if order in (None, "fro"):
        return sqrt(total(square(size(x)), axis, keepdims))
    first, second = axis if abs(order) == 1 else axis[::-1]
    choose = largest if order > 0 else smallest
    found = choose(total(size(x), first, True), second, True)
    return found if keepdims else squeeze(found, axis)


def _of_spectrum(x: ArrayLike, order: Any, axis: Any, keepdims: bool) -> str:
    pair = axis is not None and len(axes_of(axis, len(shape_of(x)))) == 2
    if (pair or (axis is None and len(shape_of(x)) == 2)) and order in (2, -2, "nuc"):
        return "it takes singular values, which programs do not have: use ord=None"
    return ""


@tensor_operation(untraced=_of_spectrum)
def norm(
    x: ArrayLike, ord: Any = None, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Any:
    """Norm of vectors or of matrices.

    Args:
        x: numbers.
        ord: of vectors a number p, for sum(|x|^p)^(1/p), 0 for how many are not 0, infinity for
            the largest |x|; of matrices "fro", "nuc", 1, 2, infinity and their negatives; None for
            the square root of the sum of squares.
        axis: an axis for vectors, two for matrices; None for all of x.
        keepdims: whether the axes stay, with size 1.
    """
    n = len(shape_of(x))
    axis = axis_arg(axis)
    if not (ord is None or isinstance(ord, (int, float, str, np.number))):
        raise expected("norm", "ord", "a number, a name or None", ord)
    if axis is None and ord is None:
        return _vector_norm(x, None, None, keepdims)
    axes_of(axis, n)  # there are such axes
    axes = axis if isinstance(axis, tuple) else tuple(range(n)) if axis is None else (axis,)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: axis must be one axis or two for this ord, got {axis}")
    if axes[0] % n == axes[1] % n:
        raise ValueError(f"norm: axis must be two different axes, got {axis}")
    if ord in (2, -2, "nuc"):
        order: Any = ord
        return np.linalg.norm(real(x), order, axes, keepdims=keepdims)
    if ord not in (None, "fro", 1, -1, _INFINITY, -_INFINITY):
        raise ValueError(f"norm: ord must be one of the norms of matrices, got {ord!r}")
    return _matrix_norm(x, ord, (axes[0] % n, axes[1] % n), keepdims)


# --- of whole matrices ---


def _square(name: str, x: ArrayLike) -> Any:
    matrix = real(x)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{name}: x must be square matrices, got shape {matrix.shape}")
    return matrix


@tensor_operation(untraced=_MATRICES)
def cholesky(x: ArrayLike, upper: bool = False) -> Any:
    """Cholesky factor of a positive definite x: the triangular l with l l^T = x.

    Args:
        x: matrices.
        upper: whether to give the transpose of l.
    """
    lower = np.linalg.cholesky(_square("cholesky", x))
    return np.swapaxes(lower, -1, -2) if upper else lower


@tensor_operation(untraced=_MATRICES)
def cholesky_inverse(x: ArrayLike, upper: bool = False) -> Any:
    """Inverse of the matrix whose `cholesky` factor is x."""
    whole = _square("cholesky_inverse", x)
    factor = np.swapaxes(np.triu(whole), -1, -2) if upper else np.tril(whole)
    return np.linalg.inv(factor @ np.swapaxes(factor, -1, -2))


@tensor_operation(untraced=_MATRICES)
def det(x: ArrayLike) -> Any:
    """Determinants of square matrices."""
    return np.linalg.det(_square("det", x))


@operation(untraced=_MATRICES)
def slogdet(x: ArrayLike) -> Any:
    """Signs and log absolute values of the determinants."""
    return tuple(np.linalg.slogdet(_square("slogdet", x)))


@tensor_operation(untraced=_MATRICES)
def logdet(x: ArrayLike) -> Any:
    """Log determinants of positive definite matrices."""
    return np.linalg.slogdet(_square("logdet", x))[1]


@tensor_operation(untraced=_MATRICES)
def inv(x: ArrayLike) -> Any:
    """Inverses of square matrices."""
    return np.linalg.inv(_square("inv", x))


@tensor_operation(untraced=_MATRICES)
def pinv(x: ArrayLike, rcond: Any = None) -> Any:
    """Pseudo-inverses of matrices; singular values up to `rcond` of the largest count as 0."""
    return np.linalg.pinv(real(x)) if rcond is None else np.linalg.pinv(real(x), rcond)


@tensor_operation(untraced=_MATRICES)
def matrix_rank(x: ArrayLike, tol: Any = None) -> Any:
    """Rank of matrices: the number of singular values above `tol`."""
    return np.linalg.matrix_rank(real(x), tol)


@operation(untraced=_MATRICES)
def solve(a: Any, b: ArrayLike) -> Any:
    """Solution x of the linear equations a x = b.

    Args:
        a: square matrices.
        b: vectors or matrices.
    """
    a, b = _square("solve", a), real(b)
    if b.ndim == a.ndim - 1:
        return np.linalg.solve(a, b[..., None])[..., 0]
    return np.linalg.solve(a, b)


@operation(untraced=_MATRICES)
def solve_triangular(a: ArrayLike, b: ArrayLike, lower: bool = False) -> Any:
    """Solution x of a x = b for the upper or lower triangle of a."""
    a = _square("solve_triangular", a)
    return solve(np.tril(a) if lower else np.triu(a), b)


@operation(untraced=_MATRICES)
def lstsq(a: ArrayLike, b: ArrayLike, rcond: Any = None) -> Any:
    """Least-squares solution x of a x = b, of smallest norm.

    Args:
        a: a matrix.
        b: a vector or a matrix.
        rcond: singular values up to this share of the largest count as 0.
    """
    return np.linalg.lstsq(real(a), real(b), rcond)[0]


@operation(untraced=_MATRICES)
def qr(x: ArrayLike, mode: Any = "reduced") -> Any:
    """QR decomposition: q orthogonal, r triangular.

    Args:
        x: matrices.
        mode: "reduced", or "complete" for a square q.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode must be 'reduced' or 'complete', got {mode!r}")
    return tuple(np.linalg.qr(real(x), mode))


@operation(untraced=_MATRICES, saved=Saved("SVD"))
def svd(x: ArrayLike, full_matrices: Any = True, compute_uv: Any = True) -> Any:
    """Singular value decomposition u diag(s) v.

    Args:
        x: matrices.
        full_matrices: whether u and v are square.
        compute_uv: whether to give u and v, not s alone.
    """
    found = np.linalg.svd(real(x), full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@operation(untraced=_MATRICES)
def eigh(x: ArrayLike) -> Any:
    """Eigenvalues, in ascending order, and eigenvectors of symmetric matrices."""
    return tuple(np.linalg.eigh(_square("eigh", x)))


@operation(untraced=_MATRICES)
def eig(x: ArrayLike) -> Any:
    """Eigenvalues and eigenvectors of square matrices, as complex numbers."""
    values, vectors = np.linalg.eig(_square("eig", x))
    return values.astype(np.complex64), vectors.astype(np.complex64)


@operation(untraced=_MATRICES)
def lu_factor(x: ArrayLike) -> Any:
    """LU decomposition of a matrix: both triangles in one, and the pivots.

    Args:
        x: matrices, (..., m, n).

    Returns:
        The factors, (..., m, n): above and on the diagonal those of U, below it those of L, whose
        diagonal is 1; and for each of the first min(m, n) rows the number of the other one.
    """
    matrices = real(x)
    if matrices.ndim < 2:
        raise expected("lu_factor", "x", "matrices, of at least two axes", matrices.shape)
    outer, (m, n) = matrices.shape[:-2], matrices.shape[-2:]
    factors = matrices.reshape(-1, m, n).astype(np.float64)
    swaps = np.empty((len(factors), min(m, n)), np.int32)
    for lu, places in zip(factors, swaps, strict=True):
        for i in range(min(m, n)):
            places[i] = top = i + int(np.argmax(np.abs(lu[i:, i])))
            lu[[i, top]] = lu[[top, i]]
            if lu[i, i] != 0:  # else all below it are 0 too
                lu[i + 1 :, i] /= lu[i, i]
            lu[i + 1 :, i + 1 :] -= np.outer(lu[i + 1 :, i], lu[i, i + 1 :])
    return factors.reshape(*outer, m, n), swaps.reshape(*outer, -1)


__all__ += ["jvp"]  # noqa: F822 - of a floor above


def __getattr__(name: str) -> Any:
    if name != "jvp":
        raise AttributeError(name)
    from cdl import ops

    return ops.jvp


publish(globals())
