"""Ops as compositions of others, through which derivatives of any order go.

The core has an op of its own for what is often computed, with its backward pass. A derivative that
is part of a program is that of the same function made of products, maps, sums and places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cdl._ir import emit, taps
from cdl._ir.elementwise import apply, argument
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.reverse.loss_lines import line_loss
from cdl._ir.reverse.parts import alike, counted, line_sum
from cdl._ir.reverse.recurrent import recurrent
from cdl._ir.reverse.unrolled import loop
from cdl._ir.windows import Window

Composition = Callable[[Lowering, Instruction], list[Value]]
_A, _B, _C = map(argument, range(3))
_BY_VARIANCE, _BY_MEAN_SQUARE = 0, 1  # measures of `normalize`; the other one is a norm
_NONE = 1e-20  # part of the lines that count, where none do
_HIDDEN = -2.1e38  # scores of attention below this one count for nothing


# ------------------------------------------------------------------------------ normalizations


def _columns(p: Lowering, i: Instruction, k: int, x: Value, default: float) -> Value:
    """Weight k, of any shape with a number for each column of x, in the shape of x."""
    weight = i.params[k] if k < len(i.params) else None
    if weight is None:
        return alike(p, p.constant(default), x)
    value = p.param(weight, i.param_dtype(k))
    return alike(p, emit.reshape(p, value, (math.prod(value.shape),)), x)


def _scaled(p: Lowering, i: Instruction, u: Value, first: int) -> Value:
    """u gamma + beta, which are weights `first` and the next one."""
    if i.params[first] is None and i.params[first + 1] is None:
        return u
    gamma, beta = (_columns(p, i, first + k, u, 1.0 - k) for k in range(2))
    return p.map(_A * _B + _C, [u, gamma, beta])


def normalize(p: Lowering, i: Instruction) -> Value:
    """Lines of a common size."""
    (x,), measure = i.inputs, i.attributes["measure"]
    epsilon = float(i.attributes["epsilon"])
    centered = p.map(_A - _B, [x, line_sum(p, x, "mean")])
    measured = centered if measure == _BY_VARIANCE else x
    kind = "mean" if measure in (_BY_VARIANCE, _BY_MEAN_SQUARE) else "sum"
    squares = line_sum(p, p.map("square", [measured]), kind)
    if kind == "mean":
        factor = apply("rsqrt", _B + epsilon)
    else:
        factor = apply("where", apply("less", _B, epsilon**2), 1.0 / epsilon, apply("rsqrt", _B))
    u = p.map(_A * factor, [centered if i.attributes["subtracts_mean"] else x, squares])
    return _scaled(p, i, u, 0)


def batch_norm(p: Lowering, i: Instruction) -> Value:
    """Columns with mean 0 and variance 1 in the batch, or by what the weights hold."""
    x, *masks = i.inputs
    if p.mode.trains and not i.attributes["frozen"]:
        if len(i.params) > 4:
            raise ValueError(
                "grad: within code that is traced no derivative goes through a batch "
                "renormalization"
            )

        def mean_of(value: Value) -> Value:
            axes = range(len(x.shape) - 1)
            return p.batch_reduce(emit.reduce(p, "mean", value, axes) if axes else value, "mean")

        def mean_of_shown(value: Value) -> Value:
            if masks:
                ones = alike(p, p.constant(1.0), x)
                value, part = (mean_of(counted(p, v, *masks)) for v in (value, ones))
                return alike(p, p.map(_A / apply("maximum", _B, _NONE), [value, part]), x)
            return alike(p, mean_of(value), x)

        centered = p.map(_A - _B, [x, mean_of_shown(x)])
        variance = mean_of_shown(p.map("square", [centered]))
    else:
        centered = p.map(_A - _B, [x, _columns(p, i, 2, x, 0.0)])
        variance = _columns(p, i, 3, x, 1.0)
    epsilon = float(i.attributes["epsilon"])
    return _scaled(p, i, p.map(_A * apply("rsqrt", _B + epsilon), [centered, variance]), 0)


def affine(p: Lowering, i: Instruction) -> Value:
    """Columns times a scale and plus a shift."""
    (x,) = i.inputs
    centered = p.map(_A - _B, [x, _columns(p, i, 0, x, 0.0)]) if i.params[0] is not None else x
    return _scaled(p, i, centered, 1)


def feature_norm(p: Lowering, i: Instruction) -> Value:
    """Columns less a mean and divided by a deviation, or back."""
    (x,) = i.inputs
    mean, variance = (_columns(p, i, k, x, 0.0) for k in range(2))
    deviation = apply("maximum", apply("sqrt", _C), 1e-7)
    expression = _A * deviation + _B if i.attributes["invert"] else (_A - _B) / deviation
    return p.map(expression, [x, mean, variance])


# ------------------------------------------------------------------------------ lines and heads


def glu(p: Lowering, i: Instruction) -> Value:
    """First half of a line times the sigmoid of the second."""
    (x,) = i.inputs
    n = x.shape[-1] // 2
    halves = [emit.pick(p, x, -1, range(k * n, (k + 1) * n)) for k in range(2)]
    return p.map(_A * apply("sigmoid", _B), halves)


def prelu(p: Lowering, i: Instruction) -> Value:
    """Lines times a weight where they are below 0."""
    (x,) = i.inputs
    return p.map(
        apply("where", apply("greater", _A, 0.0), _A, _A * _B), [x, _columns(p, i, 0, x, 0.0)]
    )


def attention(p: Lowering, i: Instruction) -> Value:
    """Softmax of scores times values, head by head."""
    numbers = i.attributes
    if numbers["rate"] and (p.mode.trains or numbers["always"]):
        raise ValueError(
            "grad: within code that is traced no derivative goes through dropout of the weights "
            "of an attention"
        )
    q, k, v = i.inputs[:3]
    heads, (keys, shared, _) = q.shape[1], k.shape
    places = [head // (heads // shared) for head in range(heads)]
    q = emit.permute(p, q, (1, 0, 2))
    k, v = (emit.pick(p, emit.permute(p, x, (1, 0, 2)), 0, places) for x in (k, v))
    scores = p.map(_A * float(numbers["scale"]), [emit.product(p, q, k, transpose_b=True)])
    hidden = np.zeros((1, q.shape[1], keys))
    if numbers["causal"]:
        hidden[:] = np.triu(hidden[0] + 1.0, 1)
    bias = alike(p, i.inputs[3] if len(i.inputs) > 3 else p.constant(0.0), scores)
    hides = apply("logical_or", apply("less", _B, _HIDDEN), _C)
    off = alike(p, p.constant(hidden), scores)
    seen = p.map(apply("where", hides, -math.inf, _A + _B), [scores, bias, off])
    largest = line_sum(p, emit.stop(p, seen), "max")
    sees_none = apply("less", _B, _HIDDEN)
    weights = p.map(apply("exp", apply("where", sees_none, 0.0, _A - _B)), [seen, largest])
    weights = p.map(_A / _B, [weights, line_sum(p, weights)])
    if numbers["empty"]:
        weights = p.map(apply("where", sees_none, 0.0, _A), [weights, largest])
    return emit.permute(p, emit.product(p, weights, v), (1, 0, 2))


# ------------------------------------------------------------------------------ windows


def _sees(
    p: Lowering, i: Instruction
) -> tuple[Window, list[Value], list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]]:
    """Window of an instruction, what each of its taps sees of the image, and where it sees it."""
    (x,), (y,) = i.inputs, i.outputs
    window, before = Window.of_numbers(i.numbers)
    if 0 in window.size:
        raise ValueError(
            "grad: within code that is traced no derivative goes through adaptive pooling"
        )
    sizes, parts, inside = y.shape[:-1], [], []
    for tap in taps.taps_of(window):
        parts.append(taps.seen_by(p, x, window, before, sizes, tap, 0))
        is_in = np.ones(sizes, bool)
        for axis, (k, n) in enumerate(zip(tap, sizes, strict=True)):
            at = k * window.dilation[axis] - before[axis] + window.stride[axis] * np.arange(n)
            is_in &= np.expand_dims(
                (at >= 0) & (at < x.shape[axis]), [a for a in range(len(sizes)) if a != axis]
            )
        inside.append(is_in)
    return window, parts, inside


def pool(p: Lowering, i: Instruction) -> Value:
    """Largest number, sum or mean of what a window sees; of equal ones the first is the largest."""
    _, parts, inside = _sees(p, i)
    kind = i.attributes["kind"]
    if kind != "max":
        found = taps.total(p, parts)
        counts = np.sum(inside, 0)
        share = p.constant(1.0 / np.maximum(counts, 1)[..., None])
        return found if kind == "sum" else p.map("multiply", [found, alike(p, share, found)])
    shown = []
    for part, is_in in zip(parts, inside, strict=True):
        mask = alike(p, p.constant(is_in[..., None]), part)
        hides = apply("where", _B, _A, -math.inf)
        shown.append(part if is_in.all() else p.map(hides, [part, mask]))
    found = shown[0]
    for part in shown[1:]:
        found = p.map(apply("where", apply("greater", _B, _A), _B, _A), [found, part])
    return found


def depthwise_conv(p: Lowering, i: Instruction) -> Value:
    """Sum over taps of what they see times a row of the kernel."""
    _, parts, _ = _sees(p, i)
    kernel = i.params[0]
    assert kernel is not None
    rows = emit.reshape(p, p.param(kernel, i.param_dtype(0)), (len(parts), parts[0].shape[-1]))
    found = []
    for k, part in enumerate(parts):
        row = alike(p, emit.reshape(p, emit.pick(p, rows, 0, [k]), rows.shape[1:]), part)
        found.append(p.map("multiply", [part, row]))
    return taps.total(p, found)


def grouped_transpose(
    p: Lowering, g: Value, kernel: Value, numbers: Sequence[int], x: Value, groups: int
) -> Value:
    """Gradient of the image of a convolution whose filters see groups of columns.

    Args:
        g: gradient by the map.
        kernel: of shape (window..., columns / groups, filters).
        numbers: of the window.
        x: the image.
        groups: how many.
    """
    window, before = Window.of_numbers(numbers)
    each, n = x.shape[-1] // groups, g.shape[-1] // groups
    rows = emit.reshape(p, kernel, (math.prod(kernel.shape[:-1]), kernel.shape[-1]))
    found = []
    for group in range(groups):
        columns = range(group * n, (group + 1) * n)
        factor = emit.pick(p, rows, 1, columns)
        every = emit.product(p, emit.pick(p, g, -1, columns), factor, transpose_b=True)
        parts = []
        for k, tap in enumerate(taps.taps_of(window)):
            part = emit.pick(p, every, -1, range(k * each, (k + 1) * each))
            parts.append(taps.given_to(p, part, window, before, x.shape[:-1], tap, 0))
        found.append(taps.total(p, parts))
    return emit.concat(p, found, -1)


def _one(make: Callable[[Lowering, Instruction], Value]) -> Composition:
    """Composition of an op that has one output."""
    return lambda p, i: [make(p, i)]


# Functions that append what an op computes, output by output, by other ops; of the op they read
# the inputs alone.
COMPOSED: dict[str, Composition] = {
    "affine": _one(affine),
    "attention": _one(attention),
    "batch_norm": _one(batch_norm),
    "depthwise_conv": _one(depthwise_conv),
    "feature_norm": _one(feature_norm),
    "glu": _one(glu),
    "line_loss": _one(line_loss),
    "loop": loop,
    "normalize": _one(normalize),
    "pool": _one(pool),
    "prelu": _one(prelu),
    "recurrent": recurrent,
}
