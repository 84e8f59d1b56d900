"""Operations over values that move elements: slices, joins, rows of tables.

Axes are those of a value's shape, which has no batch axis; negative ones count from the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from cdl._common.validation import exact_count
from cdl._ir.elementwise import Expression, apply, argument
from cdl._ir.instruction import Value

if TYPE_CHECKING:
    from cdl._ir.instruction import Shape, Value
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Program
    from cdl._tracing.variable import Variable


# Inputs that are no numbers to compute with: rows of a table, places along an axis.
PLACES = {"gather": 0, "take_along": 1}
_OF_NOTHING = {"sum": 0.0, "prod": 1.0, "mean": math.nan}
MOVING = 2  # the first weight of a batch_norm that follows the batch: it is the weight, no copy


def dtype_of(
    op: str,
    inputs: Sequence[Value],
    params: Sequence[Variable | None],
    param_dtypes: Sequence[str | None],
) -> str:
    """Dtype of an instruction's outputs: that of all its floats, or float32 if they differ."""
    given = {v.dtype for k, v in enumerate(inputs) if v.dtype != "int32" and k != PLACES.get(op)}
    dtypes = [*param_dtypes, *(None,) * len(params)]
    given |= {dtype or "float32" for p, dtype in zip(params, dtypes, strict=False) if p is not None}
    return given.pop() if len(given) == 1 else "float32"


def reshape(program: Program, value: Value, shape: Iterable[int]) -> Value:
    """Value in another shape; the value itself if the shape is its own."""
    shape = tuple(shape)
    return value if value.shape == shape else program.emit("reshape", [value], shape)


def broadcast(program: Program, value: Value, shape: Iterable[int]) -> Value:
    """Value repeated along axes of size 1 and missing leading axes."""
    shape = tuple(shape)
    return value if value.shape == shape else program.emit("broadcast", [value], shape)


def reduce(
    program: Program,
    kind: str,
    value: Value,
    axes: Sequence[int] | None = None,
    keepdims: bool = False,
) -> Value:
    """Sum, mean, max, min or prod over axes, or over all of them.

    Axes that are no neighbours are reduced one after the other, the last first. What is reduced of
    nothing, as the pairs of neighbours in a batch of one sample, is a constant.
    """
    rank = len(value.shape)
    left = sorted({a % rank for a in (range(rank) if axes is None else axes)})
    while left:
        end = left.pop()
        start = end
        while left and left[-1] == start - 1:
            start = left.pop()
        sizes, shape = _cut(value.shape, start, end + 1, keepdims)
        if not sizes["n"] and value.shared and kind in _OF_NOTHING:
            data = [_OF_NOTHING[kind]] * math.prod(shape)
            value = program.emit("constant", (), shape, shared=True, data=data)
        else:
            value = program.emit("reduce", [value], shape, kind=kind, **sizes)
    return value


def _cut(shape: Shape, start: int, end: int, keepdims: bool) -> tuple[dict[str, Any], Shape]:
    """Sizes before, within and after the axes [start, end), and the shape without them."""
    parts = shape[:start], shape[start:end], shape[end:]
    middle = (1,) * (end - start) if keepdims else ()
    sizes = dict(zip(("outer", "n", "inner"), map(math.prod, parts), strict=True))
    return sizes, (*parts[0], *middle, *parts[2])


def arg(
    program: Program,
    value: Value,
    axis: int | None = None,
    keepdims: bool = False,
    smallest: bool = False,
) -> Value:
    """Argmax or argmin along an axis, or over all; no gradient.

    The first of equals; a NaN is the largest and the smallest.
    """
    rank = len(value.shape)
    start, end = (0, rank) if axis is None else (axis % rank, axis % rank + 1)
    sizes, shape = _cut(value.shape, start, end, keepdims)
    return program.emit("arg", [value], shape, smallest=int(smallest), **sizes)


def cumulate(program: Program, value: Value, axis: int, product: bool = False) -> Value:
    """Cumulative sum or product along an axis."""
    axis %= len(value.shape)
    sizes, _ = _cut(value.shape, axis, axis + 1, True)
    return program.emit("cumulate", [value], value.shape, product=int(product), **sizes)


