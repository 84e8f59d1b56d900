"""Whole: a model that takes columns of a table as they are, with the encoding within it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl import ops
from cdl.layers import Activation, Concatenate, Input, StringLookup
from cdl.models import Model
from cdl.sklearn.tables.table import EDGE, Normal, Table
from cdl.sklearn.tables.training import Trained

Array = NDArray[Any]

PARTS_OF_DATES = ("days", "month", "weekday", "hour")
"""Inputs that a column of dates becomes, as `Table` reads it."""


class Layout(NamedTuple):
    """Inputs of a whole model, in their order: numbers, then categories.

    Attributes:
        numbers: names of the inputs that are numbers.
        categories: names of the inputs that are categories, with the values that have the codes 1,
            2 and so on; 0 is any other value.
        places: of a column, by its number, the places of its inputs among numbers or categories.
    """

    numbers: list[str]
    categories: dict[str, list[str]]
    places: dict[int, list[int]]


def layout_of(owner: str, names: Sequence[str], tables: Sequence[Table]) -> Layout:
    """Layout of the columns that the tables of an estimator's bags read.

    Args:
        names: of columns.
        tables: one a bag.

    Raises:
        ValueError: a column of text that is hashed, two of one name, or none with a value.
    """
    found = Layout([], {}, {})
    for i, name in enumerate(names):
        kinds = {table.kinds[i] for table in tables} - {None}
        if any(i in table.hashed for table in tables):
            raise ValueError(
                f"{owner}: export: columns must be numbers, dates or categories, got text that is "
                f"hashed in {name}"
            )
        if "text" in kinds:
            values = {each for table in tables for each in table.categories.get(i, ())}
            found.places[i] = [len(found.categories)]
            found.categories[name] = sorted(values) or [""]
        elif kinds:
            new = [f"{name} ({part})" for part in PARTS_OF_DATES] if "date" in kinds else [name]
            found.places[i] = list(range(len(found.numbers), len(found.numbers) + len(new)))
            found.numbers.extend(new)
    if not found.places:
        raise ValueError(f"{owner}: export: X must have had a column with a value in fit")
    counts = Counter([*found.numbers, *found.categories])
    (most, times), *_ = counts.most_common(1)
    if times > 1 or len(counts) < sum(map(len, found.places.values())):
        raise ValueError(
            f"{owner}: export: columns must have names of their own, got {most!r} twice"
        )
    return found


def in_float32(owner: str, what: str, *facts: Array) -> list[Array]:
    """Numbers as float32; ValueError for those that float32 does not have."""
    with np.errstate(over="ignore"):
        found = [each.astype(np.float32) for each in facts]
    for a, b in zip(facts, found, strict=True):
        if not np.isfinite(b).all() or ((a != 0) & (np.abs(b) < np.finfo(np.float32).tiny)).any():
            raise ValueError(
                f"{owner}: export: {what} must have values and ranges that float32 has, got "
                f"{a.tolist()[:5]}"
            )
    return found


class Bag(NamedTuple):
    """Table and net of one bag."""

    table: Table
    net: Trained


def of_array(layout: Layout, bags: Sequence[Bag], finish: Any, name: str) -> Model:
    """Model of one input that has all columns, categories as their codes.

    Args:
        layout: of the columns.
        bags: whose outputs are averaged.
        finish: from the mean to what is predicted.
        name: of the model.
    """
    n = len(layout.numbers)
    columns = Input((n + len(layout.categories),), name="columns")
    numbers = columns[:, :n] if n else None
    codes = ops.cast(columns[:, n:], "int32") if layout.categories else None
    return Model(columns, finish(_mean(layout, bags, numbers, codes)), name=name)


def of_columns(layout: Layout, bags: Sequence[Bag], finish: Any, name: str) -> Model:
    """Model of an input a column, of its name with _ for /: a number, or a category as string."""
    numbers = [Input((1,), name=each.replace("/", "_")) for each in layout.numbers]
    names = [each.replace("/", "_") for each in layout.categories]
    texts = [Input((1,), dtype="string", name=each) for each in names]
    codes = [
        StringLookup(vocabulary=values, mask_token=None, oov_token=_other_than(values))(text)
        for text, values in zip(texts, layout.categories.values(), strict=True)
    ]
    outputs = _mean(layout, bags, _joined(numbers), _joined(codes))
    return Model([*numbers, *texts], finish(outputs), name=name)


def _other_than(values: Sequence[str]) -> str:
    """Text that is none of the values."""
    return "?" * (1 + max(map(len, values)))


def _joined(parts: list[Any]) -> Any:
    """Tensors side by side; None for none."""
    return Concatenate()(parts) if len(parts) > 1 else parts[0] if parts else None


def _mean(layout: Layout, bags: Sequence[Bag], numbers: Any, codes: Any) -> Any:
    outputs = [bag.net.model(_encoded(layout, bag.table, numbers, codes)) for bag in bags]
    total = outputs[0]
    for each in outputs[1:]:
        total = total + each
    return total / len(outputs) if len(outputs) > 1 else total


def _encoded(layout: Layout, table: Table, numbers: Any, codes: Any) -> Any:
    """Inputs of a bag's net, as `Table.transform` makes them."""
    read = [
        place
        for i, kind in enumerate(table.kinds)
        if kind in ("number", "date")
        for place in layout.places[i]
    ]
    parts: tuple[list[Any], list[Any], list[Any]] = [], [], []
    if read:
        x = ops.take(numbers, np.array(read), axis=1)
        gaps = ops.isnan(x)
        if table.varies.any():
            at = np.flatnonzero(table.varies)
            missing = table.scaled(np.full((1, len(table.varies)), np.nan))[0]
            scaled = _scaled(table, ops.take(x, at, axis=1))
            parts[0].append(ops.where(ops.take(gaps, at, axis=1), missing, scaled))
        if table.with_gaps.any():
            flags = ops.take(ops.cast(gaps, "float32"), np.flatnonzero(table.with_gaps), axis=1)
            parts[1].append(flags)
    for i, known in table.categories.items():
        (place,) = layout.places[i]
        values = list(layout.categories.values())[place]
        own = np.array([0, *(known.get(each, 0) for each in values)])
        if len(known) > table.most_flags:
            rows = (own + table.first_code[len(parts[2])]).astype(np.int32)
            parts[2].append(ops.take(rows, codes[:, place : place + 1]))
        elif known:
            flags = own[:, None] == np.arange(1, len(known) + 1)
            parts[1].append(ops.take(flags.astype(np.float32), codes[:, place], axis=0))
    if not any(parts):
        any_input = numbers if codes is None else ops.cast(codes, "float32")
        parts[1].append(ops.zeros_like(any_input[:, :1]))
    return [_joined(each) for each in parts if each]


