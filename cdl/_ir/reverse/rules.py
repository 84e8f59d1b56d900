"""Rules of reverse mode as instructions, one an op: from the gradient by its result to its inputs'.

What a rule appends is made of ops that have rules themselves. A rule may leave the gradient of a
shared input as one of each sample, and that of a sample's input shared: who asks adds up or
repeats it. Elementwise ones come from `GRADIENTS` of elementwise_grad.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from cdl import _core
from cdl._ir import bytecode, emit, taps
from cdl._ir.activation_maps import ACTIVATIONS
from cdl._ir.elementwise import DY, Expression, Y, apply, argument, substituted
from cdl._ir.elementwise_grad import gradients
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.reverse.composed import grouped_transpose
from cdl._ir.reverse.parts import (
    alike,
    counted,
    drawn,
    line_sum,
    one_hot,
    product_of_others,
    summed_to,
)

Rule = Callable[[Lowering, Instruction, Value], Iterable[Value | None]]


def _through(
    p: Lowering, expression: Expression, inputs: Sequence[Value], y: Value, g: Value
) -> list[Value | None]:
    """Gradients of a map's inputs."""
    return _as_expressions(p, gradients(expression, len(inputs)), inputs, y, g)


def _as_expressions(
    p: Lowering, found: list[Expression | None], inputs: Sequence[Value], y: Value, g: Value
) -> list[Value | None]:
    values = [g, y, *inputs]
    places = {DY: 0, Y: 1}
    return [
        None
        if e is None
        else p.map(substituted(e, lambda k: argument(places.get(k, k + 2))), values)
        for e in found
    ]


