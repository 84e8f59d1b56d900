"""Table: columns as arrays for a net, by what `fit` has seen of them."""

from __future__ import annotations

import warnings
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl import _core
from cdl.sklearn.tables.columns import Column

Array = NDArray[Any]

RARE = 2
"""Rows below which a category counts as rare, and is read as one that `fit` has not seen."""

MANY = 20
"""Rows from which a column that holds no known category is warned of."""

HASHES = 64
"""Columns that words of a text column are counted in."""


_NOISE = 1e-5  # of a column's deviation, which parts equal numbers before they are ranked
_COARSE = 1e-4  # of it too, up to which numbers that are ranked may be rounded
EDGE = 1e-7  # of ranks at the ends of a distribution, and of numbers, as a part of their range
MOST = 1e30  # of scaled numbers, whose clip is 3 long before
_BLOCK = 1 << 13  # rows that are encoded at once
_ULP = np.spacing(1)  # of 1, as scikit-learn has it
_LEAST = np.finfo(np.float64).tiny  # of numbers that are divided by


class Encoded(NamedTuple):
    """Inputs of a net.

    Attributes:
        numbers: float32 of shape (rows, columns), scaled.
        flags: float32: indicators of categories and of missing values.
        codes: int32: rows of a table of embeddings, one for each column with many categories.
    """

    numbers: Array
    flags: Array
    codes: Array

    def rows(self, at: Any) -> Encoded:
        """Inputs of some rows."""
        return Encoded(*(each[at] for each in self))


