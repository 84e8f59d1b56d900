"""What an instruction's numbers, attributes and weights come to in `predict`.

Shared by all formats: positions of elements that an op only moves, and the columns of an op whose
statistics are known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cdl._ir.instruction import Instruction
    from cdl.trainers.signature import TrainableModel

# Ops of a program that a model's `predict` never has: of training, of losses and metrics.
NOT_IN_PREDICT = frozenset(
    {
        "activity",
        "assign",
        "ctc",
        "dropout",
        "line_loss",
        "loss",
        "measure",
        "metric",
        "noise",
        "objective",
        "observe",
        "patterned_dropout",
        "probe",
        "signs",
        "tally",
        "weigh",
    }
)
# Ops that give one of their inputs, perhaps in another shape, or the weight or numbers they have.
SAME = frozenset(("reshape", "stop", "fork", "spread"))
# Why the others cannot leave.
REASONS = {
    "host": "it is Python code (a Lambda, or an activation of one's own)",
    "over_rows": "it mixes the samples of a batch",
    "draw": "it draws random numbers",
}


def input_shapes(program: Any, model: TrainableModel) -> list[tuple[int, ...]]:
    """The shapes of a model's inputs, which its program may read in other ones."""
    infos = getattr(model, "_input_infos", None)
    return [tuple(v.shape) for v in program.inputs] if infos is None else [i.row for i in infos()]


def input_dtypes(program: Any, model: TrainableModel) -> list[str]:
    """The dtypes of a model's inputs; what its program reads is float32."""
    infos = getattr(model, "_input_infos", None)
    return ["float32" for _ in program.inputs] if infos is None else [i.dtype for i in infos()]


def refusal(op: str, format: str) -> ValueError:
    """The error for an op that a format cannot express."""
    why = REASONS.get(op, "it is not known there")
    return ValueError(f"export: the op {op!r} has no place in {format}: {why}")


def blocks(i: Instruction) -> tuple[int, int, int]:
    """outer, n, inner of an instruction: its input in row-major order is outer x n x inner."""
    outer, n, inner = (int(each) for each in i.numbers[:3])
    return outer, n, inner


def places(i: Instruction) -> NDArray[np.int64]:
    """The places along the axis that `pick` picks, one by one; -1 for zeros."""
    runs = np.reshape(i.numbers[3:], (-1, 3)).astype(np.int64)
    parts = [
        np.full(count, -1) if start < 0 else start + step * np.arange(count)
        for start, count, step in runs
    ]
    return np.concatenate(parts)


def axes(i: Instruction) -> list[int]:
    """The axes of a sample, from 0, that become those of the result of `permute`."""
    return [int(axis) for axis in i.numbers]


class Product:
    """What `product` multiplies, as (batch of) matrices: y = a b.

    Attributes:
        m: rows of a and y.
        k: columns of a, rows of b.
        n: columns of b and y.
        batch: how many matrices y has.
        many: whether a, and b, have as many, or one.
        turned: whether a, and b, lie transposed.
    """

    def __init__(self, i: Instruction) -> None:
        shapes = [v.shape if len(v.shape) > 1 else (1, *v.shape) for v in i.inputs]
        self.turned = [bool(i.attributes[name]) for name in ("turned_a", "turned_b")]
        (self.m, self.k), (_, self.n) = (
            shape[-2:][::-1] if turned else shape[-2:]
            for shape, turned in zip(shapes, self.turned, strict=True)
        )
        counts = [math.prod(shape[:-2]) for shape in shapes]
        self.batch = math.prod(i.outputs[0].shape) // (self.m * self.n)
        self.many = [count > 1 for count in counts]


def positions(i: Instruction) -> NDArray[np.int64]:
    """For each element of the result, which element of the input it is; -1 for a zero."""
    x, y = i.inputs[0].shape, i.outputs[0].shape
    every = np.arange(math.prod(x))
    if i.op == "permute":
        return every.reshape(x).transpose(axes(i)).reshape(-1)
    if i.op == "repeat":
        return np.tile(every, y[0])
    if i.op == "broadcast":
        return np.broadcast_to(every.reshape(x), y).reshape(-1)
    outer, n, inner = blocks(i)
    picked = places(i)
    taken = every.reshape(outer, n, inner)[:, picked]
    return np.where(picked[:, None] < 0, -1, taken).reshape(-1)


def inference_scale(i: Instruction, width: int) -> tuple[NDArray[Any], ...]:
    """center, scale and shift by column of an op that is ``(x - center) scale + shift``."""
    values: list[Any] = [None if each is None else each.numpy().reshape(-1) for each in i.params]

    def column(value: Any, otherwise: float) -> NDArray[np.float64]:
        given = otherwise if value is None else np.asarray(value, np.float64)
        return np.broadcast_to(np.asarray(given, np.float64), (width,))

    if i.op == "affine":
        return column(values[0], 0.0), column(values[1], 1.0), column(values[2], 0.0)
    if i.op == "feature_norm":
        mean = column(values[0], 0.0)
        deviation = np.maximum(np.sqrt(column(values[1], 1.0)), 1e-7)
        if i.attributes["invert"]:
            return column(None, 0.0), deviation, mean
        return mean, 1.0 / deviation, column(None, 0.0)
    gamma, beta, center, variance = values[:4]
    root = np.sqrt(column(variance, 1.0) + float(np.float32(i.attributes["epsilon"])))
    return column(center, 0.0), column(gamma, 1.0) / root, column(beta, 0.0)
