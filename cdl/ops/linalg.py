"""Linear algebra: norms, decompositions and solvers, of arrays by NumPy's LAPACK.

Programs call the functions of whole matrices back; their gradients are in linalg_gradients.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.public_names import publish
from cdl._common.validation import expected
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import Saved, operation, tensor_operation
from cdl.config import floatx
from cdl.ops.arrays import Ints, axes_of, axis_arg, real, samples_apart, shape_of
from cdl.ops.core.tensors import cast
from cdl.ops.linalg_gradients import (
    of_cholesky,
    of_det,
    of_eigh,
    of_inv,
    of_logdet,
    of_lstsq,
    of_lu_factor,
    of_pinv,
    of_qr,
    of_slogdet,
    of_solve,
    of_svd,
)
from cdl.ops.numpy.arithmetic import abs as size
from cdl.ops.numpy.arithmetic import power, sqrt, square
from cdl.ops.numpy.comparisons import not_equal
from cdl.ops.numpy.diagonals import tril, triu
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import min as smallest
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, moveaxis, squeeze, swapaxes

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


def square_as_float(x: Any) -> Any:
    """Squares of numbers, floats if those are integers, which may have no such squares."""
    return square(_as_float(x))


def _as_float(x: Any) -> Any:
    """Numbers as floats, whose sums and sizes integers may not hold."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return cast(x, floatx()) if "int" in str(x.dtype) or str(x.dtype) == "bool" else x


def _square_of_size(x: Any) -> Any:
    """|x|^2; of real numbers without |x|, whose corner hides second derivatives at 0."""
    return square(size(x) if "complex" in str(x.dtype) else x)


def _vector_norm(x: ArrayLike, order: Any, axis: Any, keepdims: bool) -> Any:
    if order in (None, 2):
        return sqrt(total(_square_of_size(x), axis, keepdims))
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
        return sqrt(total(_square_of_size(x), axis, keepdims))
    first, second = axis if abs(order) == 1 else axis[::-1]
    choose = largest if order > 0 else smallest
    found = choose(total(size(x), first, True), second, True)
    return found if keepdims else squeeze(found, axis)


def _spectral_norm(x: ArrayLike, order: Any, axis: tuple[int, int], keepdims: bool) -> Any:
    """Norms of matrices that are of their singular values."""
    found = {2: largest, -2: smallest, "nuc": total}[order](
        svd(moveaxis(x, axis, (-2, -1)), compute_uv=False), -1
    )
    return expand_dims(found, axis) if keepdims else found


@tensor_operation()
def norm(x: ArrayLike, ord: Any = None, axis: Ints | None = None, keepdims: bool = False) -> Any:
    """Norm of vectors or of matrices.

    Args:
        x: numbers.
        ord: of vectors a number p, for sum(|x|^p)^(1/p), 0 for how many are not 0, infinity for
            the largest |x|; of matrices "fro", "nuc", 1, 2, infinity and their negatives; None for
            the square root of the sum of squares.
        axis: an axis for vectors, two for matrices; None for all of x.
        keepdims: whether the axes stay, with size 1.
    """
    x, n, axis = _as_float(x), len(shape_of(x)), axis_arg(axis)
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
        return _spectral_norm(x, ord, (axes[0] % n, axes[1] % n), keepdims)
    if ord not in (None, "fro", 1, -1, _INFINITY, -_INFINITY):
        raise ValueError(f"norm: ord must be one of the norms of matrices, got {ord!r}")
    return _matrix_norm(x, ord, (axes[0] % n, axes[1] % n), keepdims)


# --- of whole matrices ---


def _matrices(x: ArrayLike, *_: Any) -> str:
    """Advice where the samples are rows or columns."""
    return samples_apart(x, (-2, -1)) if len(shape_of(x)) > 1 else ""


def _squares(name: str) -> Callable[..., str]:
    """Advice as of `_matrices`; ValueError where rows and columns need not be as many."""

    def advice(x: ArrayLike, *_: Any) -> str:
        _check_square(name, x)
        return _matrices(x)

    return advice


def _systems(a: ArrayLike, b: ArrayLike, *_: Any) -> str:
    """Advice where the samples are equations; ValueError as of `_squares`."""
    _check_square("solve", a)
    n, m = shape_of(a), shape_of(b)
    rows = m[-1] if len(m) == len(n) - 1 else m[-2] if len(m) > 1 else n[-1]
    if rows != n[-1]:
        raise ValueError(f"solve: b must have the rows of a, got shapes {n} and {m}")
    return _equations(a, b)


def _equations(a: ArrayLike, b: ArrayLike, *_: Any) -> str:
    n, m = len(shape_of(a)), len(shape_of(b))
    return _matrices(a) or (samples_apart(b, -1 if m == n - 1 else -2) if m > 1 else "")


def _check_square(name: str, x: ArrayLike) -> None:
    """Check for square matrices; ValueError."""
    shape = shape_of(x)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"{name}: x must be square matrices, got shape {shape}")