class Table:
    """Encoder of columns, learned from rows for training.

    Args:
        most_flags: the most categories that have a column each; above, an embedding.
        scaling: "robust" (medians, quartiles, a smooth clip) or "quantile" (to a normal
            distribution).
        text: "refuse" for an error that names columns of text, "hash" to count their words.

    Attributes:
        widths: sizes of numbers, flags and codes.
        embedded: rows of the table of embeddings.
        owner: as given.
        kinds: of columns: "number", "date", "text", or None for one without a value.
        timed: whether each is of times or their differences, which are numbers in seconds.
        categories: of columns of text, by their numbers: the codes of values, from 1.
        hashed: numbers of columns whose words are counted.
        most_flags: as given.
        scaling: as given.
        median: of each number; a date has four.
        with_gaps: whether each had missing ones.
        varies: whether each is an input.
        center: medians of those that vary.
        scale: of those that vary, with "robust".
        normal: map of those that vary, with "quantile".
        first_code: of each column with embeddings, the row of its code 0.
    """

    def __init__(self, owner: str, most_flags: int, scaling: str, text: str) -> None:
        self.owner, self.most_flags = owner, most_flags
        self.scaling, self._text = scaling, text

    def fit(self, columns: list[Column], seed: int, rows: Any = slice(None)) -> Table:
        """Learn medians, scales and categories of columns, from some of their rows.

        Raises:
            ValueError: a column of text, with text="refuse".
        """
        self.kinds = [None if _missing(c.values[rows]).all() else c.kind for c in columns]
        self.timed = [each.timed for each in columns]
        empty = [c.name for c, kind in zip(columns, self.kinds, strict=True) if kind is None]
        if empty:
            warnings.warn(
                f"{self.owner}: X: {', '.join(empty[:5])} held missing values only, and count as "
                "constant",
                UserWarning,
                stacklevel=4,
            )
        self.categories: dict[int, dict[str, int]] = {}
        self.hashed: set[int] = set()
        for i, (each, kind) in enumerate(zip(columns, self.kinds, strict=True)):
            if kind == "text":
                self._learn_texts(i, each.rows(rows))
        self._learn_numbers(columns, rows, seed)
        self.first_code = np.cumsum([0, *(len(c) + 1 for c in self._embedded())])
        encoded = self._encoded([each.rows(slice(1)) for each in columns])
        self.widths = tuple(each.shape[1] for each in encoded)
        self.embedded = int(self.first_code[-1])
        return self

    def _learn_texts(self, i: int, column: Column) -> None:
        known = column.values[~_missing(column.values)].astype(str)
        names, counts = np.unique(known, return_counts=True)
        # Names and sentences have nearly as many values as rows: none learns from another.
        if not column.declared and len(known) >= 20 and len(names) > 0.5 * len(known):
            if self._text == "refuse":
                raise ValueError(
                    f"{self.owner}: X: {column.name} must be of numbers, dates or categories, got "
                    f"text: {len(names)} different values in {len(known)} rows, such as "
                    f"{_shown(_least_like_number(names))}; make numbers or dates of it if it "
                    "holds such, leave it out, give text='hash', or make it a categorical column"
                )
            self.hashed.add(i)
            return
        kept = names[counts >= RARE] if len(known) > 20 else names
        if len(kept) == 1 and counts.max() == len(column.values):  # constant
            kept = kept[:0]
        self.categories[i] = {name: k for k, name in enumerate(kept.tolist(), 1)}

    def _embedded(self) -> list[dict[str, int]]:
        most = self.most_flags
        return [each for each in self.categories.values() if len(each) > most]

    def _learn_numbers(self, columns: list[Column], rows: Any, seed: int) -> None:
        """Learn from one column after the other: a matrix of all would be as large as the data."""
        gaps, medians, varies, learned = [], [], [], []
        for i, column in enumerate(columns):
            for x in self._slots(i, column.rows(rows)).T:
                missing = np.isnan(x)
                known = x[~missing]
                gaps.append(missing.any())
                medians.append(np.median(known) if known.size else 0.0)
                with np.errstate(over="ignore"):
                    spread = np.ptp(known) if known.size else 0.0
                if np.isinf(spread):
                    raise ValueError(
                        f"{self.owner}: X: {column.name} must have a range that float64 holds, got "
                        f"numbers from {known.min()} to {known.max()}"
                    )
                varies.append(spread > _LEAST)
                if varies[-1]:
                    filled = np.where(missing, medians[-1], x)
                    learned.append(_scale_of(filled) if self.scaling == "robust" else filled)
        self.with_gaps, self.varies = np.array(gaps, bool), np.array(varies, bool)
        self.median = np.array(medians, np.float64)
        self.center = self.median[self.varies]
        if self.scaling == "quantile" and learned:
            self.normal = _normal_of(np.array(learned).T, seed)
        else:
            self.scale = np.array(learned, np.float64)

    def transform(self, columns: list[Column], rows: Array | None = None) -> Encoded:
        """Inputs of a net, for some rows.

        A missing number is the median, with a flag if `fit` has seen a missing one in its column; a
        category that `fit` has not seen has no flag, or the first row of its embeddings.

        Raises:
            ValueError: a column of another kind than in `fit`.
        """
        self._check_kinds(columns)
        n = len(columns[0].values if rows is None else rows)
        dtypes = np.float32, np.float32, np.int32
        sizes = zip(self.widths, dtypes, strict=True)
        found = Encoded(*(np.empty((n, width), dtype) for width, dtype in sizes))
        for begin in range(0, n, _BLOCK):  # float64 of all rows would be twice as large
            block: Any = slice(begin, begin + _BLOCK)
            at = block if rows is None else rows[block]
            part = self._encoded([each.rows(at) for each in columns])
            for whole, values in zip(found, part, strict=True):
                whole[block] = values
        return found

    def _encoded(self, columns: list[Column]) -> Encoded:
        """Inputs of a net for few rows."""
        parts = [self._slots(i, column) for i, column in enumerate(columns)]
        numbers = np.concatenate(parts, 1)
        codes: list[Array] = []
        flags = [np.isnan(numbers[:, self.with_gaps])]
        for i, known in self.categories.items():
            found = _codes(columns[i].values, known)
            if len(found) >= MANY and known and not found.any():
                self._warn_of_new(columns[i], known)
            if len(known) > self.most_flags:
                codes.append(found + self.first_code[len(codes)])
            else:
                flags.append(found[:, None] == np.arange(1, len(known) + 1))
        rows = len(numbers)
        each_code = np.stack(codes, 1) if codes else np.zeros((rows, 0))
        each_flag = np.concatenate(flags, 1)
        x = self.scaled(numbers)
        if not x.shape[1] + each_flag.shape[1] + each_code.shape[1]:
            each_flag = np.zeros((rows, 1))  # for a net must have an input
        return Encoded(x, each_flag.astype(np.float32), each_code.astype(np.int32))

    def _warn_of_new(self, column: Column, known: dict[str, int]) -> None:
        """Warn of a column without one category that `fit` has seen: its values may look alike."""
        values = column.values[:MANY]
        new = values[~_missing(values)].tolist()
        if new:
            warnings.warn(
                f"{self.owner}: X: {column.name} holds no category of fit in {len(column.values)} "
                f"rows, such as {_shown(next(iter(known)))}, but others, such as "
                f"{_shown(new[0])}, all of which count as unknown",
                UserWarning,
                stacklevel=2,
            )

    def of_numbers(self, x: Array) -> Array | None:
        """Numbers for the net of float64 columns; None if it has other inputs than numbers."""
        plain = self.widths[1:] == (0, 0) and all(kind == "number" for kind in self.kinds)
        plain &= not any(self.timed)
        if not plain:
            return None
        found = np.empty((len(x), self.widths[0]), np.float32)
        for begin in range(0, len(x), _BLOCK):
            found[begin : begin + _BLOCK] = self.scaled(x[begin : begin + _BLOCK])
        return found

    def scaled(self, numbers: Array) -> Array:
        """Numbers of columns that vary, scaled, in float32."""
        gaps = np.isnan(numbers)
        x = np.where(gaps, self.median, numbers) if gaps.any() else numbers
        return self.scaled_known(x if self.varies.all() else x[:, self.varies])

    def scaled_known(self, x: Array) -> Array:
        """Numbers of columns that vary, none of them missing, scaled, in float32."""
        if self.scaling == "quantile" and x.shape[1]:
            x = self.normal(x)
        elif x.shape[1]:
            with np.errstate(over="ignore"):
                x = np.clip((x - self.center) * self.scale, -MOST, MOST)
            x = x / np.hypot(1.0, x / 3.0)
        return x.astype(np.float32)

    def owners(self) -> tuple[Array, Array, Array]:
        """Number of the column that each input comes from, of numbers, flags and codes."""
        sizes = {i: 4 if kind == "date" else 1 for i, kind in enumerate(self.kinds)
                 if kind in ("number", "date")}  # fmt: skip
        sizes |= dict.fromkeys(self.hashed, HASHES)
        slots = np.array([i for i in sorted(sizes) for _ in range(sizes[i])], np.int64)
        most = self.most_flags
        few = [i for i, known in self.categories.items() if len(known) <= most for _ in known]
        many = [i for i, known in self.categories.items() if len(known) > most]
        flags = np.array([*slots[self.with_gaps], *few], np.int64)
        if self.widths == (0, 1, 0) and not len(flags):
            flags = np.array([-1])
        return slots[self.varies], flags, np.array(many, np.int64)

    def _check_kinds(self, columns: list[Column]) -> None:
        for each, kind, timed in zip(columns, self.kinds, self.timed, strict=True):
            wanted, got = "time" if timed else kind, "time" if each.timed else each.kind
            if kind and got != wanted and not _missing(each.values).all():
                raise ValueError(
                    f"{self.owner}: X: {each.name} must hold values of the kind {wanted!r}, as in "
                    f"fit, got {got!r}"
                )

    def _slots(self, i: int, column: Column) -> Array:
        """Numbers of column i in float64, NaN if missing: one a row, four of dates, or of words."""
        if i in self.hashed:
            return _counted(column.values)
        if self.kinds[i] == "date":
            return _of_dates(_floats(column.values))
        if self.kinds[i] == "number":
            return _floats(column.values)[:, None]
        return np.zeros((len(column.values), 0))


