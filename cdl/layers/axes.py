"""Axes permuted to the form of the core's ops, and back.

The ops work along the last axis of a value. A layer that works along others has them moved there,
several as one, and moved back behind the op. Axes count from 0, the axis of the samples; a value
has no such axis, so its own begin at 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cdl._ir.emit import join_batch, permute, split_batch
from cdl._tracing.keras_tensor import known_samples
from cdl.layers.arguments import Lowering, Value


def permuted(program: Lowering, x: Value, order: Sequence[int]) -> Value:
    """`x` with transposed axes: axis `order[i]` becomes axis i + 1."""
    return permute(program, x, [axis - 1 for axis in order])


def reshaped(program: Lowering, x: Value, shape: Sequence[int]) -> Value:
    """`x` in another shape; itself if it has that shape."""
    if tuple(shape) == x.shape:
        return x
    return program.emit("reshape", (x,), shape)


def along(
    program: Lowering, x: Value, axes: Sequence[int], emit: Callable[[Value], Value]
) -> Value:
    """Result of `emit` on `x` with some axes merged at the end, moved back after it.

    Args:
        axes: the axes that are to be the last one, in ascending order; that of the samples too,
            where their number is known.
        emit: appends an op whose output has its input's shape.
    """
    samples = known_samples()
    if 0 in axes and samples is not None:  # an axis like others of all samples
        whole = join_batch(program, x, samples)
        return split_batch(program, along(program, whole, [axis + 1 for axis in axes], emit))
    every = range(1, len(x.shape) + 1)
    others = [axis for axis in every if axis not in axes]
    order = [*others, *axes]
    moved = permuted(program, x, order)
    lines = [x.shape[axis - 1] for axis in others]
    last = math.prod(x.shape[axis - 1] for axis in axes)
    y = emit(reshaped(program, moved, (*lines, last)))
    y = reshaped(program, y, moved.shape)
    return permuted(program, y, [order.index(axis) + 1 for axis in every])
