"""SciPy's sparse matrices and arrays, whose rows the core makes dense batch by batch.

A matrix in CSR is read where it is. Other formats become CSR, which copies what they store, but
never the elements that they do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._core import Sparse

_REAL = "fiub"


def is_sparse(value: Any) -> bool:
    """Whether `value` is a sparse matrix or array of SciPy, or of a similar class."""
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def to_rows(value: Any, name: str) -> Sparse:
    """Rows of a sparse matrix, for the core.

    Raises:
        ValueError: it has not two axes, or no real numbers, or is not what its format asks for.
    """
    if len(value.shape) != 2:
        raise ValueError(f"{name} must have two axes if it is sparse, got shape {value.shape}")
    if value.dtype.kind not in _REAL:
        raise ValueError(f"{name} must hold real numbers, got a sparse matrix of {value.dtype}")
    matrix = value if getattr(value, "format", None) == "csr" else value.tocsr()
    starts = np.ascontiguousarray(matrix.indptr, np.int64)
    columns = np.ascontiguousarray(matrix.indices)
    if columns.dtype not in (np.int32, np.int64):
        columns = columns.astype(np.int64)
    values = np.ascontiguousarray(matrix.data, matrix.data.dtype.newbyteorder("="))
    _check(starts, columns, values, matrix.shape, name)
    return Sparse(starts, columns, values, matrix.shape)


def _check(starts: Any, columns: Any, values: Any, shape: tuple[int, ...], name: str) -> None:
    """Check the rows' indices and shape; ValueError for wrong ones."""
    sound = (
        starts.shape == (shape[0] + 1,)
        and starts[0] >= 0
        and bool((starts[1:] >= starts[:-1]).all())
        and starts[-1] <= len(columns) == len(values)
    )
    if sound and len(columns):
        sound = columns.min() >= 0 and columns.max() < shape[1]
    if not sound:
        raise ValueError(
            f"{name} must be a sound sparse matrix, got one of shape {shape} whose indices do not "
            "fit: check it by its check_format()"
        )