class RowReader:
    """Reader of one row's values in microseconds: the inputs of a net that `transform` gives.

    Args:
        table: fitted.

    Attributes:
        table: as given.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._scales = table.scaling == "robust"
        plain = not table.hashed and "date" not in table.kinds and not any(table.timed)
        self._read = _core.RowReader(self._columns(), table.widths, self._scales) if plain else None

    def __reduce__(self) -> tuple[Any, ...]:
        return RowReader, (self.table,)

    def _columns(self) -> list[tuple[Any, ...]]:
        """Place and constants of each column, as the core takes them."""
        table, slot, flag, code = self.table, 0, int(self.table.with_gaps.sum()), 0
        gaps, places = np.cumsum(table.with_gaps) - 1, np.cumsum(table.varies) - 1
        found: list[tuple[Any, ...]] = []
        for i, kind in enumerate(table.kinds):
            known = table.categories.get(i)
            if kind == "number":
                gap = int(gaps[slot]) if table.with_gaps[slot] else -1
                at = int(places[slot]) if table.varies[slot] else -1
                scale = table.scale[at] if self._scales and at >= 0 else 1.0
                median = table.median[slot]
                found.append((None, at, gap, -1, median, median, scale))
                slot += 1
            elif known is None:  # without a value in `fit`
                found.append((None, -1, -1, -1, 0.0, 0.0, 1.0))
            elif len(known) > table.most_flags:
                found.append((known, code, -1, int(table.first_code[code]), 0.0, 0.0, 1.0))
                code += 1
            else:
                found.append((known, flag, -1, -1, 0.0, 0.0, 1.0))
                flag += len(known)
        return found

    def __call__(self, values: Sequence[Any]) -> list[Array] | None:
        """Inputs of the net; None if a value is of another type than numbers and text."""
        inputs = None if self._read is None else self._read(values)
        if inputs and self.table.widths[0] and not self._scales:
            inputs[0] = self.table.scaled_known(inputs[0])
        return inputs


class Normal:
    """Map of numbers to a normal distribution by their ranks among learned quantiles.

    It is that of scikit-learn's QuantileTransformer, to the bit, in a tenth of its time for a row,
    but for ranges below 1, whose ends are no wider than a part of them.
    Equal numbers of `fit` are a steep step of ranks, where the last bits of a number count: what a
    file gets in float32 predicts the same only if it is rounded here too.

    Args:
        quantiles: of each column, of shape (quantiles, columns).
        references: the parts of rows below each, of shape (quantiles,).
        single: whether each column's numbers are rounded to float32.

    Attributes:
        quantiles: as given.
        references: as given.
        single: as given.
        edge: how far from its ends each column's numbers count as these.
    """

    def __init__(self, quantiles: Array, references: Array, single: Array) -> None:
        self.quantiles, self.references, self.single = quantiles, references, single
        self.edge = EDGE * np.minimum(quantiles[-1] - quantiles[0], 1.0)
        # of one row, which plain numbers take faster: from below, and mirrored from above
        self._below = [array("d", each) for each in quantiles.T]
        self._above = [array("d", -each[::-1]) for each in quantiles.T]
        self._edge = array("d", self.edge)
        self._rising, self._falling = array("d", references), array("d", -references[::-1])

    def __call__(self, x: Array) -> Array:
        """Numbers of shape (rows, columns) as normal ones."""
        from scipy.special import ndtri

        if self.single.any():
            x = np.where(self.single, _in_float32(x), x)
        if len(x) == 1:
            ends = self._below, self._above, self._edge
            part = np.array([[*map(self._part, x[0].tolist(), *ends)]])
        else:
            part = np.empty(x.shape)
            down = -self.references[::-1]
            for i, (column, q) in enumerate(zip(x.T, self.quantiles.T, strict=True)):
                up = np.interp(column, q, self.references)
                part[:, i] = 0.5 * (up - np.interp(-column, -q[::-1], down))
            part[x + self.edge > self.quantiles[-1]] = 1.0
            part[x - self.edge < self.quantiles[0]] = 0.0
        most = ndtri(1.0 - (EDGE - _ULP))
        found: Array = np.minimum(np.maximum(ndtri(part), ndtri(EDGE - _ULP)), most)
        return found

    def _part(self, x: float, below: Sequence[float], above: Sequence[float], edge: float) -> float:
        """Part of rows below a number."""
        if x - edge < below[0]:
            return 0.0
        if x + edge > below[-1]:
            return 1.0
        up = _interpolated(x, below, self._rising)
        return 0.5 * (up - _interpolated(-x, above, self._falling))


def _interpolated(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """`np.interp` of one number within xs, which ascend."""
    j = bisect_right(xs, x) - 1
    if j == len(xs) - 1 or xs[j] == x:
        return ys[j]
    return (ys[j + 1] - ys[j]) / (xs[j + 1] - xs[j]) * (x - xs[j]) + ys[j]


def _scale_of(x: Array) -> float:
    """Factor of a column: of its middle half, or if that is one number, of half of its range."""
    low, high = np.percentile(x, [25, 75])
    spread = high - low if high > low else (x.max() - x.min()) / 2
    return 1.0 / spread if spread > _LEAST else 1.0


def _normal_of(x: Array, seed: int) -> Normal:
    from sklearn.preprocessing import QuantileTransformer

    parts = min(max(len(x) // 30, 10), 1000, len(x))
    most = np.maximum(np.abs(x).max(0), _LEAST)
    deviation = most * (x / most).std(0)
    rounded = _in_float32(x)
    single = np.abs(rounded - x).max(0) <= _COARSE * deviation
    noise = np.random.RandomState(seed).normal(0.0, _NOISE, x.shape) * deviation
    found = QuantileTransformer(n_quantiles=parts, random_state=seed)
    found.fit(np.where(single, rounded, x) + noise)
    return Normal(found.quantiles_, found.references_, single)


def _in_float32(x: Array) -> Array:
    """Numbers as float32 has them, in float64; infinite if too large."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32).astype(np.float64)


