"""Parts of rules and compositions: values repeated, summed along lines, chosen by number."""

from __future__ import annotations

import numpy as np

from cdl._ir import emit
from cdl._ir.elementwise import apply, argument
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering

_A, _B = argument(0), argument(1)


def alike(p: Lowering, value: Value, like: Value) -> Value:
    """Value repeated to the shape of another one, and for each sample if that one is of samples."""
    value = emit.broadcast(p, value, like.shape)
    return value if like.shared else p.broadcast_batch(value, like)


def line_sum(p: Lowering, value: Value, kind: str = "sum") -> Value:
    """Sum, or another reduction, of each line, in the shape of the lines."""
    return emit.broadcast(p, emit.reduce(p, kind, value, [-1], keepdims=True), value.shape)


def counted(p: Lowering, value: Value, mask: Value) -> Value:
    """Values of the lines that a mask shows, a number a line, and 0 in the others."""
    lines = alike(p, emit.reshape(p, mask, (*value.shape[:-1], 1)), value)
    return p.map(apply("where", apply("equal", _B, 0.0), 0.0, _A), [value, lines])


def one_hot(p: Lowering, value: Value, axis: int) -> Value:
    """1 where a number is its place along an axis, else 0; negative ones count from the end."""
    n = value.shape[axis]
    shape = [n if k == axis else 1 for k in range(len(value.shape))]
    places = alike(p, p.constant(np.arange(n).reshape(shape)), value)
    from_start = apply("where", apply("less", _A, 0.0), _A + float(n), _A)
    return p.map(apply("equal", from_start, _B), [value, places])


def product_of_others(p: Lowering, cube: Value) -> Value:
    """Product of all other numbers along axis 1 of three."""
    n = cube.shape[1]
    others = []
    for k in range(n):
        rest = emit.pick(p, cube, 1, [j for j in range(n) if j != k])
        others.append(emit.reduce(p, "prod", rest, [1], keepdims=True))
    return emit.concat(p, others, 1)


def drawn(p: Lowering, i: Instruction) -> Instruction:
    """Noise as a map of its input and of drawn numbers, both in place of the instruction."""
    n = len(p.instructions)
    emit.drawn(p, i.op, i.inputs[0], i.attributes)
    *new, last = p.instructions[n:]
    del p.instructions[n:]
    at = next(k for k, each in enumerate(p.instructions) if each is i)
    last = last.giving(i.outputs)
    p.instructions[at : at + 1] = [*new, last]
    return last


def summed_to(p: Lowering, g: Value, shape: tuple[int, ...]) -> Value:
    """Sum over the axes along which a value of a shape has been repeated."""
    aligned = (1,) * (len(g.shape) - len(shape)) + shape
    axes = [a for a, (n, m) in enumerate(zip(g.shape, aligned, strict=True)) if n != m]
    return emit.reshape(p, emit.reduce(p, "sum", g, axes, keepdims=True) if axes else g, shape)