def _scaled(table: Table, x: Any) -> Any:
    if table.scaling == "quantile":
        in_float32(table.owner, "X", np.abs(table.normal.quantiles).max(0))
        return _normal(table.normal, x)
    median = table.median[table.varies]
    scale, _ = in_float32(table.owner, "X", table.scale, median)
    high, low = _halves(median)
    return Activation("smooth_clip")((x - high - low) * scale)


def _halves(values: Array) -> tuple[Array, Array]:
    """Numbers of float64 as sums of two of float32."""
    high = values.astype(np.float32)
    return high, (values - high).astype(np.float32)


def _normal(normal: Normal, x: Any) -> Any:
    """Map of `Normal`, with ranks counted from both ends: float32 has few numbers below 1."""
    begin, end = normal.quantiles[:-1].T, normal.quantiles[1:].T
    width = np.maximum(end - begin, 1e-30).astype(np.float32)
    part = np.diff(normal.references).astype(np.float32)
    from_begin, to_end = _distance(ops.expand_dims(x, -1), begin, end)
    below = ops.sum(ops.clip(from_begin / width, 0.0, 1.0) * part, axis=-1)
    above = ops.sum(ops.clip(to_end / width, 0.0, 1.0) * part, axis=-1)
    from_first, to_last = _distance(x, normal.quantiles[0], normal.quantiles[-1])
    edge = normal.edge.astype(np.float32)
    is_low, is_high = from_first < edge, to_last < edge
    less = ops.where(is_low, 0.0, ops.where(is_high, 1.0, below)) < 0.5
    tail = ops.where(ops.logical_or(is_low, is_high), 0.0, ops.minimum(below, above))
    z = _quantile(ops.maximum(tail, EDGE))
    return ops.where(less, z, -z)


def _distance(x: Any, begin: Array, end: Array) -> tuple[Any, Any]:
    """x less begin, and end less x."""
    high, low = _halves(begin)
    more, less = _halves(end)
    return x - high - low, more - x + less


def _quantile(p: Any) -> Any:
    """Quantile of the normal distribution, for p up to a half.

    Algorithm AS 241, PPND7, of Wichura (1988), to some 1e-7.
    """
    q = p - 0.5
    r = 0.180625 - q * q
    above = ((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    below = ((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1.0
    s = ops.sqrt(-ops.log(p)) - 1.6
    tail = ((0.17023821103 * s + 1.3067284816) * s + 2.75681539) * s + 1.4234372777
    of_tail = (0.12021132975 * s + 0.7370016425) * s + 1.0
    return ops.where(q > -0.425, q * above / below, -tail / of_tail)