def _shown(text: str) -> str:
    """Text for a message, or its first words."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _least_like_number(texts: Array) -> str:
    """One of some texts, which is no number if one is none."""
    for text in texts.tolist():
        try:
            float(text)
        except ValueError:
            return str(text)
    return str(texts[0])


def _missing(values: Array) -> Array:
    """Where values are missing."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([each is None for each in values], bool)


def _floats(values: Array) -> Array:
    """Numbers of a column, all missing if it is of missing objects."""
    return values if values.dtype.kind == "f" else np.full(len(values), np.nan)


def _codes(values: Array, known: dict[str, int]) -> Array:
    """Numbers of categories; 0 for those that are not known."""
    return np.array([known.get(each, 0) for each in values.tolist()], np.int64)


def _of_dates(seconds: Array) -> Array:
    """Days since 1970, the month, the day of the week, and the hour."""
    there = ~np.isnan(seconds)
    found = np.full((len(seconds), 4), np.nan)
    dates = seconds[there].astype("datetime64[s]")
    days = seconds[there] / 86400
    months = dates.astype("datetime64[M]").astype(np.int64) % 12
    found[there] = np.stack([days, months, (np.floor(days) + 3) % 7, (days % 1) * 24], 1)
    return found


def _counted(values: Array) -> Array:
    """Logarithms of counts of hashed words."""
    found = np.zeros((len(values), HASHES))
    for row, text in zip(found, values, strict=True):
        for word in str(text or "").lower().split():
            row[zlib.crc32(word.encode()) % HASHES] += 1
    return np.log1p(found)