def sort(program: Program, value: Value) -> tuple[Value, Value]:
    """Values sorted along the last axis, and their places before.

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
    user_draw: int = 0,
    fixed: bool = False,
    shared: bool = False,
) -> Value:
    """Random numbers: "uniform" in [0, 1), "normal", "truncated_normal".

    Args:
        kind: the distribution.
        seed: what they follow from, besides that of the run.
        user_draw: 0, or that the seed is one that the user has given: see `Lowering.draw_of`.
        fixed: whether they are the same in each step, and follow from this seed alone.
        shared: whether they are the same for all samples of a batch.
    """
    numbers = {"seed": seed, "user_draw": user_draw, "fixed": int(fixed)}
    return program.emit("draw", [], shape, (), shared=shared, kind=kind, **numbers)


def product(
    program: Program, a: Value, b: Value, transpose_a: bool = False, transpose_b: bool = False
) -> Value:
    """The product of matrices, which are the last two axes; either may be transposed first.

    Leading axes broadcast. A value of one axis is one row. Either may be shared, and of a shared
    one with a single matrix no copy is made.

    Raises:
        ValueError: if the sizes do not fit.
    """
    transposed = transpose_a, transpose_b
    rows, columns = ((1, *v.shape)[-2 : len(v.shape) + 1] for v in (a, b))
    (m, k), (k_b, n) = (
        s[::-1] if t else s for s, t in zip((rows, columns), transposed, strict=True)
    )
    if k != k_b:
        shapes = [
            f"{v.shape}{', transposed' if t else ''}"
            for v, t in zip((a, b), transposed, strict=True)
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
    one_row = len(a.shape) == 1 and not transpose_a and not batch
    return program.emit(
        "product",
        values,
        (n,) if one_row else (*batch, m, n),
        transpose_a=int(transpose_a),
        transpose_b=int(transpose_b),
    )


def linear(program: Lowering, x: Value, kernel: Variable, bias: Variable | None = None) -> Value:
    """``x @ kernel + bias`` over the last axis of a value, shared or not."""
    shape = (*x.shape[:-1], kernel.shape[-1])
    if not (x.shared or program.is_assigned(kernel)):
        return program.emit("dense", (x,), shape, params=(kernel, bias))
    return biased(program, product(program, x, program.param(kernel)), bias)


def biased(program: Lowering, y: Value, bias: Variable | None) -> Value:
    """``y + bias``, or y without one."""
    if bias is None:
        return y
    added = broadcast(program, program.param(bias), y.shape)
    return program.map("add", [y, added if y.shared else program.broadcast_batch(added)])


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


Key = int | slice | EllipsisType | None


def concat(program: Program, values: Sequence[Value], axis: int) -> Value:
    """Values side by side along an axis, along which alone they may differ."""
    axis %= len(values[0].shape)
    while len(values) > 1:
        parts = [values[i : i + 8] for i in range(0, len(values), 8)]
        values = [_concat(program, part, axis) for part in parts]
    return values[0]


def _concat(program: Program, values: Sequence[Value], axis: int) -> Value:
    shapes = [v.shape for v in values]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise ValueError(f"expected shapes that differ along axis {axis} only, got {shapes}")
    if len(values) == 1:
        return values[0]
    size = sum(s[axis] for s in shapes)
    shape = (*shapes[0][:axis], size, *shapes[0][axis + 1 :])
    return program.emit("concat", values, shape, axis=axis)


def pick(program: Program, value: Value, axis: int, places: Iterable[int]) -> Value:
    """Elements at these places along an axis; zeros for places below 0."""
    axis %= len(value.shape)
    places = list(places)
    if places == list(range(value.shape[axis])):
        return value
    shape = (*value.shape[:axis], len(places), *value.shape[axis + 1 :])
    sizes, _ = _cut(value.shape, axis, axis + 1, True)
    return program.emit("pick", [value], shape, numbers=_runs(places), **sizes)


def side_by_side(program: Program, values: Sequence[Value]) -> Value:
    """Numbers of all values in one line, one value behind the other."""
    return concat(program, [reshape(program, v, (math.prod(v.shape),)) for v in values], 0)


def parts(program: Program, line: Value, shapes: Iterable[Shape]) -> list[Value]:
    """Values of some shapes, which lie in one line as `side_by_side` puts them."""
    found, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        found.append(reshape(program, pick(program, line, 0, range(start, end)), shape))
        start = end
    return found


def _runs(places: Sequence[int]) -> list[int]:
    """Start, count and step of each arithmetic run of places."""
    found: list[int] = []
    k = 0
    while k < len(places):
        start, count, step = places[k], 1, 1
        if k + 1 < len(places) and (places[k + 1] < 0) == (start < 0):
            step = 0 if start < 0 else places[k + 1] - start
            while k + count < len(places) and (
                places[k + count] < 0 if start < 0 else places[k + count] == start + count * step
            ):
                count += 1
        found += [-1 if start < 0 else start, count, step]
        k += count
    return found


def index(program: Program, value: Value, key: Sequence[Key]) -> Value:
    """Elements by NumPy's basic indexing: integers, slices, an ellipsis, None for a new axis.

    Raises:
        ValueError: if nothing would be left along an axis.
        IndexError: if there are too many keys, or an integer is no place of its axis.
    """
    key = tuple(key)
    missing = len(value.shape) - sum(k is not None and k is not Ellipsis for k in key)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    key = (*key[:at], *[slice(None)] * missing, *key[at + 1 :])
    if missing < 0 or any(k is Ellipsis for k in key):
        raise IndexError(f"expected at most {len(value.shape)} keys and one ellipsis, got {key}")
    shape: list[int] = []
    axis = 0
    for k in key:
        if k is None:
            shape.append(1)
            continue
        n = value.shape[axis]
        if isinstance(k, int):
            if not -n <= k < n:
                raise IndexError(f"expected a place in [{-n}, {n}) of axis {axis}, got {k}")
            places = [k % n]
        elif isinstance(k, slice):
            places = list(range(*k.indices(n)))
            shape.append(len(places))
        if not places:
            raise ValueError(f"expected a slice with elements of axis {axis} of {n}, got {k}")
        value = pick(program, value, axis, places)
        axis += 1
    return reshape(program, value, shape)


def permute(program: Program, value: Value, order: Sequence[int]) -> Value:
    """Value with transposed axes: axis `order[i]` becomes axis i."""
    shape = tuple(value.shape[axis] for axis in order)
    long = [axis for axis in order if value.shape[axis] != 1]
    if long == sorted(long):  # only axes of size 1 change their place
        return reshape(program, value, shape)
    return program.emit("permute", (value,), shape, numbers=order)


def take_along(program: Program, value: Value, places: Value, axis: int) -> Value:
    """Elements by number along an axis; otherwise both have the same shape.

    Negative numbers count from the end; one outside the axis ends the run with a ``ValueError``.
    """
    axis %= len(value.shape)
    exact_count("take_along_axis", f"axis {axis}", value.shape[axis])
    sizes, _ = _cut(value.shape, axis, axis + 1, True)
    return program.emit("take_along", [value, places], places.shape, **sizes)


def gather(
    program: Lowering,
    places: Value,
    table: Variable | Value,
    *,
    wraps: bool = False,
    label: str = "gather",
) -> Value:
    """Rows of a table by number: of a weight, or of a shared value.

    Args:
        places: numbers of rows, one for each element.
        table: the weight or value, whose axis 0 are the rows.
        wraps: whether negative numbers count from the end.
        label: who is named if a number is none, which ends the run with a ``ValueError``.

    Returns:
        The value of shape ``(*places.shape, *table.shape[1:])``. Only rows that are read learn
        from it, or all of them where the optimizer moves weights without a gradient.
    """
    rows, width = table.shape[0], math.prod(table.shape[1:])
    exact_count(label, "the rows of the table", rows)
    if not isinstance(table, Value) and table.storage.matrix:
        table = program.param(table)  # lies in panels: its rows are not in one piece
    inputs: list[Value] = [places]
    params: list[Variable | None] = []
    if isinstance(table, Value):
        inputs.append(reshape(program, table, (rows, width)))
    else:
        params.append(table)
    value = program.emit(
        "gather",
        inputs,
        (*places.shape, width),
        params,
        shared=places.shared,
        wraps=int(wraps),
        label=label,
    )
    return reshape(program, value, (*places.shape, *table.shape[1:]))


def attention(
    program: Program,
    values: Sequence[Value],
    scale: float,
    *,
    causal: bool = False,
    empty: bool = False,
    rate: float = 0.0,
    always: bool = False,
    seed: int = 0,
    user_draw: int = 0,
) -> Value:
    """Scaled dot-product attention of each head: softmax of ``scale q k^T + bias`` times v.

    Args:
        values: q (queries, heads, width), k (keys, heads or a divisor, width), v (keys, those, any
            width), and perhaps a bias (heads or 1, queries or 1, keys).
        causal: whether query i sees keys 0 to i alone.
        empty: whether a query that sees no key gets zeros, and not the mean of all values.
        rate: the part of the weights that is 0 in training, as of `dropout`.
        always: whether they are so in inference too.
        seed: what these follow from; see `draw`.
        user_draw: see `draw`.
    """
    shape = (*values[0].shape[:2], values[2].shape[2])
    numbers = {"causal": int(causal), "empty": int(empty), "always": int(always)}
    numbers |= {"seed": seed, "user_draw": user_draw}
    floats = {"scale": float(scale), "rate": float(rate)}
    return program.emit("attention", values, shape, (), shared=False, **numbers, **floats)


def join_batch(program: Lowering, value: Value, samples: int) -> Value:
    """Shared value of all samples of a batch, along a new axis 0.

    Args:
        value: of a sample.
        samples: how many each batch has; no other one may run.
    """
    return program.emit("join_batch", (value,), (samples, *value.shape), shared=True)


def split_batch(program: Lowering, value: Value) -> Value:
    """Value that gives each sample its row along axis 0 of a shared value."""
    return program.emit("split_batch", (value,), value.shape[1:], shared=False)


def leaf(program: Program, value: Value) -> Value:
    """Another value of the same numbers, to differentiate by."""
    return program.emit("reshape", [value], value.shape, dtype=value.dtype)


def stop(program: Program, value: Value) -> Value:
    """Value without a gradient (stop_gradient)."""
    return program.emit("stop", [value], value.shape)


# Operations that inference leaves out.
NOISES = ("dropout", "patterned_dropout", "noise")


def drawn(program: Program, op: str, x: Value, attributes: dict[str, Any]) -> Value:
    """Training form of one of `NOISES`, whatever the program is for."""
    pattern = attributes.get("common", 0)  # bit 0: samples; bit k: axis k - 1 of a sample
    shape = [1 if pattern >> (k + 1) & 1 else n for k, n in enumerate(x.shape)]
    kind = "normal" if op == "noise" else "uniform"
    shared = x.shared or bool(pattern & 1)
    seed, user_draw = attributes["seed"], attributes["user_draw"]
    numbers = draw(program, kind, shape, seed, user_draw=user_draw, shared=shared)
    if tuple(shape) != x.shape:
        numbers = broadcast(program, numbers, x.shape)
    if not x.shared:
        numbers = program.broadcast_batch(numbers)
    return program.map(_formula(op, attributes), [x, numbers])


def _formula(op: str, attributes: dict[str, Any]) -> Expression:
    """Expression of x, argument 0, and the drawn numbers, argument 1, for an operation."""
    x, number = argument(0), argument(1)
    if op == "noise":
        noise: Expression = number * attributes["stddev"]
        return x * (noise + 1.0) if attributes["multiplies"] else x + noise
    rate = attributes["rate"]
    kept = 1.0 - rate
    scale = attributes.get("scale", 1.0 / kept if kept > 0 else 0.0)
    shift, dropped = attributes.get("shift", 0.0), attributes.get("dropped", 0.0)
    return apply("where", apply("greater_equal", number, rate), x * scale + shift, dropped)
