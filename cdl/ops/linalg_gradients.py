"""Gradients of functions of whole matrices, in NumPy: on arrays, and on symbolic values.

A rule gets the gradients by the results, the results and the arguments, as `ArrayForm` says. The
formulas are those of Giles (2008), "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation", and of Townsend (2016), "Differentiating the singular value
decomposition". What is symmetric, as the argument of `cholesky` and `eigh`, has a symmetric
gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def _t(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _symmetric(x: Any) -> Any:
    return (x + _t(x)) / 2.0


def _diagonal(x: Any, n: int) -> Any:
    """Diagonal matrix of a vector."""
    return np.expand_dims(x, -1) * np.eye(n)


def _over_differences(x: Any, values: Any, n: int) -> Any:
    """x over the differences of values, column minus row; 0 on the diagonal."""
    apart = np.expand_dims(values, -2) - np.expand_dims(values, -1)
    return x * (1.0 - np.eye(n)) / (apart + np.eye(n))


def of_cholesky(dy: Any, y: Any, x: Any, upper: bool) -> Any:
    """Gradient by the matrix, of `cholesky`."""
    factor, by_factor = (_t(y), _t(dy)) if upper else (y, dy)
    n = x.shape[-1]
    lower = np.tril(np.ones((n, n))) - np.eye(n) / 2
    inverse = np.linalg.inv(factor)
    return _symmetric(_t(inverse) @ (_t(factor) @ by_factor * lower) @ inverse)


# Traced cofactors are determinants of minors up to this size, since their own derivatives have to
# hold for singular matrices: n^2 of them. Larger ones go by the inverse.
_BY_MINORS = 8


def _cofactors(x: Any) -> Any:
    """Cofactors of traced matrices, as determinants of what is left without a row and a column."""
    n = x.shape[-1]
    if n == 1:
        return np.ones((1, 1))
    others = np.array([np.delete(np.eye(n), i, axis=0) for i in range(n)])
    minors = others[:, None] @ x[..., None, None, :, :] @ _t(others)
    return np.linalg.det(minors) * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


def of_det(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `det`: its cofactors, those of a singular matrix too."""
    outer = dy[..., None, None]
    if not isinstance(x, np.ndarray):
        if x.shape[-1] <= _BY_MINORS:
            return outer * _cofactors(x)
        return outer * y[..., None, None] * _t(np.linalg.inv(x))
    u, s, v = np.linalg.svd(x)
    others = np.prod(np.where(np.eye(x.shape[-1], dtype=bool), 1.0, s[..., None, :]), axis=-1)
    sign = (np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    return outer * sign * (u * others[..., None, :]) @ v


def of_slogdet(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `slogdet`."""
    del y
    return dy[1][..., None, None] * _t(np.linalg.inv(x))


def of_logdet(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `logdet`."""
    return of_slogdet((None, dy), y, x)


def of_inv(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `inv`."""
    del x
    return -(_t(y) @ dy @ _t(y))


def of_pinv(dy: Any, y: Any, x: Any, rcond: Any = None) -> Any:
    """Gradient by the matrix, of `pinv`, as long as its rank stays."""
    del rcond
    m, n = x.shape[-2:]
    rows = (np.eye(m) - x @ y) @ _t(dy) @ y @ _t(y)
    columns = _t(y) @ y @ _t(dy) @ (np.eye(n) - y @ x)
    return rows + columns - _t(y) @ dy @ _t(y)


def of_solve(dy: Any, y: Any, a: Any, b: Any) -> Any:
    """Gradients by both sides, of `solve`."""
    a, b = np.asarray(a), np.asarray(b)  # either may be a list of numbers
    if len(b.shape) == len(a.shape) - 1:
        by_a, by_b = of_solve(dy[..., None], y[..., None], a, b[..., None])
        return by_a, by_b[..., 0]
    by_b = np.linalg.solve(_t(a), dy)
    return -(by_b @ _t(y)), by_b


def of_lstsq(dy: Any, y: Any, a: Any, b: Any, rcond: Any) -> Any:
    """Gradients by both sides, of `lstsq`, as long as the rank stays."""
    a, b = np.asarray(a), np.asarray(b)
    if len(b.shape) == 1:
        by_a, by_b = of_lstsq(dy[:, None], y, a, b[:, None], rcond)
        return by_a, by_b[:, 0]
    inverse = np.linalg.pinv(a) if rcond is None else np.linalg.pinv(a, rcond)
    return of_pinv(dy @ _t(b), inverse, a), _t(inverse) @ dy


def of_qr(dy: Any, y: Any, x: Any, mode: str) -> Any:
    """Gradient by the matrix, of `qr`.

    Raises:
        ValueError: columns of a complete q that the matrix does not determine.
    """
    (dq, dr), (q, r) = dy, y
    m, n = x.shape[-2:]
    if mode == "complete" and m > n:
        raise ValueError(
            f"qr: mode must be 'reduced' for a gradient of shape {(m, n)}, got {mode!r}"
        )
    k = min(m, n)
    square, by_square = r[..., :k], dr[..., :k]
    if n > m:  # the other columns are q^T x
        dq = dq + x[..., k:] @ _t(dr[..., k:])
    lower = np.tril(np.ones((k, k)))
    inner = square @ _t(by_square) - _t(dq) @ q
    inner = inner * lower + _t(inner * (lower - np.eye(k)))
    found = (dq + q @ inner) @ _t(np.linalg.inv(square))
    return np.concatenate([found, q @ dr[..., k:]], axis=-1) if n > m else found


def of_svd(dy: Any, y: Any, x: Any, full_matrices: bool, compute_uv: bool) -> Any:
    """Gradient by the matrix, of `svd`, where its singular values differ.

    Raises:
        ValueError: a loss of columns of a full u or v that the matrix does not determine.
    """
    del full_matrices
    m, n = x.shape[-2:]
    k = min(m, n)
    if not compute_uv:
        u, _, v = np.linalg.svd(x, False)
        return u * np.expand_dims(dy, -2) @ v
    du, ds, dv = dy
    if _is_used(du[..., k:]) or _is_used(dv[..., k:, :]):
        raise ValueError(f"svd: full_matrices must be False for a gradient of shape {(m, n)}")
    u, s, v = y[0][..., :k], y[1], y[2][..., :k, :]
    du, dv, s_row = du[..., :k], _t(dv[..., :k, :]), np.expand_dims(s, -2)
    by_u, by_v = _t(u) @ du, v @ dv
    inner = _over_differences(by_u - _t(by_u), np.square(s), k) * s_row
    inner = inner + np.expand_dims(s, -1) * _over_differences(by_v - _t(by_v), np.square(s), k)
    found = u @ (inner + _diagonal(ds, k)) @ v
    if m > k:
        found = found + (du - u @ by_u) / s_row @ v
    if n > k:
        found = found + u / s_row @ _t(dv - _t(v) @ by_v)
    return found


def _is_used(gradient: Any) -> bool:
    """Whether a loss depends on columns, by their gradient."""
    return 0 not in gradient.shape and bool(np.any(gradient != 0))


def of_eigh(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `eigh`, where its eigenvalues differ."""
    (by_values, by_vectors), (values, vectors) = dy, y
    n = x.shape[-1]
    inner = _over_differences(_t(vectors) @ by_vectors, values, n) + _diagonal(by_values, n)
    return _symmetric(vectors @ inner @ _t(vectors))


def of_lu_factor(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the matrix, of `lu_factor`.

    Raises:
        ValueError: the matrix is not square.
    """
    n = x.shape[-1]
    if x.shape[-2] != n:
        raise ValueError(f"lu_factor: x must be square matrices for a gradient, got {x.shape}")
    lower = np.tril(np.ones((n, n)), -1)
    left, right = y[0] * lower + np.eye(n), y[0] * (1 - lower)
    inner = _t(left) @ (dy[0] * lower) * lower + dy[0] * (1 - lower) @ _t(right) * (1 - lower)
    found = _t(np.linalg.inv(left)) @ inner @ _t(np.linalg.inv(right))
    flat, swaps = found.reshape(-1, n, n), np.asarray(y[1], int).reshape(-1, n)
    for matrix, places in zip(flat, swaps, strict=True):
        for i in reversed(range(n)):
            matrix[[i, places[i]]] = matrix[[places[i], i]]
    return flat.reshape(found.shape)
