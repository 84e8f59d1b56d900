"""Recurrent cells in ONNX: its own nodes, or unrolled steps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from cdl._ir.instruction import Instruction
from cdl.export.numbers import Recurrent
from cdl.export.onnx_formulas import activation
from cdl.export.to_onnx import Graph

# Activations that ONNX's nodes know: name, alpha and beta.
_KNOWN: dict[str, tuple[str, float, float]] = {
    "tanh": ("Tanh", 0.0, 0.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "plain_relu": ("Relu", 0.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "softplus": ("Softplus", 0.0, 0.0),
}
_WITH_NUMBERS = {name for name, (_, *numbers) in _KNOWN.items() if any(numbers)}


def recurrent(g: Graph, i: Instruction) -> None:
    """Node of ONNX; unrolled steps with a mask, or with other activations."""
    r = Recurrent(i)
    used = {r.activation, r.gate} if r.gates > 1 else {r.activation}
    # Runtimes differ in which numbers belong to which function, unless all or none take some.
    alike = used <= _WITH_NUMBERS or not used & _WITH_NUMBERS
    known = r.mask is None and used <= _KNOWN.keys() and alike
    y, h, c = (_node if known else _steps)(g, i, r)
    g.name(i.outputs[0], y if r.is_sequence else h)
    if len(i.outputs) > 1:
        g.name(i.outputs[1], c)


def _node(g: Graph, i: Instruction, r: Recurrent) -> tuple[str, str, str]:
    """All h, the last h and the last c of ONNX's own node."""
    op = "LSTM" if r.is_lstm else "GRU" if r.is_gru else "RNN"
    names = [r.gate, *[r.activation] * (2 if r.is_lstm else 1)] if r.gates > 1 else [r.activation]
    known = [_KNOWN[name] for name in names]
    attributes: dict[str, Any] = {
        "hidden_size": r.units,
        "direction": "reverse" if r.reverse else "forward",
        "activations": [name for name, _, _ in known],
    }
    if names[0] in _WITH_NUMBERS:
        attributes["activation_alpha"] = [alpha for _, alpha, _ in known]
        attributes["activation_beta"] = [beta for _, _, beta in known]
    if r.is_gru:
        attributes["linear_before_reset"] = int(not r.resets_first)
    order = [0, 3, 1, 2] if r.is_lstm else list(range(r.gates))  # i o f c; z r h

    def turned(values: Any) -> Any:
        parts = np.split(values, r.gates, axis=-1)
        return np.concatenate([parts[k] for k in order], axis=-1).T[None]

    kernel, recurrent_kernel = (p.numpy() for p in i.params[:2] if p is not None)
    bias = np.zeros((2, r.gates * r.units), np.float32)
    for k, values in enumerate(r.biases):
        bias[k] = values
    both = np.concatenate([turned(bias[0]), turned(bias[1])], axis=-1)
    x = g.node("Transpose", g.ref(i.inputs[0]), perm=[1, 0, 2])
    inputs = [x, *(g.constant(a) for a in (turned(kernel), turned(recurrent_kernel), both)), ""]
    zero = g.constant([0], "int64")
    inputs += [g.node("Unsqueeze", g.ref(v), zero) for v in r.states]
    y, *ends = g.nodes_of(3 if r.is_lstm else 2, op, *inputs, **attributes)
    h, *c = [g.node("Squeeze", end, zero) for end in ends]
    if r.is_sequence:
        y = g.node("Transpose", g.node("Squeeze", y, g.constant([1], "int64")), perm=[1, 0, 2])
        if r.reverse:  # the node gives the order of time
            back = g.constant(np.arange(r.steps)[::-1], "int64")
            y = g.node("Gather", y, back, axis=1)
    return y, h, c[0] if c else ""


def _steps(g: Graph, i: Instruction, r: Recurrent) -> tuple[str, str, str]:
    """All h, the last h and the last c of unrolled steps."""
    x, n = g.ref(i.inputs[0]), r.units

    def at(array: str, t: int) -> str:
        return g.node("Gather", array, g.constant(t, "int64"), axis=1)

    def gates(array: str) -> list[str]:
        ends = g.constant([1], "int64")
        bounds = [g.constant([k * n], "int64") for k in range(r.gates + 1)]
        return [g.node("Slice", array, *pair, ends) for pair in pairwise(bounds)]

    def product(v: str, k: int) -> str:
        w = i.params[k]
        z = g.node("MatMul", v, g.weight(w))
        return g.node("Add", z, g.constant(r.biases[k])) if k < len(r.biases) else z

    def apply(kind: str, v: str) -> str:
        return activation(g, kind, {}, v)

    if r.states:
        h, c = (g.ref(v) for v in (r.states[0], r.states[-1]))
    else:  # zeros for each sample
        h = c = g.node("Mul", g.node("MatMul", at(x, 0), g.weight(i.params[0])), g.constant(0.0))
        h = c = gates(h)[0]
    found = []
    for t in range(r.steps)[:: -1 if r.reverse else 1]:
        before = h, c
        zx, zh = gates(product(at(x, t), 0)), gates(product(h, 1))
        both = [g.node("Add", a, b) for a, b in zip(zx, zh, strict=True)]
        if r.is_lstm:
            k, forget, o = (apply(r.gate, both[p]) for p in (0, 1, 3))
            added = g.node("Mul", k, apply(r.activation, both[2]))
            c = g.node("Add", g.node("Mul", forget, c), added)
            h = g.node("Mul", o, apply(r.activation, c))
        elif r.is_gru:
            z, reset = apply(r.gate, both[0]), apply(r.gate, both[1])
            through = g.node("Mul", reset, h if r.resets_first else zh[2])
            if r.resets_first:
                last = i.params[1]
                assert last is not None
                through = g.node("MatMul", through, g.constant(last.numpy()[:, 2 * n :]))
            new = apply(r.activation, g.node("Add", zx[2], through))
            h = g.node("Add", new, g.node("Mul", z, g.node("Sub", h, new)))
        else:
            h = apply(r.activation, both[0])
        if r.mask is not None:
            shown = g.at_end(g.truth(at(g.ref(r.mask), t)))
            h, c = (g.node("Where", shown, *pair) for pair in zip((h, c), before, strict=True))
        found.append(g.node("Unsqueeze", h, g.constant([1], "int64")))
    y = g.node("Concat", *found, axis=1) if r.is_sequence else ""
    return y, h, c