def _map(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    return _through(p, bytecode.read(i.numbers, i.data), i.inputs, i.outputs[0], g)


def _custom_gradient(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    found = bytecode.read_gradients(i.numbers, i.data, len(i.inputs))
    return _as_expressions(p, found, i.inputs, i.outputs[0], g)


def _activation(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    kind = str(i.attributes["kind"])
    parameters = (float(i.attributes[name]) for name in _core.ACTIVATIONS[kind])
    return _through(p, ACTIVATIONS[kind](argument(0), *parameters), i.inputs, i.outputs[0], g)


# ------------------------------------------------------------------------------ products


def _dense(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    kernel = i.params[0]
    assert kernel is not None
    assert "activation" not in i.attributes  # fusion comes later
    weight = p.param(kernel, i.param_dtype(0))
    return (emit.product(p, g, weight, transpose_b=True),)


def _product(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    def matrices(v: Value) -> Value:
        return emit.reshape(p, v, (1, *v.shape)) if len(v.shape) == 1 else v

    by_a, by_b = (bool(i.attributes[name]) for name in ("transpose_a", "transpose_b"))
    a, b = map(matrices, i.inputs)
    g = emit.reshape(p, g, (1, *g.shape)) if len(i.outputs[0].shape) == 1 else g
    if by_a:
        da = emit.product(p, b, g, transpose_a=by_b, transpose_b=True)
    else:
        da = emit.product(p, g, b, transpose_b=not by_b)
    if by_b:
        db = emit.product(p, g, a, transpose_a=True, transpose_b=by_a)
    else:
        db = emit.product(p, a, g, transpose_a=not by_a)
    return [summed_to(p, d, v.shape) for d, v in zip((da, db), i.inputs, strict=True)]


def _conv(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (x,), (kernel, *_), groups = i.inputs, i.params, int(i.attributes["groups"])
    assert kernel is not None
    if groups == 1:
        parts = (kernel, None)
        dtypes = (i.param_dtype(0), None)
        yield p.emit("conv_transpose", (g,), x.shape, parts, numbers=i.numbers, param_dtypes=dtypes)
        return
    yield grouped_transpose(p, g, p.param(kernel, i.param_dtype(0)), i.numbers, x, groups)


def _conv_transpose(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    parts = (i.params[0], None)
    dtypes = (i.param_dtype(0), None)
    numbers = i.numbers
    shape = i.inputs[0].shape
    return (p.emit("conv", (g,), shape, parts, numbers=numbers, groups=1, param_dtypes=dtypes),)


# ------------------------------------------------------------------------------ lines


def _softmax(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (y,) = i.outputs
    dot = line_sum(p, p.map("multiply", [g, y]))
    return (p.map((argument(0) - argument(1)) * argument(2), [g, dot, y]),)


def _log_softmax(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (y,) = i.outputs
    expression = argument(0) - apply("exp", argument(1)) * argument(2)
    return (p.map(expression, [g, y, line_sum(p, g)]),)


def _sparsemax(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (y,) = i.outputs
    support = p.map(apply("greater", argument(0), 0.0), [y])
    total = line_sum(p, p.map("multiply", [g, support]))
    count = line_sum(p, support)
    a, b, c, d = map(argument, range(4))
    return (p.map((a - b / c) * d, [g, total, count, support]),)


# ------------------------------------------------------------------------------ along an axis


def _cube(p: Lowering, i: Instruction, v: Value) -> Value:
    """Value as outer x n x inner, of one number in place of n where it has been reduced."""
    outer, inner = (int(i.attributes[name]) for name in ("outer", "inner"))
    return emit.reshape(p, v, (outer, math.prod(v.shape) // (outer * inner), inner))


def _reduce(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (x,), n, kind = i.inputs, int(i.attributes["n"]), i.attributes["kind"]
    whole = _cube(p, i, x)
    g = emit.broadcast(p, _cube(p, i, g), whole.shape)
    if kind == "mean":
        g = p.map(argument(0) * (1.0 / n), [g])
    elif kind in ("max", "min"):
        y = emit.broadcast(p, _cube(p, i, i.outputs[0]), whole.shape)
        equal = p.map("equal", [whole, y])
        count = emit.broadcast(p, emit.reduce(p, "sum", equal, [1], keepdims=True), whole.shape)
        g = p.map(argument(0) * argument(1) / argument(2), [g, equal, count])
    elif kind == "prod":
        g = p.map("multiply", [g, product_of_others(p, whole)])
    return (emit.reshape(p, g, x.shape),)


def _cumulate(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (x,), n = i.inputs, int(i.attributes["n"])
    if i.attributes["product"]:
        return (emit.reshape(p, _by_products(p, _cube(p, i, x), _cube(p, i, g), n), x.shape),)
    back = range(n - 1, -1, -1)
    total = emit.cumulate(p, emit.pick(p, _cube(p, i, g), 1, back), 1)
    return (emit.reshape(p, emit.pick(p, total, 1, back), x.shape),)


def _by_products(p: Lowering, y: Value, g: Value, n: int) -> Value:
    """Gradient of cumulative products along axis 1, as made of products of 2, 4, ... numbers.

    No number is a divisor, so it may be 0.
    """
    a, b, c = map(argument, range(3))
    steps = []
    for shift in (2**k for k in range((n - 1).bit_length())):
        from_one = p.constant((np.arange(n) < shift).astype(np.float32)[:, None])
        before = emit.pick(p, y, 1, [k - shift if k >= shift else -1 for k in range(n)])
        before = p.map(a + b, [before, alike(p, from_one, y)])
        steps.append((y, before, [k + shift if k + shift < n else -1 for k in range(n)]))
        y = p.map("multiply", [y, before])
    for y, before, after in reversed(steps):
        given = emit.pick(p, p.map("multiply", [g, y]), 1, after)
        g = p.map(a * b + c, [g, before, given])
    return g


def _sort(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    _, places = emit.sort(p, i.outputs[1])
    return (emit.take_along(p, g, places, -1),)


def _pick(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (x,), n = i.inputs, int(i.attributes["n"])
    runs = zip(*(i.numbers[k::3] for k in range(3)), strict=True)
    places = [start + k * step if start >= 0 else -1 for start, m, step in runs for k in range(m)]
    left: dict[int, list[int]] = {}  # by a place of x: those that show it
    for k, place in enumerate(places):
        left.setdefault(place, []).append(k)
    left.pop(-1, None)
    parts: list[Value] = []
    while left or not parts:
        first = [left[k].pop() if k in left else -1 for k in range(n)]
        left = {k: rest for k, rest in left.items() if rest}
        parts.append(emit.pick(p, _cube(p, i, g), 1, first))
    return (emit.reshape(p, taps.total(p, parts), x.shape),)


def _take_along(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    """Gradient of each place as the sum over those that read it, by comparing numbers."""
    (x, index), n = i.inputs, int(i.attributes["n"])
    places = _cube(p, i, index)
    shape = (places.shape[0], places.shape[1], n, places.shape[2])
    each = emit.reshape(p, places, (shape[0], shape[1], 1, shape[3]))
    chosen = one_hot(p, emit.broadcast(p, each, shape), 2)
    each = emit.reshape(p, _cube(p, i, g), (shape[0], shape[1], 1, shape[3]))
    read = p.map("multiply", [emit.broadcast(p, each, shape), chosen])
    return (emit.reshape(p, emit.reduce(p, "sum", read, [1]), x.shape), None)


def _gather(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    if len(i.inputs) < 2:
        return (None,)
    index, table = i.inputs
    rows, lines = table.shape[0], math.prod(index.shape)
    shape = (lines, rows)
    each = emit.broadcast(p, emit.reshape(p, index, (lines, 1)), shape)
    lines_of_g = emit.reshape(p, g, (lines, *table.shape[1:]))
    return (None, emit.product(p, one_hot(p, each, 1), lines_of_g, transpose_a=True))


# ------------------------------------------------------------------------------ places


def _concat(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    axis, start = int(i.attributes["axis"]), 0
    for v in i.inputs:
        yield emit.pick(p, g, axis, range(start, start + v.shape[axis]))
        start += v.shape[axis]


def _permute(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    return (emit.permute(p, g, sorted(range(len(i.numbers)), key=i.numbers.__getitem__)),)


def _batch_reduce(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    (x,), kind = i.inputs, i.attributes["kind"]
    g = alike(p, g, x)
    if kind == "sum":
        return (g,)
    one = alike(p, p.constant(1.0), x)
    if kind == "mean":
        return (p.map("divide", [g, alike(p, p.batch_reduce(one, "sum"), x)]),)
    equal = p.map("equal", [x, alike(p, i.outputs[0], x)])
    count = alike(p, p.batch_reduce(equal, "sum"), x)
    return (p.map(argument(0) * argument(1) / argument(2), [g, equal, count]),)


def _noise(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    """Gradient by the numbers that were drawn; inference leaves the instruction out."""
    if not p.mode.trains or (i.op == "noise" and not i.attributes["multiplies"]):
        return (g,)
    made = drawn(p, i)
    return [d for v, d in zip(made.inputs, _map(p, made, g), strict=True) if v is i.inputs[0]]


def _host(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    return (i.attributes["function"].reverse(p, i, g),)


def _same(p: Lowering, i: Instruction, g: Value) -> Iterable[Value | None]:
    return (g,)


RULES: dict[str, Rule] = {
    "activation": _activation,
    "activity": _same,
    "batch_reduce": _batch_reduce,
    "broadcast": lambda p, i, g: (summed_to(p, g, i.inputs[0].shape),),
    "broadcast_batch": _same,
    "cast": _same,
    "concat": _concat,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "cumulate": _cumulate,
    "custom_gradient": _custom_gradient,
    "dense": _dense,
    "dropout": _noise,
    "exact": lambda p, i, g: (g, *[None] * (len(i.inputs) - 1)),
    "gather": _gather,
    "host": _host,
    "join_batch": lambda p, i, g: (emit.split_batch(p, g),),
    "log_softmax": _log_softmax,
    "map": _map,
    "mask": lambda p, i, g: (counted(p, g, i.outputs[1]),),
    "noise": _noise,
    "patterned_dropout": _noise,
    "permute": _permute,
    "pick": _pick,
    "probe": _same,
    "product": _product,
    "reduce": _reduce,
    "reshape": lambda p, i, g: (emit.reshape(p, g, i.inputs[0].shape),),
    "softmax": _softmax,
    "sort": _sort,
    "sparsemax": _sparsemax,
    "split_batch": lambda p, i, g: (emit.join_batch(p, g, i.inputs[0].shape[0]),),
    "take_along": _take_along,
}


def rule_of(i: Instruction) -> Rule | None:
    """Rule of an instruction; None if its op, or the function in Python that it calls, has none."""
    if i.op == "host" and not hasattr(i.attributes["function"], "reverse"):
        return None
    return RULES.get(i.op)
