"""Lowering of indexing, and of ops line by line along an axis."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir import emit
from cdl._ir.emit import permute
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl.ops.lowering import broadcast, sample_axis, value_of


def cut(
    program: Lowering, value: Value, axis: int, start: Any, stop: Any, step: Any = None
) -> Value:
    """Slice of a value along an axis."""
    places = range(value.shape[axis])[slice(start, stop, step)]
    return emit.pick(program, value, axis, places)


def chosen(program: Lowering, value: Value, places: Any, axis: int) -> Value:
    """Elements at fixed places along an axis; negative ones count from the end."""
    n = value.shape[axis]
    return emit.pick(program, value, axis, [int(i) + n * (i < 0) for i in np.ravel(places)])


def gathered(program: Lowering, x: Any, indices: LoweredTensor, axis: int, label: str) -> Value:
    """Elements of a shared operand at the places of a term along an axis."""
    variable, n = getattr(x, "variable", None), len(x.shape)
    if axis == 0:
        table = value_of(program, x) if variable is None else variable
        return emit.gather(program, indices.value, table, wraps=True, label=label)
    table = permute(program, value_of(program, x), [axis, *(a for a in range(n) if a != axis)])
    y = emit.gather(program, indices.value, table, wraps=True, label=label)
    k = len(indices.value.shape)
    order = [*range(k, k + axis), *range(k), *range(k + axis, len(y.shape))]
    return permute(program, y, order)


def taken_along(
    program: Lowering, spec: KerasTensor, x: Any, indices: ArrayLike, axis: int
) -> Value:
    """Elements of each line of x along an axis, at the places of its own."""
    at = axis % len(spec.shape)
    whole = list(spec.shape)
    whole[at] = x.shape[at]
    lines = broadcast(program, spec.like(whole), x)
    places = broadcast(program, spec, indices)
    return emit.take_along(program, lines, places, sample_axis(spec, axis))


def one_hot_lines(program: Lowering, x: Any, n: int) -> LoweredTensor:
    """One-hot vectors of length n for the numbers of x."""
    value = value_of(program, x)
    y = program.emit("encode", (value,), (*value.shape, n), one_hot=1, counts=0)
    if isinstance(x, LoweredTensor):
        return LoweredTensor(y, x.spec.like((*x.shape, n)))
    return LoweredTensor(y, KerasTensor(y.shape, rows_per_sample=0))


def repeated(program: Lowering, value: Value, axis: int, count: int) -> Value:
    """Value several times, one after the other, along an axis."""
    return emit.concat(program, [value] * count, axis)


def lines(program: Lowering, value: Value, axis: int, count: int) -> Value:
    """Value of size 1 along an axis broadcast to `count`."""
    shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
    return emit.broadcast(program, value, shape)


def product(program: Lowering, spec: KerasTensor, x1: Any, x2: Any) -> Value:
    """Matrix product of the last two axes of both operands; either may be one vector."""
    a, b = value_of(program, x1), value_of(program, x2)
    n, m = len(x1.shape), len(x2.shape)
    if not b.shared:
        a = _without(program, a, x2.batch_axis - m + n, n)
    if not a.shared:
        b = _without(program, b, x1.batch_axis - n + m, m)
    if getattr(x1, "rows_per_sample", 0) == 1 and 0 < x1.batch_axis == n - 2 and m > 2:
        a = emit.reshape(program, a, (*a.shape[:-1], 1, a.shape[-1]))  # a sample is a row
    if m == 1 or (getattr(x2, "rows_per_sample", 0) == 1 and x2.batch_axis == m - 1):  # or a column
        b = emit.reshape(program, b, (*b.shape, 1))
    return emit.reshape(program, emit.product(program, a, b), spec.sample_shape)


def _without(program: Lowering, value: Value, axis: int, n: int) -> Value:
    """Shared value of n axes without an axis of size 1 that meets the samples."""
    if not value.shared or not 0 <= axis < n - 2:
        return value
    return emit.reshape(program, value, value.shape[:axis] + value.shape[axis + 1 :])


def cumulated(program: Lowering, spec: KerasTensor, x: ArrayLike, axis: Any, kind: str) -> Value:
    """Cumulative "sum" or "prod" along an axis."""
    value = value_of(program, x)
    if axis is None:
        value, at = emit.reshape(program, value, spec.sample_shape), 0
    else:
        at = sample_axis(x, axis)
    return emit.cumulate(program, value, at, kind == "prod")


def sorted_along(program: Lowering, x: Any, axis: Any) -> tuple[Value, Value]:
    """Sorted numbers along an axis, and their places."""
    if axis is None:
        return emit.sort(program, emit.reshape(program, x.value, (prod(x.value.shape),)))
    at, n = sample_axis(x, axis), len(x.value.shape)
    order = [a for a in range(n) if a != at]
    back = [*range(n - 1)]
    back.insert(at, n - 1)
    found = emit.sort(program, permute(program, x.value, [*order, at]))
    values, places = (permute(program, each, back) for each in found)
    return values, places


def argued(program: Lowering, spec: KerasTensor, x: Any, axis: Any, smallest: bool) -> Value:
    """Place of the largest or smallest number along an axis, or over all."""
    at = None if axis is None else sample_axis(x, axis)
    y = emit.arg(program, x.value, at, smallest=smallest)
    return emit.reshape(program, y, spec.sample_shape)
