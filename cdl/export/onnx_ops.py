"""Operations as nodes of ONNX: one row each.

A row is a function of the graph and of an instruction; it appends nodes and gives the outputs their
names. Values have the batch as their first axis, unless they are shared.
"""

from collections.abc import Callable

import numpy as np

from cdl import _core
from cdl._ir import bytecode
from cdl._ir.elementwise import in_order
from cdl._ir.instruction import Instruction, Value
from cdl.export import onnx_recurrent, onnx_windows
from cdl.export.numbers import Product, axes, blocks, inference_scale, places
from cdl.export.onnx_formulas import activation, primitive
from cdl.export.to_onnx import Graph

Row = Callable[[Graph, Instruction], None]


def _gives(write: Callable[[Graph, Instruction], str]) -> Row:
    """Row of an op with one output, from a function that returns its name."""

    def row(g: Graph, i: Instruction) -> None:
        g.name(i.outputs[0], write(g, i))

    return row


def _plain(op: str, **attributes: int) -> Row:
    """Operator of ONNX itself."""
    return _gives(lambda g, i: g.node(op, g.ref(i.inputs[0]), **attributes))


_FLOAT, _INT8 = 1, 3  # ONNX's numbers of dtypes


def _dense(g: Graph, i: Instruction) -> str:
    kernel, bias = i.params
    y = g.node("MatMul", g.ref(i.inputs[0]), g.weight(kernel))
    if bias is not None:
        y = g.node("Add", y, g.weight(bias))
    return activation(g, str(i.attributes.get("activation", "linear")), i.attributes, y)