def _square(name: str, x: ArrayLike) -> Any:
    """Square matrices of floats."""
    _check_square(name, x)
    return real(x)


@tensor_operation(on_arrays(of_cholesky), untraced=_squares("cholesky"))
def cholesky(x: ArrayLike, upper: bool = False) -> Any:
    """Cholesky factor of a positive definite x: the triangular l with l l^T = x.

    Args:
        x: matrices.
        upper: whether to give the transpose of l.
    """
    lower = np.linalg.cholesky(_square("cholesky", x))
    return np.swapaxes(lower, -1, -2) if upper else lower


@tensor_operation(untraced=_squares("cholesky_inverse"))
def cholesky_inverse(x: ArrayLike, upper: bool = False) -> Any:
    """Inverse of the matrix whose `cholesky` factor is x."""
    _check_square("cholesky_inverse", x)
    factor = swapaxes(triu(x), -1, -2) if upper else tril(x)
    return inv(matmul(factor, swapaxes(factor, -1, -2)))


@tensor_operation(on_arrays(of_det), untraced=_squares("det"))
def det(x: ArrayLike) -> Any:
    """Determinants of square matrices."""
    return np.linalg.det(_square("det", x))


@operation(on_arrays(of_slogdet), untraced=_squares("slogdet"), saved=Saved(submodule="numpy"))
def slogdet(x: ArrayLike) -> Any:
    """Signs and log absolute values of the determinants."""
    return tuple(np.linalg.slogdet(_square("slogdet", x)))


@tensor_operation(on_arrays(of_logdet), untraced=_squares("logdet"), saved=Saved(submodule="math"))
def logdet(x: ArrayLike) -> Any:
    """Log determinants of positive definite matrices."""
    return np.linalg.slogdet(_square("logdet", x))[1]


@tensor_operation(on_arrays(of_inv), untraced=_squares("inv"))
def inv(x: ArrayLike) -> Any:
    """Inverses of square matrices."""
    return np.linalg.inv(_square("inv", x))


@tensor_operation(on_arrays(of_pinv), untraced=_matrices)
def pinv(x: ArrayLike, rcond: Any = None) -> Any:
    """Pseudo-inverses of matrices; singular values up to `rcond` of the largest count as 0."""
    return np.linalg.pinv(real(x)) if rcond is None else np.linalg.pinv(real(x), rcond)


@tensor_operation(on_arrays(), untraced=_matrices)
def matrix_rank(x: ArrayLike, tol: Any = None) -> Any:
    """Rank of matrices: the number of singular values above `tol`."""
    if np.ndim(x) < 2:
        raise expected("matrix_rank", "x", "matrices, of at least two axes", np.shape(x))
    return np.linalg.matrix_rank(real(x), tol)


@operation(on_arrays(of_solve), untraced=_systems)
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


@operation(untraced=_systems)
def solve_triangular(a: ArrayLike, b: ArrayLike, lower: bool = False) -> Any:
    """Solution x of a x = b for the upper or lower triangle of a."""
    _check_square("solve_triangular", a)
    return solve(tril(a) if lower else triu(a), b)


@operation(on_arrays(of_lstsq), untraced=_equations)
def lstsq(a: ArrayLike, b: ArrayLike, rcond: Any = None) -> Any:
    """Least-squares solution x of a x = b, of smallest norm.

    Args:
        a: a matrix.
        b: a vector or a matrix.
        rcond: singular values up to this share of the largest count as 0.
    """
    return np.linalg.lstsq(real(a), real(b), rcond)[0]


@operation(on_arrays(of_qr), untraced=_matrices)
def qr(x: ArrayLike, mode: Any = "reduced") -> Any:
    """QR decomposition: q orthogonal, r triangular.

    Args:
        x: matrices.
        mode: "reduced", or "complete" for a square q.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: Expected one of {{'reduced', 'complete'}}. Received: mode={mode!r}")
    return tuple(np.linalg.qr(real(x), mode))


@operation(on_arrays(of_svd), untraced=_matrices, saved=Saved("SVD"))
def svd(x: ArrayLike, full_matrices: Any = True, compute_uv: Any = True) -> Any:
    """Singular value decomposition u diag(s) v.

    Args:
        x: matrices.
        full_matrices: whether u and v are square.
        compute_uv: whether to give u and v, not s alone.
    """
    found = np.linalg.svd(real(x), full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@operation(on_arrays(of_eigh), untraced=_squares("eigh"))
def eigh(x: ArrayLike) -> Any:
    """Eigenvalues, in ascending order, and eigenvectors of symmetric matrices."""
    return tuple(np.linalg.eigh(_square("eigh", x)))


@operation(on_arrays(), untraced=_squares("eig"))
def eig(x: ArrayLike) -> Any:
    """Eigenvalues and eigenvectors of square matrices, as complex numbers."""
    values, vectors = np.linalg.eig(_square("eig", x))
    return values.astype(np.complex64), vectors.astype(np.complex64)


@operation(on_arrays(of_lu_factor), untraced=_matrices)
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
