"""Batches of an epoch: their rows, weights and penalties.

The loss of a batch is, as in scikit-learn's MLP, ``(sum w l + alpha / 2 |coefs|^2) / sum w`` over
its rows. The core divides by the number of rows, so it is given weights that make up for that, and
for each batch the share ``1 / sum w`` of the penalty.

Where one batch holds all rows, their order means nothing, and a row that is there twice is a row
of weight 2. Few rows are then sorted and equal ones merged, so that both hold to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Rows that batch_size="auto" puts into one batch: sorting them costs less than one epoch.
_FEW = 200


class Epoch(NamedTuple):
    """Batches of an epoch.

    Attributes:
        order: numbers of the rows, batch by batch; None for all as they come.
        weight: for each row of X what its loss is multiplied by; None for 1.
        shares: for each batch what the penalty is multiplied by.
    """

    order: NDArray[np.int64] | None
    weight: NDArray[np.float64] | None
    shares: NDArray[np.float32]

    def mean(self, values: NDArray[np.float64]) -> float:
        """Mean of a number per row of X, weighted as the losses are."""
        if self.weight is not None:
            values = values * self.weight
        return float((values if self.order is None else values[self.order]).mean())


class Batches:
    """Epochs over rows in batches, shuffled or not.

    Args:
        x: the rows.
        y: their targets.
        weight: what each row weighs; None for 1. Rows of weight 0 are left out.
        size: rows of a batch; None for all of them, up to 200.
        shuffle: whether each epoch has an order of its own.
        rows: numbers of the rows to take; None for all.

    Attributes:
        given: how many rows there are, those of weight 0 included.
        rows: how many rows an epoch takes, equal ones taken as one.
        size: rows of a batch, no more than that.
        weighted: whether epochs have weights.
    """

    def __init__(
        self,
        x: Any,
        y: NDArray[Any],
        weight: NDArray[np.float64] | None,
        size: int | None,
        shuffle: bool,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.given = x.shape[0] if rows is None else len(rows)
        self._order = rows
        self._weight = weight
        if weight is not None:
            given = np.arange(len(weight)) if rows is None else rows
            self._order = given[weight[given] != 0.0]
        n = x.shape[0] if self._order is None else len(self._order)
        if size is None:
            size = min(_FEW, n)
        if size >= n and n <= _FEW:
            n = self._merge(x, y)
        self.rows = n
        self.size = min(size, n)
        self._shuffle = shuffle and n > self.size
        self._starts = np.arange(0, n, self.size)
        self._counts = np.diff(self._starts, append=n)
        self.weighted = self._weight is not None and len(np.unique(self._weights_in_order())) > 1
        self._fixed = None if self._shuffle else self._epoch()

    def next_epoch(self, random: np.random.RandomState) -> Epoch:
        """Batches of another epoch."""
        if self._fixed is not None:
            return self._fixed
        drawn = random.permutation(self.rows)
        self._order = drawn if self._order is None else self._order[drawn]
        return self._epoch()

    def _weights_in_order(self) -> NDArray[np.float64]:
        assert self._weight is not None
        return self._weight if self._order is None else self._weight[self._order]

    def _epoch(self) -> Epoch:
        if self._weight is None:
            return Epoch(self._order, None, (1.0 / self._counts).astype(np.float32))
        taken = self._weights_in_order()
        sums = np.add.reduceat(taken, self._starts)
        weight = None
        if self.weighted:
            weight = each = taken * np.repeat(self._counts / sums, self._counts)
            if self._order is not None:
                weight = np.zeros(len(self._weight))
                weight[self._order] = each
        return Epoch(self._order, weight, (1.0 / sums).astype(np.float32))

    def _merge(self, x: Any, y: NDArray[Any]) -> int:
        """Deduplicate rows, in an order that depends only on their contents."""
        given = np.arange(x.shape[0]) if self._order is None else self._order
        kinds: dict[bytes, int] = {}
        weight = np.zeros(x.shape[0])
        each = np.ones(len(given)) if self._weight is None else self._weight[given]
        for i, key, w in zip(given, _contents(x, y, given), each, strict=True):
            weight[kinds.setdefault(key, i)] += w
        self._order = np.array([kinds[key] for key in sorted(kinds)])
        self._weight = weight
        return len(kinds)


def _contents(x: Any, y: NDArray[Any], rows: NDArray[np.int64]) -> list[bytes]:
    """Contents of some rows of x and y as bytes, as the core reads them: in float32.

    Of x that is the columns that are not 0, and the numbers there, dense or sparse.
    """
    x = x[rows]
    if isinstance(x, np.ndarray):
        with np.errstate(over="ignore"):
            stored = [(row.nonzero()[0], row[row != 0]) for row in x.astype(np.float32)]
    else:
        x = x.sorted_indices()
        x.eliminate_zeros()
        parts = x.indptr[1:-1]
        columns = np.split(x.indices.astype(np.int64), parts)
        stored = list(zip(columns, np.split(x.data.astype(np.float32), parts), strict=True))
    return [
        columns.tobytes() + values.tobytes() + np.float32(y[row]).tobytes()
        for row, (columns, values) in zip(rows, stored, strict=True)
    ]
