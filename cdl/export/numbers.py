"""Numbers, attributes and weights of instructions as `predict` uses them.

Shared by all formats: the places of elements that an op only moves, the windows of ops that have
some, and the columns of an op whose statistics are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _core
from cdl._ir.instruction import Instruction
from cdl._ir.program import Program
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
        "mask_weights",
    }
)
# Ops that give one of their inputs, perhaps in another shape, or the weight or numbers they have.
SAME = frozenset(("reshape", "exact", "stop", "fork", "broadcast_batch"))
# Why the others cannot leave.
REASONS = {
    "cast": (
        "it rounds to bfloat16 or float16, or back; set each layer's dtype_policy to 'float32' "
        "first"
    ),
    "host": "it is Python code",
    "batch_reduce": "it mixes the samples of a batch",
    "join_batch": "it mixes the samples of a batch",
    "split_batch": "it mixes the samples of a batch",
    "draw": "it draws random numbers",
    "recall": "it reads what the batch before has left, as stateful layers do",
    "retain": "it leaves something to the next batch, as stateful layers do",
    "resample": "it takes places of an image from between others",
}


# Ops of quantized layers.
INTEGERS = frozenset(("dense_int", "unpack"))


def infos(model: TrainableModel, kind: str) -> Sequence[Any]:
    """Names, shapes and dtypes of a model's "input"s or "output"s; () for another object."""
    graph = getattr(model, "_graph_of_model", None)
    if graph is None:
        return ()
    found: Sequence[Any] = graph.input_infos() if kind == "input" else graph.output_infos()
    return found


def input_dtypes(program: Any, model: TrainableModel) -> list[str]:
    """Dtypes of a model's inputs; its program reads float32."""
    found = [info.dtype for info in infos(model, "input")]
    return found or ["float32" for _ in program.inputs]


def refusal(op: str, format: str, function: Any = None) -> ValueError:
    """Error for an op that a format cannot express.

    Args:
        function: what an op of Python code calls, or None.
    """
    why = REASONS.get(
        op, "it has integers of few bits" if op in INTEGERS else "it is not known there"
    )
    called = "" if function is None else f" of {function!r}"
    return ValueError(f"export: the op {op!r} has no place in {format}: {why}{called}")


class Folded:
    """Kernel or bias with a normalization folded in, readable like a weight."""

    def __init__(self, path: str, values: NDArray[Any]) -> None:
        self.path = f"{path}_folded"
        self._values = values.astype(np.float32)
        self.shape = self._values.shape

    def numpy(self) -> NDArray[Any]:
        """Values of the folded weight, in float32."""
        return self._values


def unfolded(program: Program) -> Program:
    """Program in which products with a folded normalization have weights that contain it."""
    for i in program.instructions:
        if i.data and _core.OPS[i.op].folds:
            i.params, i.data = _folded(i), ()
    return program


def _folded(i: Instruction) -> tuple[Any, Any]:
    """Folded weights: W f and (b - mean) f + beta, with f = gamma / sqrt(variance + epsilon)."""
    first, mean_of = i.params[0], i.params[4]
    assert first is not None and mean_of is not None
    kernel, width = first.numpy().astype(np.float64), mean_of.shape[0]
    mean, factor, shift = _by_moving_statistics(i.params[2:6], i.data[0], width)
    rows = kernel.reshape(-1, width) if i.op == "depthwise_conv" else kernel
    by_column = factor[:, None] if i.op == "conv_transpose" else factor
    named = next(w for w in (i.params[1], *i.params[3:]) if w is not None)
    return (
        Folded(first.path, (rows * by_column).reshape(kernel.shape)),
        Folded(named.path, (_column(i.params[1], 0.0, width) - mean) * factor + shift),
    )


def blocks(i: Instruction) -> tuple[int, int, int]:
    """outer, n, inner of an instruction: its input in row-major order is outer x n x inner."""
    return i.attributes["outer"], i.attributes["n"], i.attributes["inner"]


def places(i: Instruction) -> NDArray[np.int64]:
    """Places along the axis that `pick` picks, one by one; -1 for zeros."""
    runs = np.reshape(i.numbers, (-1, 3))
    parts = [
        np.full(count, -1) if start < 0 else start + step * np.arange(count)
        for start, count, step in runs
    ]
    return np.concatenate(parts)


def axes(i: Instruction) -> list[int]:
    """Axes of a sample, from 0, that become those of the result of `permute`."""
    return list(i.numbers)


class Product:
    """Matrix product y = a b of a `product` instruction, batched.

    Attributes:
        m: rows of a and y.
        k: columns of a, rows of b.
        n: columns of b and y.
        batch: how many matrices y has.
        many: whether a, and b, have as many, or one.
        transposed: whether a, and b, lie transposed.
    """

    def __init__(self, i: Instruction) -> None:
        shapes = [v.shape if len(v.shape) > 1 else (1, *v.shape) for v in i.inputs[:2]]
        self.transposed = [bool(i.attributes[name]) for name in ("transpose_a", "transpose_b")]
        (self.m, self.k), (_, self.n) = (
            shape[-2:][::-1] if transposed else shape[-2:]
            for shape, transposed in zip(shapes, self.transposed, strict=True)
        )
        counts = [math.prod(shape[:-2]) for shape in shapes]
        self.batch = math.prod(i.outputs[0].shape) // (self.m * self.n)
        self.many = [count > 1 for count in counts]


