"""_values.py - operations over values, by shapes of samples: what the core's ops want to be told.

Axes are those of a value's shape, which has no batch axis; negative ones count from the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdl._instruction import Shape, Value
    from cdl._program import Program


def reshape(program: Program, value: Value, shape: Iterable[int]) -> Value:
    """The same numbers in another shape; the value itself if it is its own."""
    shape = tuple(shape)
    return value if value.shape == shape else program.emit("reshape", [value], shape)


def broadcast(program: Program, value: Value, shape: Iterable[int]) -> Value:
    """Repeated along axes of size 1 and leading axes that it lacks."""
    shape = tuple(shape)
    return value if value.shape == shape else program.emit("broadcast", [value], shape)


def reduce(
    program: Program,
    kind: str,
    value: Value,
    axes: Sequence[int] | None = None,
    keepdims: bool = False,
) -> Value:
    """The sum, mean, max, min or prod over axes, or over all of them.

    Axes that are no neighbours are reduced one after the other, the last first.
    """
    rank = len(value.shape)
    left = sorted({a % rank for a in (range(rank) if axes is None else axes)})
    while left:
        end = left.pop()
        start = end
        while left and left[-1] == start - 1:
            start = left.pop()
        numbers, shape = _cut(value.shape, start, end + 1, keepdims)
        value = program.emit("reduce", [value], shape, numbers=numbers, kind=kind)
    return value


def _cut(shape: Shape, start: int, end: int, keepdims: bool) -> tuple[list[int], Shape]:
    """Sizes before, of and behind the axes [start, end), and the shape without them."""
    parts = shape[:start], shape[start:end], shape[end:]
    middle = (1,) * (end - start) if keepdims else ()
    return [math.prod(p) for p in parts], (*parts[0], *middle, *parts[2])


def arg(
    program: Program,
    value: Value,
    axis: int | None = None,
    keepdims: bool = False,
    smallest: bool = False,
) -> Value:
    """The place of the largest or smallest along an axis, or among all; no gradient.

    The first of equals; a NaN is the largest and the smallest.
    """
    rank = len(value.shape)
    start, end = (0, rank) if axis is None else (axis % rank, axis % rank + 1)
    numbers, shape = _cut(value.shape, start, end, keepdims)
    return program.emit("arg", [value], shape, numbers=numbers, smallest=float(smallest))


def cumulate(program: Program, value: Value, axis: int, product: bool = False) -> Value:
    """Along an axis, the sum or product of all numbers up to each one."""
    axis %= len(value.shape)
    numbers, _ = _cut(value.shape, axis, axis + 1, True)
    return program.emit("cumulate", [value], value.shape, numbers=numbers, product=float(product))


def sort(program: Program, value: Value) -> tuple[Value, Value]:
    """Along the last axis the numbers in ascending order, and their places before.

    Equal numbers keep their order; NaN come last. The places have no gradient.
    """
    values = program.emit("sort", [value], value.shape)
    return values, program.add_output(values, value.shape)


def draw(
    program: Program,
    kind: str,
    shape: Iterable[int],
    seed: int = 0,
    *,
    own: int = 0,
    fixed: bool = False,
    shared: bool = False,
) -> Value:
    """Random numbers: "uniform" in [0, 1), "normal", "truncated_normal".

    Args:
        program: what it is appended to.
        kind: the distribution.
        shape: of the value.
        seed: what they follow from, besides that of the run.
        own: 0, or that the seed is one that the user has given: see `Program.draw_of`.
        fixed: whether they are the same in each step, and follow from this seed alone.
        shared: whether they are the same for all samples of a batch.
    """
    numbers = {"seed": seed, "own": float(own), "fixed": float(fixed)}
    return program.emit("draw", [], shape, (), shared=shared, kind=kind, **numbers)


def product(
    program: Program, a: Value, b: Value, turned_a: bool = False, turned_b: bool = False
) -> Value:
    """The product of matrices, which are the last two axes; either may be turned first.

    Leading axes broadcast. A value of one axis is one row. Either may be shared, and of a shared
    one with a single matrix no copy is made.

    Raises:
        ValueError: if the sizes do not fit.
    """
    turned = turned_a, turned_b
    rows, columns = ((1, *v.shape)[-2 : len(v.shape) + 1] for v in (a, b))
    (m, k), (k_b, n) = (s[::-1] if t else s for s, t in zip((rows, columns), turned, strict=True))
    if k != k_b:
        shapes = [
            f"{v.shape}{', transposed' if t else ''}" for v, t in zip((a, b), turned, strict=True)
        ]
        raise ValueError(
            "product: matrices must agree in the axis that is summed over, got shapes "
            f"{' and '.join(shapes)}"
        )
    leading = [v.shape[:-2] for v in (a, b)]
    batch = broadcast_shapes(leading)
    values = [
        v if math.prod(s) in (1, math.prod(batch)) else broadcast(program, v, batch + v.shape[-2:])
        for v, s in zip((a, b), leading, strict=True)
    ]
    one_row = len(a.shape) == 1 and not turned_a and not batch
    return program.emit(
        "product",
        values,
        (n,) if one_row else (*batch, m, n),
        turned_a=float(turned_a),
        turned_b=float(turned_b),
    )


def broadcast_shapes(shapes: Iterable[Shape]) -> Shape:
    """The shape that all of them broadcast to.

    Raises:
        ValueError: if two of them do not fit.
    """
    shapes = list(shapes)
    rank = max(map(len, shapes))
    made = []
    for sizes in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        size = max(sizes, key=lambda n: (n != 1, n))
        if any(n not in (1, size) for n in sizes):
            raise ValueError(f"shapes do not broadcast: {shapes}")
        made.append(size)
    return tuple(made)
