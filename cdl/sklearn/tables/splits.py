"""Splits of rows into folds, and a canonical order of few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.tables.columns import Column

Array = NDArray[Any]

FEW = 200
"""Number of rows up to which equal ones are merged, so that weight 2 equals the row twice."""


def folds(n: int, k: int, groups: Array | None, random: np.random.RandomState) -> Array:
    """Fold of each of n rows, from 0 to k - 1, of about equal size, also within each group.

    The only row of all or of a group has fold -1: it is always trained on.
    """
    return _dealt(np.arange(n) % k, groups, random)


def parted(n: int, part: float, groups: Array | None, random: np.random.RandomState) -> Array:
    """Fold of each of n rows: 0 for a part of them, also of each group, and 1 for the others."""
    # Rounding must not move a row: 0.2 of 15 is 3.
    held = np.diff(np.ceil(np.arange(n + 1) * part - 1e-9)) > 0
    return _dealt(np.where(held, 0, 1), groups, random)


def _dealt(each: Array, groups: Array | None, random: np.random.RandomState) -> Array:
    """Folds assigned to rows in random order, group by group."""
    n = len(each)
    drawn = random.permutation(n)
    order = drawn if groups is None else drawn[np.argsort(groups[drawn], kind="stable")]
    found = np.empty(n, np.int64)
    found[order] = each
    rows_of = np.bincount(groups)[groups] if groups is not None else np.array(n)
    found[np.broadcast_to(rows_of == 1, n)] = -1
    return found


def canonical(
    columns: list[Column], y: Array, weight: Array | None
) -> tuple[list[Column], Array, Array | None]:
    """Rows without those of weight 0; few of them sorted, and equal ones merged."""
    if weight is not None and not weight.all():
        kept = weight > 0
        columns, y, weight = [each.rows(kept) for each in columns], y[kept], weight[kept]
    if len(y) > FEW:
        return columns, y, weight
    parts = [_sortable(each.values) for each in columns] + list(y.reshape(len(y), -1).T)
    key = np.stack([part.astype(np.float64) for part in parts], 1)
    # -0.0 equals 0.0, and all missing numbers are equal.
    key = np.where(np.isnan(key), -np.inf, key) + 0.0
    _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
    sums = np.bincount(which.ravel(), weight)
    columns = [each.rows(first) for each in columns]
    return columns, y[first], None if (sums == sums[0]).all() else sums


def _sortable(values: Array) -> Array:
    """Numbers whose order is that of values."""
    if values.dtype.kind == "f":
        return values
    texts = np.array(["" if each is None else f"={each}" for each in values.tolist()])
    codes: Array = np.unique(texts, return_inverse=True)[1].reshape(-1)
    return codes
