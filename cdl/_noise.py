"""_noise.py - noise that stays in predictions: `Dropout(0.5)(x, training=True)`.

The ops of noise do nothing outside training. Where code asks for it all the same (Monte Carlo
dropout), they become numbers that are drawn, and an expression of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdl import _values
from cdl._expression import Expression, apply, argument

if TYPE_CHECKING:
    from cdl._instruction import Value
    from cdl._program import Program

# What inference leaves out.
NOISES = ("dropout", "patterned_dropout", "noise")


def drawn(program: Program, op: str, x: Value, attributes: dict[str, float]) -> Value:
    """What one of `NOISES` does in training, whatever the program is for.

    Args:
        program: what it is appended to.
        op: the operation.
        x: its input.
        attributes: those of the operation.
    """
    pattern = int(attributes.get("common", 0))  # bit 0: samples; bit k: axis k - 1 of a sample
    shape = [1 if pattern >> (k + 1) & 1 else n for k, n in enumerate(x.shape)]
    kind = "normal" if op == "noise" else "uniform"
    shared = x.shared or bool(pattern & 1)
    seed, own = int(attributes["seed"]), int(attributes["own"])
    numbers = _values.draw(program, kind, shape, seed, own=own, shared=shared)
    if tuple(shape) != x.shape:
        numbers = _values.broadcast(program, numbers, x.shape)
    if not x.shared:
        numbers = program.spread(numbers)
    return program.map(_formula(op, attributes), [x, numbers])


def _formula(op: str, attributes: dict[str, float]) -> Expression:
    """The operation of x, argument 0, and the drawn numbers, argument 1."""
    x, number = argument(0), argument(1)
    if op == "noise":
        noise = number * attributes["stddev"]
        return x * (noise + 1.0) if attributes["multiplies"] else x + noise
    rate = attributes["rate"]
    kept = 1.0 - rate
    scale = attributes.get("scale", 1.0 / kept if kept > 0 else 0.0)
    shift, dropped = attributes.get("shift", 0.0), attributes.get("dropped", 0.0)
    return apply("where", apply("greater_equal", number, rate), x * scale + shift, dropped)
