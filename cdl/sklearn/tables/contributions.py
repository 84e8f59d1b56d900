"""Contributions of columns to predictions of tables: Shapley values, exact or by sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.tables.columns import Column, columns_of
from cdl.sklearn.tables.table import Encoded, Table
from cdl.sklearn.tables.training import given

Array = NDArray[Any]

MOST_EXACT = 12
"""Columns up to which all their subsets are evaluated."""

_BLOCK = 1 << 16  # rows of mixtures in memory at a time


class Contributions(NamedTuple):
    """Contributions of columns to predictions.

    Attributes:
        values: of shape (rows, columns), of classifiers and several targets (rows, columns,
            outputs); over columns they sum to the prediction less `base`.
        base: mean prediction for the background, a number, or one an output.
    """

    values: Array
    base: Any


def joined(found: Contributions) -> Array:
    """Contributions with `base` as a last column; of several outputs one behind the other."""
    values = found.values.reshape(*found.values.shape[:2], -1)
    base = np.broadcast_to(found.base, (len(values), 1, values.shape[2]))
    each = np.concatenate([values, base], 1)
    return np.ascontiguousarray(each.transpose(0, 2, 1)).reshape(len(each), -1)


class Mixtures:
    """Predictions for rows some of whose columns come from rows of a background.

    Args:
        tables: one a bag.
        run: outputs of the bags for their inputs, as what is predicted, of shape (rows, outputs).
        rows: that are explained, as columns.
        background: as columns.
    """

    def __init__(
        self, tables: Sequence[Table], run: Callable[..., Array], rows: Any, background: Any
    ) -> None:
        self._run = run
        self._bags: list[tuple[Encoded, Encoded, Sequence[Array]]] = [
            (table.transform(rows), table.transform(background), table.owners()) for table in tables
        ]
        self.rows, self.background = len(rows[0].values), len(background[0].values)
        differ = np.zeros(len(rows) + 1, bool)
        for bag in self._bags:
            for x, b, owners in zip(*bag, strict=True):
                if x.shape[1]:
                    changes = (x != b[0]).any(0) | (b != b[0]).any(0)
                    differ[owners[changes]] = True
        self.live = np.flatnonzero(differ[:-1])  # columns that can change a prediction
        self._columns = len(differ)

    def __call__(self, row: int, own: Array, at: Array) -> Array:
        """Predictions for mixtures of a row with rows of the background.

        Args:
            row: number of the row.
            own: whether each live column is the row's, of shape (mixtures, live columns).
            at: number of the background's row of each mixture.
        """
        mask = np.zeros((len(own), self._columns), bool)
        mask[:, self.live] = own
        inputs = [
            given(
                Encoded(
                    *(np.where(mask[:, o], x[row], b[at]) for x, b, o in zip(*bag, strict=True))
                )
            )
            for bag in self._bags
        ]
        return self._run(inputs)


def background_of(estimator: Any, background: Any) -> list[Column]:
    """Columns of the rows that rows are compared with.

    Raises:
        ValueError: no rows, or other columns than in `fit`.
    """
    owner = f"{type(estimator).__name__}: explain: background"
    try:
        found = columns_of(estimator, background, False, ensure_min_samples=0)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner} must be rows as X is: {error}") from None
    if not len(found[0].values):
        raise ValueError(f"{owner} must have rows, got 0")
    return found


def contributions(mixtures: Mixtures, columns: int) -> Contributions:
    """Interventional Shapley values of the rows of mixtures, for a number of columns."""
    one = _exact if len(mixtures.live) <= MOST_EXACT else _sampled
    found = [one(mixtures, row) for row in range(mixtures.rows)]
    parts = np.stack([each[0] for each in found])
    values = np.zeros((mixtures.rows, columns, parts.shape[2]))
    values[:, mixtures.live] = parts
    return Contributions(values, found[0][1])


def _exact(f: Mixtures, row: int) -> tuple[Array, Array]:
    """Values of live columns by all their subsets, and the base."""
    k, n = len(f.live), f.background
    subsets = np.arange(1 << k)
    own = (subsets[:, None] >> np.arange(k)) & 1 > 0
    step = max(1, _BLOCK // n)
    means = []
    for first in range(0, len(own), step):
        part = own[first : first + step]
        found = f(row, np.repeat(part, n, 0), np.tile(np.arange(n), len(part)))
        means.append(found.reshape(len(part), n, -1).mean(1))
    mean = np.concatenate(means)
    share = np.array([1.0 / (k * math.comb(k - 1, size)) for size in range(k)])
    values = np.empty((k, mean.shape[1]))
    for i in range(k):
        without = subsets[~own[:, i]]
        weight = share[own[without].sum(1)]
        values[i] = weight @ (mean[without | 1 << i] - mean[without])
    return values, mean[0]


def _sampled(f: Mixtures, row: int) -> tuple[Array, Array]:
    """Values of live columns by orders by chance, and the base.

    Each row of the background has an order and its reverse, in which the row's columns replace its
    own; what each column changes is averaged (Castro, Gómez and Tejada, 2009; Mitchell, Cooper,
    Frank and Holmes, 2022).
    """
    k, n = len(f.live), f.background
    random = np.random.RandomState(0)
    orders = np.stack([random.permutation(k) for _ in range(n)])
    values = base = 0.0
    for order in (orders, orders[:, ::-1]):
        place = np.argsort(order, 1)
        own = place[:, None, :] < np.arange(k + 1)[None, :, None]  # row, step, column
        found = f(row, own.reshape(-1, k), np.repeat(np.arange(n), k + 1)).reshape(n, k + 1, -1)
        steps = np.take_along_axis(np.diff(found, axis=1), place[:, :, None], 1)
        values, base = values + steps.mean(0) / 2, base + found[:, 0].mean(0) / 2
    return np.asarray(values), np.asarray(base)