class Windows:
    """Windows of an instruction over an image, of one to three axes, a number for each.

    Attributes:
        image: how many places the image has.
        map: how many places there are that have a window.
        taps: how many places a window sees; 0 if the windows share the axis evenly.
        stride: how far apart the windows of neighbours are.
        dilation: how far apart the taps are.
        before: how far before the image the first window begins.
        left_over: how many places of the image are behind the last window; below 0: how many of
            the window are behind the image.
        shares: for each axis that the windows share evenly the places that each of them sees; else
            nothing.
    """

    def __init__(self, i: Instruction, image: Any, map: Any) -> None:
        each = list(i.numbers)
        self.image, self.map = list(image.shape[:-1]), list(map.shape[:-1])
        self.taps, self.stride = each[::4], each[1::4]
        self.dilation, self.before = each[2::4], each[3::4]
        places = zip(self.image, self.map, strict=True)
        self.left_over = [
            n - ((m - 1) * s + (k - 1) * r + 1 - p)
            for (n, m), k, s, r, p in zip(
                places, self.taps, self.stride, self.dilation, self.before, strict=True
            )
        ]
        self.shares = [
            [] if k else [list(range(o * n // m, -(-(o + 1) * n // m))) for o in range(m)]
            for n, m, k in zip(self.image, self.map, self.taps, strict=True)
        ]

    def table(self) -> NDArray[np.int64]:
        """Six numbers for each of three axes: image, map, taps, stride, dilation, before.

        The stride is 0, and the taps are the most that a window has, where the windows share an
        axis.
        """
        axes = [[1, 1, 1, 1, 1, 0]] * (3 - len(self.image))
        columns = (self.image, self.map, self.taps, self.stride, self.dilation, self.before)
        axes += [list(axis) for axis in zip(*columns, strict=True)]
        for axis, seen in zip(axes[::-1], self.shares[::-1], strict=False):
            if seen:
                axis[2:4] = max(map(len, seen)), 0
        return np.array(axes)


def steps(i: Instruction) -> list[int]:
    """Strides in the input of each axis of the result; 0 for a broadcast one."""
    x, y = i.inputs[0].shape, i.outputs[0].shape
    steps = [math.prod(x[axis + 1 :]) for axis in range(len(x))]
    if i.op == "permute":
        return [steps[axis] for axis in axes(i)]
    apart = [step if n > 1 else 0 for n, step in zip(x, steps, strict=True)]  # "broadcast"
    return [0] * (len(y) - len(x)) + apart


def inference_scale(i: Instruction, width: int) -> tuple[NDArray[Any], ...]:
    """Center, scale and shift by column of an op that is ``(x - center) scale + shift``."""
    if i.op == "affine":
        center, scale, shift = i.params
        return _column(center, 0.0, width), _column(scale, 1.0, width), _column(shift, 0.0, width)
    if i.op == "feature_norm":
        mean = _column(i.params[0], 0.0, width)
        deviation = np.maximum(np.sqrt(_column(i.params[1], 1.0, width)), 1e-7)
        if i.attributes["invert"]:
            return _column(None, 0.0, width), deviation, mean
        return mean, 1.0 / deviation, _column(None, 0.0, width)
    return _by_moving_statistics(i.params[:4], i.attributes["epsilon"], width)


def _by_moving_statistics(
    weights: Sequence[Any], epsilon: float, width: int
) -> tuple[NDArray[Any], ...]:
    """Center, scale and shift of a batch normalization by gamma, beta, mean and variance."""
    gamma, beta, mean, variance = weights
    root = np.sqrt(_column(variance, 1.0, width) + float(np.float32(epsilon)))
    return _column(mean, 0.0, width), _column(gamma, 1.0, width) / root, _column(beta, 0.0, width)


def _column(weight: Any, otherwise: float, width: int) -> NDArray[np.float64]:
    """Numbers of a weight by column, or the number that stands for a missing one."""
    given = otherwise if weight is None else weight.numpy().reshape(-1)
    return np.broadcast_to(np.asarray(given, np.float64), (width,))


class Recurrent:
    """Arguments of a `recurrent` instruction in prediction, without dropout.

    Attributes:
        mask, states: values that it reads; None, and an empty list, if there are none.
        biases: what is added to x W, and of some cells to h U.
    """

    def __init__(self, i: Instruction) -> None:
        a = i.attributes
        kernel, recurrent_kernel, bias = (*i.params, None)[:3]
        assert kernel is not None and recurrent_kernel is not None
        self.inputs, self.units = kernel.shape[0], recurrent_kernel.shape[0]
        self.steps = i.inputs[0].shape[0]
        self.is_lstm, self.is_gru = a["cell"] == 1, a["cell"] in (2, 3)
        self.resets_first = a["cell"] == 3
        self.gates = 4 if self.is_lstm else 3 if self.is_gru else 1
        self.activation = str(a.get("activation", "linear"))
        self.gate = list(_core.ACTIVATIONS)[a["gate"]]
        self.reverse, self.is_sequence = bool(a["reverse"]), len(i.outputs[0].shape) > 1
        given = list(i.inputs[1:])
        self.mask = given.pop(0) if a["given"] & 1 else None
        self.states = given[: 2 if self.is_lstm else 1] if a["given"] & 2 else []
        self.biases: list[NDArray[np.float32]] = []
        if bias is not None:
            self.biases += list(bias.numpy().reshape(-1, self.gates * self.units))
