"""PiecewiseLinearEncoding: numbers as how far they reach into bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import ops
from cdl._common.validation import expected, positive_int
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, NDArray, Shape, Unpack
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry
from cdl.layers.preprocessing.missing import Missing

_NO_LIMIT = np.finfo(np.float32).max


@registry.add()
class PiecewiseLinearEncoding(Layer):
    """Encoding of each number by bins: 1 for those below it, a part of the one that it lies in.

    From (samples, columns) to (samples, columns, bins): bin t with edges a and b is
    ``clip((x - a) / (b - a), 0, 1)``, but the first has no lower limit and the last no upper one
    (Gorishniy, Rubachev and Babenko, 2022). A `ColumnDense` behind it makes embeddings. Columns
    with fewer bins than others have zeros at the end.

    Args:
        num_bins: how many bins `adapt` makes of the quantiles of each column; equal ones count
            once.
        bins: the edges instead: for each column ascending numbers, one more than it has bins.

    Raises:
        ValueError: edges that are fewer than two, or do not ascend.
    """

    bins: list[list[float]] | None

    def __init__(
        self,
        num_bins: int = 48,
        bins: Sequence[Sequence[float]] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = positive_int("PiecewiseLinearEncoding", "num_bins", num_bins)
        self.bins = None if bins is None else _all_edges(bins)
        self.input_spec = InputSpec(ndim=2)

    def adapt(self, data: Any) -> None:
        """Learn the edges, quantiles of each column, and forget earlier ones.

        Args:
            data: an array or frame of shape (samples, columns); NaN is left out, with a warning.

        Raises:
            ValueError: another shape, infinite values, or a column without a number.
        """
        owner = f"PiecewiseLinearEncoding {self.name!r}: adapt"
        missing = Missing(owner, "they stay NaN")
        x = missing.read(data)
        if x.ndim != 2 or not len(x):
            raise expected(owner, "data", "an array of shape (samples, columns)", np.shape(x))
        if self.built and self.bins and x.shape[1] != len(self.bins):
            raise expected(owner, "data", f"an array of {len(self.bins)} columns", np.shape(x))
        parts = np.linspace(0.0, 1.0, self.num_bins + 1)
        found = []
        for i, column in enumerate(np.asarray(x.T, np.float64)):
            known = column[~np.isnan(column)]
            if not known.size:
                raise expected(owner, f"column {i} of data", "numbers", "only missing ones (NaN)")
            edges = np.unique(np.quantile(known, parts).astype(np.float32))
            if len(edges) == 1:  # one value: the next that float32 has, at least 1 above
                edges = np.array([edges[0], max(edges[0] + 1, np.nextafter(edges[0], _NO_LIMIT))])
            found.append(edges.tolist())
        missing.tell()
        self.bins = found

    def _tables(self) -> tuple[NDArray[np.float32], ...]:
        """Lower edges, factors, and limits of the bins, each of shape (columns, bins)."""
        if self.bins is None:
            raise ValueError(
                f"PiecewiseLinearEncoding {self.name!r}: the layer must be given bins, or see data "
                "by adapt(), before it is used"
            )
        shape = (len(self.bins), max(map(len, self.bins)) - 1)
        low, least, most = (np.zeros(shape, np.float32) for _ in range(3))
        factor = np.ones(shape, np.float32)
        for i, edges in enumerate(self.bins):
            n = len(edges) - 1
            low[i, :n] = edges[:-1]
            sizes = np.diff(np.asarray(edges, np.float32).astype(np.float64))
            factor[i, :n] = np.minimum(1.0 / sizes, _NO_LIMIT)
            most[i, :n] = 1.0
            least[i, 0], most[i, n - 1] = -_NO_LIMIT, _NO_LIMIT
        return low, factor, least, most

    def build(self, input_shape: Shape) -> None:
        """Check that there are edges for each column."""
        columns = self._tables()[0].shape[0]
        if input_shape[-1] != columns:
            raise ValueError(
                f"PiecewiseLinearEncoding {self.name!r}: inputs must have {columns} columns, as "
                f"bins has, got shape {tuple(input_shape)}"
            )
        self.input_spec = InputSpec(ndim=2, axes={-1: columns})
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The encodings, of shape (samples, columns, bins)."""
        low, factor, least, most = self._tables()
        y = ops.minimum(ops.maximum((inputs[..., None] - low) * factor, least), most)
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input with a last axis of bins."""
        return (*input_shape, self._tables()[0].shape[1])


def _all_edges(given: Any) -> list[list[float]]:
    """Edges of all columns, checked."""
    if isinstance(given, str) or not hasattr(given, "__len__") or not len(given):
        what = "ascending numbers for each of one or more columns"
        raise expected("PiecewiseLinearEncoding", "bins", what, given)
    return [_edges(each) for each in given]


def _edges(given: Any) -> list[float]:
    """Edges of one column, checked."""
    edges = as_numeric(given, "PiecewiseLinearEncoding: bins").astype(np.float32)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        what = "for each column two or more ascending numbers"
        raise expected("PiecewiseLinearEncoding", "bins", what, given)
    if not np.isfinite(edges).all():
        raise expected("PiecewiseLinearEncoding", "bins", "finite numbers", given)
    found: list[float] = edges.tolist()
    return found