def _dense_int(g: Graph, i: Instruction) -> str:
    """Product with int8 integers; integers of four bits are written as int8 too."""
    kernel, scale, zero, bias = i.params
    a, x = i.attributes, g.ref(i.inputs[0])
    whole = kernel.integers()  # type: ignore[union-attr]
    w = g.constant(whole, "int8", kernel.path)  # type: ignore[union-attr]
    by = g.constant(scale.numpy().reshape(-1, whole.shape[1]))  # type: ignore[union-attr]
    if a["dynamic"]:
        low, high, epsilon = (g.constant(a[name]) for name in ("low", "high", "epsilon"))
        top = g.node("Add", g.reduced("ReduceMax", g.node("Abs", x), -1), epsilon)
        factor = g.node("Div", high, top)
        integers = g.node("Clip", g.node("Round", g.node("Mul", x, factor)), low, high)
        sums = g.node("MatMulInteger", g.node("Cast", integers, to=_INT8), w)
        row = g.node("Reshape", by, g.constant([-1], "int64"))
        y = g.node("Div", g.node("Cast", sums, to=_FLOAT), g.node("Mul", row, factor))
    else:
        real = g.node("Cast", w, to=_FLOAT)
        if zero is not None:
            groups = g.constant(np.arange(len(whole)) // int(a["block"]), "int64")
            of_rows = g.constant(zero.numpy().reshape(-1, whole.shape[1]))
            real = g.node("Sub", real, g.node("Gather", of_rows, groups, axis=0))
            real = g.node("Mul", real, g.node("Gather", by, groups, axis=0))
        else:
            real = g.node("Div", real, by)
        y = g.node("MatMul", x, real)
    if bias is not None:
        y = g.node("Add", y, g.weight(bias))
    return activation(g, str(a.get("activation", "linear")), a, y)


def _of_elements(g: Graph, i: Instruction) -> str:
    return activation(g, str(i.attributes["kind"]), i.attributes, g.ref(i.inputs[0]))


def _sparsemax(g: Graph, i: Instruction) -> str:
    """Sparsemax (Martins and Astudillo, 2016), by the sums of a line's largest numbers."""
    x, n = g.ref(i.inputs[0]), i.inputs[0].shape[-1]
    z = g.node("Sub", x, g.reduced("ReduceMax", x, -1))
    ordered, _ = g.nodes_of_two("TopK", z, g.constant([n], "int64"), axis=-1)
    sums = g.node("CumSum", ordered, g.constant(-1, "int64"))
    ranks = g.node("Mul", ordered, g.constant(np.arange(1, n + 1)))
    kept = g.number(g.node("Greater", g.node("Add", ranks, g.constant(1.0)), sums))
    count = g.reduced("ReduceSum", kept, -1)
    last = g.node("Cast", g.node("Sub", count, g.constant(1.0)), to=7)
    total = g.node("GatherElements", sums, last, axis=-1)
    limit = g.node("Div", g.node("Sub", total, g.constant(1.0)), count)
    return g.node("Relu", g.node("Sub", z, limit))


def _glu(g: Graph, i: Instruction) -> str:
    x, n = g.ref(i.inputs[0]), i.outputs[0].shape[-1]
    a, b = (
        g.node("Slice", x, *(g.constant([each], "int64") for each in (start, start + n, -1)))
        for start in (0, n)
    )
    return g.node("Mul", a, g.node("Sigmoid", b))


def _same(g: Graph, i: Instruction) -> None:
    for v in i.outputs:
        g.name(v, g.ref(i.inputs[0]))


def _broadcast_batch(g: Graph, i: Instruction) -> str:
    rows = g.node("Shape", g.first)
    rows = g.node("Slice", rows, g.constant([0], "int64"), g.constant([1], "int64"))
    sizes = g.node("Concat", rows, g.constant(i.outputs[0].shape, "int64"), axis=0)
    return g.node("Expand", g.ref(i.inputs[0]), sizes)


def _aligned(g: Graph, x: Value, axes: int) -> str:
    """Value with `axes` axes after the batch; those that are added, in front, have size 1."""
    missing = (1,) * (axes - len(x.shape))
    return g.reshaped(g.ref(x), missing + x.shape, x.shared) if missing else g.ref(x)


def _broadcast(g: Graph, i: Instruction) -> str:
    (x,), (y,) = i.inputs, i.outputs
    sizes = y.shape if y.shared else (1, *y.shape)
    return g.node("Expand", _aligned(g, x, len(y.shape)), g.constant(sizes, "int64"))


def _permute(g: Graph, i: Instruction) -> str:
    order = axes(i)
    if not i.outputs[0].shared:
        order = [0, *(axis + 1 for axis in order)]
    return g.node("Transpose", g.ref(i.inputs[0]), perm=order)


def _in_blocks(g: Graph, i: Instruction) -> str:
    """Input as batch x outer x n x inner, whether it has a batch or not."""
    return g.node("Reshape", g.ref(i.inputs[0]), g.constant((-1, *blocks(i)), "int64"))


def _out_of_blocks(g: Graph, i: Instruction, y: str) -> str:
    return g.reshaped(y, i.outputs[0].shape, i.outputs[0].shared)


def _pick(g: Graph, i: Instruction) -> str:
    x, n, picked = _in_blocks(g, i), blocks(i)[1], places(i)
    there = np.flatnonzero(picked >= 0)
    if not there.size or there[-1] - there[0] >= there.size:  # zeros in between
        y = g.node("Gather", x, g.constant(np.maximum(picked, 0), "int64"), axis=2)
        kept = g.constant((picked >= 0).reshape(-1, 1), "bool")
        return _out_of_blocks(g, i, g.node("Where", kept, y, g.constant(0.0)))
    before, behind = there[0], len(picked) - 1 - there[-1]
    picked = picked[there]
    if not np.array_equal(picked, np.arange(n)):
        x = g.node("Gather", x, g.constant(picked, "int64"), axis=2)
    if before or behind:
        x = g.node("Pad", x, g.constant([0, 0, before, 0, 0, 0, behind, 0], "int64"))
    return _out_of_blocks(g, i, x)


def _reduced(g: Graph, i: Instruction) -> str:
    op = f"Reduce{str(i.attributes['kind']).title()}"
    return _out_of_blocks(g, i, g.reduced(op, _in_blocks(g, i), 2, keep=False))


def _arg(g: Graph, i: Instruction) -> str:
    op = "ArgMin" if i.attributes["smallest"] else "ArgMax"
    at = g.node(op, _in_blocks(g, i), axis=2, keepdims=0)
    return _out_of_blocks(g, i, g.node("Cast", at, to=1))


def _cumulate(g: Graph, i: Instruction) -> str:
    x, n = _in_blocks(g, i), blocks(i)[1]
    if not i.attributes["product"]:
        return _out_of_blocks(g, i, g.node("CumSum", x, g.constant(2, "int64")))
    parts = [g.node("Gather", x, g.constant([k], "int64"), axis=2) for k in range(n)]
    for k in range(1, n):
        parts[k] = g.node("Mul", parts[k - 1], parts[k])
    return _out_of_blocks(g, i, g.node("Concat", *parts, axis=2))


def _sort(g: Graph, i: Instruction) -> None:
    x = g.ref(i.inputs[0])
    values, places = g.nodes_of_two(
        "TopK", x, g.constant([i.inputs[0].shape[-1]], "int64"), axis=-1, largest=0
    )
    g.name(i.outputs[0], values)
    g.name(i.outputs[1], g.node("Cast", places, to=1))


def _concat(g: Graph, i: Instruction) -> str:
    axis = i.attributes["axis"] + (not i.outputs[0].shared)
    return g.node("Concat", *(g.ref(v) for v in i.inputs), axis=axis)


def _checked(g: Graph, index: str, n: int, wraps: bool) -> tuple[str, str]:
    """Places as integers clipped to 0 to n - 1, and a mask of those that were within."""
    whole = g.node("Cast", index, to=7)
    if wraps:
        ends = g.node("Less", whole, g.constant(0, "int64"))
        whole = g.node("Where", ends, g.node("Add", whole, g.constant(n, "int64")), whole)
    low = g.node("GreaterOrEqual", whole, g.constant(0, "int64"))
    high = g.node("Less", whole, g.constant(n, "int64"))
    within = g.node("Clip", whole, g.constant(0, "int64"), g.constant(n - 1, "int64"))
    return within, g.node("And", low, high)


def _take_along(g: Graph, i: Instruction) -> str:
    outer, n, inner = blocks(i)
    m = int(np.prod(i.outputs[0].shape)) // (outer * inner)
    index = g.node("Reshape", g.ref(i.inputs[1]), g.constant((-1, outer, m, inner), "int64"))
    within, there = _checked(g, index, n, wraps=True)
    y = g.node("GatherElements", _in_blocks(g, i), within, axis=2)
    return _out_of_blocks(g, i, g.node("Where", there, y, g.constant(0.0)))


def _gather(g: Graph, i: Instruction) -> str:
    width = i.outputs[0].shape[-1]
    if len(i.inputs) > 1:
        shape, table = i.inputs[1].shape, g.ref(i.inputs[1])
    else:
        variable = i.params[0]
        assert variable is not None
        shape, table = variable.shape, g.weight(variable)
    rows = int(np.prod(shape)) // width
    table = g.node("Reshape", table, g.constant((rows, width), "int64"))
    within, there = _checked(g, g.ref(i.inputs[0]), rows, bool(i.attributes["wraps"]))
    y = g.node("Gather", table, within, axis=0)
    y = g.node("Where", g.at_end(there), y, g.constant(0.0))
    return _out_of_blocks(g, i, y)


def _product(g: Graph, i: Instruction) -> str:
    p = Product(i)
    sizes = ((p.m, p.k), (p.k, p.n))
    sides = []
    for v, size, many, transposed in zip(i.inputs[:2], sizes, p.many, p.transposed, strict=True):
        lies = size[::-1] if transposed else size
        shape = (p.batch if many else 1, *lies)
        side = g.reshaped(g.ref(v), shape, v.shared)
        sides.append(_transposed(g, side, len(shape) + (not v.shared)) if transposed else side)
    y = g.node("MatMul", *sides)
    for bias in i.inputs[2:]:
        y = g.node("Add", y, g.ref(bias))
    return _out_of_blocks(g, i, y)


def _attention(g: Graph, i: Instruction) -> str:
    """Attention; heads of k and v are an axis, and heads of q that share one are the next."""
    (queries, heads, width), (keys, shared, _) = i.inputs[0].shape, i.inputs[1].shape
    q, k, v = (g.ref(x) for x in i.inputs[:3])
    q = g.reshaped(q, (queries, shared, heads // shared, width))
    q = g.node("Transpose", q, perm=[0, 2, 3, 1, 4])
    k = g.reshaped(k, (keys, shared, 1, width))
    v = g.reshaped(v, (keys, shared, 1, i.inputs[2].shape[2]))
    scores = g.node("MatMul", q, g.node("Transpose", k, perm=[0, 2, 3, 4, 1]))
    scores = g.node("Mul", scores, g.constant(i.attributes["scale"]))
    if len(i.inputs) > 3:
        of_heads, of_rows, _ = i.inputs[3].shape
        groups = (shared, heads // shared) if of_heads > 1 else (1, 1)
        bias = g.reshaped(g.ref(i.inputs[3]), (*groups, of_rows, keys), i.inputs[3].shared)
        scores = g.node("Add", scores, bias)
    if i.attributes["causal"]:
        earlier = g.constant(np.tri(queries, keys, dtype=bool), "bool")
        scores = g.node("Where", earlier, scores, g.constant(_HIDDEN))
    weights = g.node("Softmax", scores, axis=-1)
    if i.attributes["empty"] and len(i.inputs) > 3:
        sees = g.node("Greater", g.reduced("ReduceMax", scores, -1), g.constant(_UNSEEN))
        weights = g.node("Where", sees, weights, g.constant(0.0))
    y = g.node("MatMul", weights, g.node("Transpose", v, perm=[0, 2, 3, 1, 4]))
    return g.reshaped(g.node("Transpose", y, perm=[0, 3, 1, 2, 4]), i.outputs[0].shape)


def _transposed(g: Graph, x: str, rank: int) -> str:
    order = [*range(rank - 2), rank - 1, rank - 2]
    return g.node("Transpose", x, perm=order)


def _map(g: Graph, i: Instruction) -> str:
    root = bytecode.read(i.numbers, i.data)
    names: dict[int, str] = {}
    for x in in_order(root):
        if x.primitive == "argument":
            names[id(x)] = _aligned(g, i.inputs[int(x.value)], len(i.outputs[0].shape))
        elif x.primitive == "constant":
            names[id(x)] = g.constant(x.value)
        elif x.primitive in _core.LINEWISE:
            names[id(x)] = _of_lines(g, x.primitive, [names[id(a)] for a in x.args])
        else:
            names[id(x)] = primitive(g, x.primitive, [names[id(a)] for a in x.args])
    if root.primitive == "constant" or root.is_column:  # of the shape that the inputs have
        (y,) = i.outputs
        full = next(v for v in i.inputs if (v.shape, v.shared) == (y.shape, y.shared))
        return g.node("Expand", names[id(root)], g.node("Shape", g.ref(full)))
    return names[id(root)]


def _of_lines(g: Graph, primitive: str, operands: list[str]) -> str:
    """Column of a primitive of lines."""
    if primitive == "line_dot":
        return g.reduced("ReduceSum", g.node("Mul", *operands), -1)
    ops = {"line_sum": "ReduceSum", "line_max": "ReduceMax", "line_min": "ReduceMin"}
    return g.reduced(ops[primitive], operands[0], -1)


def _affine(g: Graph, i: Instruction) -> str:
    """Normalization with known statistics: batch and feature normalization."""
    x = g.ref(i.inputs[0])
    steps = (("Sub", 0.0), ("Mul", 1.0), ("Add", 0.0))
    columns = inference_scale(i, i.inputs[0].shape[-1])
    for (op, nothing), column in zip(steps, columns, strict=True):
        if (column != nothing).any():
            x = g.node(op, x, g.constant(column))
    return x


def _normalize(g: Graph, i: Instruction) -> str:
    x, a = g.ref(i.inputs[0]), i.attributes
    measure, epsilon = a["measure"], g.constant(a["epsilon"])
    centered = x
    if measure == 0 or a["subtracts_mean"]:
        centered = g.node("Sub", x, g.reduced("ReduceMean", x, -1))
    measured = centered if measure == 0 else x
    squares = g.node("Mul", measured, measured)
    if measure == 2:
        size = g.node("Sqrt", g.reduced("ReduceSum", squares, -1))
        size = g.node("Max", size, epsilon)
    else:
        mean = g.reduced("ReduceMean", squares, -1)
        size = g.node("Sqrt", g.node("Add", mean, epsilon))
    y = g.node("Div", centered if a["subtracts_mean"] else x, size)
    for op, param in zip(("Mul", "Add"), i.params, strict=True):
        if param is not None:
            y = g.node(op, y, g.constant(param.numpy().reshape(-1)))
    return y


def _mask(g: Graph, i: Instruction) -> None:
    x = g.ref(i.inputs[0])
    same = g.node("Equal", x, g.constant(i.attributes["value"]))
    kept = g.reduced("ReduceMax", g.number(g.node("Not", same)), -1)
    g.name(i.outputs[0], g.node("Where", g.truth(kept), x, g.constant(0.0)))
    g.name(i.outputs[1], kept)


def _prelu(g: Graph, i: Instruction) -> str:
    alpha = i.params[0]
    assert alpha is not None
    return g.node("PRelu", g.ref(i.inputs[0]), g.constant(alpha.numpy().reshape(-1)))


def _parametric(g: Graph, i: Instruction) -> None:
    x, alpha = g.ref(i.inputs[0]), i.params[0]
    assert alpha is not None
    f = _of_elements(g, i)
    g.name(i.outputs[1], f)
    part = g.node("Mul", g.constant(alpha.numpy()), g.node("Sub", f, x))
    g.name(i.outputs[0], g.node("Add", x, part))


def _bucketize(g: Graph, i: Instruction) -> str:
    x, bounds = g.ref(i.inputs[0]), i.params[0]
    values = np.zeros(0) if bounds is None else bounds.numpy().reshape(-1)
    if not values.size:
        return g.node("Mul", x, g.constant(0.0))
    below = g.number(g.node("Less", g.at_end(x), g.constant(values)))
    beyond = g.reduced("ReduceSum", below, -1, keep=False)
    return g.node("Sub", g.constant(float(values.size)), beyond)


def _encode(g: Graph, i: Instruction) -> str:
    tokens = i.outputs[0].shape[-1]
    x = g.at_end(g.node("Floor", g.ref(i.inputs[0])))
    ones = g.number(g.node("Equal", x, g.constant(np.arange(tokens))))
    if i.attributes["counts"] and len(i.inputs) > 1:
        ones = g.node("Mul", ones, g.at_end(g.ref(i.inputs[1])))
    if not i.attributes["one_hot"]:
        op = "ReduceSum" if i.attributes["counts"] else "ReduceMax"
        ones = g.reduced(op, ones, -2, keep=False)
    return _out_of_blocks(g, i, ones)


def _constant(g: Graph, i: Instruction) -> str:
    return g.constant(np.reshape(i.data, i.outputs[0].shape))


_UNSEEN = -2.1e38  # a query whose scores are not above it sees no key
_HIDDEN = -0.7 * float(np.finfo(np.float32).max)  # a score of a key that is not seen

# Writer of each op; an op that is not here cannot be exported.
ROWS: dict[str, Row] = {
    "dense": _gives(_dense),
    "dense_int": _gives(_dense_int),
    "activation": _gives(_of_elements),
    "softmax": _plain("Softmax", axis=-1),
    "log_softmax": _plain("LogSoftmax", axis=-1),
    "sparsemax": _gives(_sparsemax),
    "glu": _gives(_glu),
    "reshape": _gives(
        lambda g, i: g.reshaped(g.ref(i.inputs[0]), i.outputs[0].shape, i.outputs[0].shared)
    ),
    "exact": _same,
    "stop": _same,
    "fork": _same,
    "broadcast_batch": _gives(_broadcast_batch),
    "param": _gives(
        lambda g, i: g.reshaped(g.weight(i.params[0]), i.outputs[0].shape, shared=True)
    ),
    "constant": _gives(_constant),
    "map": _gives(_map),
    "broadcast": _gives(_broadcast),
    "permute": _gives(_permute),
    "pick": _gives(_pick),
    "reduce": _gives(_reduced),
    "concat": _gives(_concat),
    "arg": _gives(_arg),
    "cumulate": _gives(_cumulate),
    "sort": _sort,
    "product": _gives(_product),
    "attention": _gives(_attention),
    "take_along": _gives(_take_along),
    "gather": _gives(_gather),
    "mask": _mask,
    "batch_norm": _gives(_affine),
    "feature_norm": _gives(_affine),
    "affine": _gives(_affine),
    "normalize": _gives(_normalize),
    "prelu": _gives(_prelu),
    "parametric": _parametric,
    "bucketize": _gives(_bucketize),
    "encode": _gives(_encode),
    "recurrent": onnx_recurrent.recurrent,
    **{op: _gives(write) for op, write in onnx_windows.ROWS.items()},
}
