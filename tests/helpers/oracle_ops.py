"""The formulas of the ops over values, for the oracle.

Each reads the values of an instruction's inputs and gives that of its output; and from the gradient
by the output it gives those by the inputs. Axis 0 is the batch, but for shared values.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
from reference_elementwise import ELEMENTWISE

from cdl._ir.bytecode import read, read_gradients
from cdl._ir.elementwise import DY, Y, in_order

LINEWISE = {
    "line_sum": lambda a: a.sum(-1, keepdims=True),
    "line_dot": lambda a, b: (a * b).sum(-1, keepdims=True),
    "line_max": lambda a: a.max(-1, keepdims=True),
    "line_min": lambda a: a.min(-1, keepdims=True),
}


def map_value(expression, arrays):
    """An expression in float64, a primitive at a time."""
    of = {}
    for x in in_order(expression):
        if x.primitive == "argument":
            of[id(x)] = arrays[int(x.value)]
        elif x.primitive == "constant":
            of[id(x)] = np.full(np.shape(arrays[0]), x.value)
        elif x.primitive in LINEWISE:
            of[id(x)] = LINEWISE[x.primitive](*(of[id(a)] for a in x.args))
        else:
            with np.errstate(all="ignore"):
                of[id(x)] = ELEMENTWISE[x.primitive](*(of[id(a)] for a in x.args))
    return of[id(expression)]


HIDDEN = -0.7 * float(np.finfo(np.float32).max)  # a score that no mask shows


def repeated(o, v, out):
    """A value of a map as an array of the result's shape."""
    aligned = (1,) * (len(out.shape) - len(v.shape)) + v.shape
    x = o.values[v].reshape(with_batch(v, aligned))
    return np.broadcast_to(x, (*x.shape[: x.ndim - len(aligned)], *out.shape))


def map_forward(o, i):
    (out,) = i.outputs
    arrays = [repeated(o, v, out) for v in i.inputs]
    o.values[out] = map_value(read(i.numbers, i.data), arrays)


def map_backward(o, i):
    """The gradients by central differences: an element of the result has one of each input."""
    (out,) = i.outputs
    expression, arrays, step = (
        read(i.numbers, i.data),
        [repeated(o, v, out) for v in i.inputs],
        1e-6,
    )
    for k, v in enumerate(i.inputs):
        moved = [
            map_value(expression, [a + h * (j == k) for j, a in enumerate(arrays)])
            for h in (step, -step)
        ]
        g = o.value_gradients[out] * (moved[0] - moved[1]) / (2 * step)
        o.value_gradients[v] += added_up(g, v, out).reshape(o.value_gradients[v].shape)


def custom_gradient_backward(o, i):
    """The gradients by the instruction's own expressions, of that by the result and of inputs."""
    (out,) = i.outputs
    arrays = {k: repeated(o, v, out) for k, v in enumerate(i.inputs)}
    arrays |= {DY: o.value_gradients[out], Y: o.values[out]}
    expressions = read_gradients(i.numbers, i.data, len(i.inputs))
    for v, expression in zip(i.inputs, expressions, strict=True):
        if expression is not None:
            g = added_up(map_value(expression, arrays), v, out)
            o.value_gradients[v] += g.reshape(o.value_gradients[v].shape)


def with_batch(value, shape):
    """A shape of samples as the array has it: behind the batch, or as it is if shared."""
    return shape if value.shared else (-1, *shape)


def broadcast_forward(o, i):
    x, (v,), (out,) = o.values[i.inputs[0]], i.inputs, i.outputs
    aligned = (1,) * (len(out.shape) - len(v.shape)) + v.shape
    x = x.reshape(with_batch(v, aligned))
    o.values[out] = np.broadcast_to(x, (*x.shape[: x.ndim - len(aligned)], *out.shape)).copy()


def added_up(dy, v, out):
    """The gradient of a result, added up where a value was repeated."""
    sizes = (1,) * (len(out.shape) - len(v.shape)) + v.shape
    axes = tuple(d - len(sizes) for d, n in enumerate(sizes) if n == 1)
    return dy.sum(axes, keepdims=True)


def broadcast_backward(o, i):
    (v,), (out,) = i.inputs, i.outputs
    dy = added_up(o.value_gradients[out], v, out)
    o.value_gradients[v] += dy.reshape(o.value_gradients[v].shape)


REDUCE = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}


def blocks_of(i, x):
    return x.reshape(
        -1, *(i.attributes[k] for k in ("outer", "n", "inner"))
    )  # (rows, outer, n, inner)


def reduce_forward(o, i):
    y = REDUCE[i.attributes["kind"]](blocks_of(i, o.values[i.inputs[0]]), 2)
    o.values[i.outputs[0]] = y.reshape(with_batch(i.outputs[0], i.outputs[0].shape))


def reduce_backward(o, i):
    kind, x = i.attributes["kind"], blocks_of(i, o.values[i.inputs[0]])
    dy = o.value_gradients[i.outputs[0]].reshape(*x.shape[:2], 1, -1)
    y = REDUCE[kind](x, 2, keepdims=True)
    gradient = np.ones(x.shape) / (x.shape[2] if kind == "mean" else 1)
    if kind in ("max", "min"):
        gradient = (x == y) / (x == y).sum(2, keepdims=True)
    if kind == "prod":
        others = np.broadcast_to(x[:, :, None], (*x.shape[:2], x.shape[2], *x.shape[2:])).copy()
        diagonal = np.arange(x.shape[2])
        others[:, :, diagonal, diagonal] = 1.0
        gradient = others.prod(3)
    o.value_gradients[i.inputs[0]] += (dy * gradient).reshape(o.value_gradients[i.inputs[0]].shape)


def matrices_of(o, i, values):
    """The two sides, transposed, with room for the batch where they have none."""
    found = []
    for v, x, name in zip(i.inputs[:2], values, ("transpose_a", "transpose_b"), strict=True):
        x = x.reshape(*x.shape[:-1], 1, x.shape[-1]) if len(v.shape) == 1 else x
        matrices = len(i.outputs[0].shape) - 2
        if not v.shared and not i.outputs[0].shared:
            lacking = max(0, matrices - max(0, len(v.shape) - 2))
            x = x.reshape(x.shape[0], *(1,) * lacking, *x.shape[1:])
        found.append(np.swapaxes(x, -1, -2) if i.attributes[name] else x)
    return found


def product_forward(o, i):
    a, b = matrices_of(o, i, [o.values[v] for v in i.inputs[:2]])
    bias = sum(o.values[v] for v in i.inputs[2:])
    o.values[i.outputs[0]] = (a @ b + bias).reshape(with_batch(i.outputs[0], i.outputs[0].shape))


def product_backward(o, i):
    a, b = matrices_of(o, i, [o.values[v] for v in i.inputs[:2]])
    dy = o.value_gradients[i.outputs[0]].reshape(np.matmul(a, b).shape)
    gradients = dy @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ dy
    for v in i.inputs[2:]:
        o.value_gradients[v] += (
            dy.reshape(-1, dy.shape[-1]).sum(0).reshape(o.value_gradients[v].shape)
        )
    for v, x, g, name in zip(
        i.inputs[:2], (a, b), gradients, ("transpose_a", "transpose_b"), strict=True
    ):
        lacking = g.ndim - x.ndim
        axes = tuple(range(lacking))
        axes += tuple(d for d in range(lacking, g.ndim) if x.shape[d - lacking] == 1 != g.shape[d])
        g = g.sum(axes, keepdims=True).reshape(x.shape)
        g = np.swapaxes(g, -1, -2) if i.attributes[name] else g
        o.value_gradients[v] += g.reshape(o.value_gradients[v].shape)


def attention_of(o, i):
    """Queries, keys and values by heads, weights of the keys, and which queries see one."""
    q, k, v = (np.swapaxes(o.values[x], 1, 2) for x in i.inputs[:3])
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = i.attributes["scale"] * q @ np.swapaxes(k, -1, -2)
    if len(i.inputs) > 3:
        scores = scores + o.values[i.inputs[3]]
    if i.attributes["causal"]:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, HIDDEN)
    sees = scores.max(-1, keepdims=True) > HIDDEN / 2
    weights = np.exp(np.where(sees, scores - scores.max(-1, keepdims=True), 0.0))
    return q, k, v, weights / weights.sum(-1, keepdims=True), sees


def attention_forward(o, i):
    _, _, v, weights, _ = attention_of(o, i)
    o.values[i.outputs[0]] = np.swapaxes(weights @ v, 1, 2)


def attention_backward(o, i):
    q, k, v, weights, sees = attention_of(o, i)
    dy = np.swapaxes(o.value_gradients[i.outputs[0]], 1, 2)
    slopes = dy @ np.swapaxes(v, -1, -2)
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdims=True)) * sees
    slopes = slopes * i.attributes["scale"]
    turned = np.swapaxes(slopes, -1, -2)
    for x, dx in zip(
        i.inputs, (slopes @ k, turned @ q, np.swapaxes(weights, -1, -2) @ dy), strict=False
    ):
        heads = x.shape[1]
        dx = dx.reshape(len(dx), heads, -1, *dx.shape[2:]).sum(2)
        o.value_gradients[x] += np.swapaxes(dx, 1, 2)


def arg_forward(o, i):
    x = blocks_of(i, o.values[i.inputs[0]])
    y = x.argmin(2) if i.attributes["smallest"] else x.argmax(2)
    o.values[i.outputs[0]] = y.reshape(with_batch(i.outputs[0], i.outputs[0].shape)).astype(float)


def cumulate_forward(o, i):
    x = o.values[i.inputs[0]]
    y = (np.cumprod if i.attributes["product"] else np.cumsum)(blocks_of(i, x), 2)
    o.values[i.outputs[0]] = y.reshape(x.shape)


def cumulate_backward(o, i):
    """dx_j is the sum of dy_k times the product of all x up to k but x_j."""
    x, dx = blocks_of(i, o.values[i.inputs[0]]), blocks_of(i, o.value_gradients[i.inputs[0]])
    dy = blocks_of(i, o.value_gradients[i.outputs[0]])
    for j in range(x.shape[2]):
        others = x.copy()
        others[:, :, j] = 1.0
        products = np.cumprod(others, 2) if i.attributes["product"] else np.ones(x.shape)
        dx[:, :, j] += (dy * products)[:, :, j:].sum(2)


def sort_forward(o, i):
    x = o.values[i.inputs[0]]
    places = np.argsort(x, -1, kind="stable")
    o.kept[i] = places
    o.values[i.outputs[0]] = np.take_along_axis(x, places, -1)
    o.values[i.outputs[1]] = places.astype(float)


def sort_backward(o, i):
    dx = np.zeros(o.kept[i].shape)
    np.put_along_axis(dx, o.kept[i], o.value_gradients[i.outputs[0]], -1)
    o.value_gradients[i.inputs[0]] += dx


def draw_forward(o, i):
    o.values[i.outputs[0]] = o.masks[i]


def concat_axis(i):
    return i.attributes["axis"] - len(i.outputs[0].shape)


def concat_forward(o, i):
    o.values[i.outputs[0]] = np.concatenate([o.values[v] for v in i.inputs], concat_axis(i))


def concat_backward(o, i):
    axis = concat_axis(i)
    ends = np.cumsum([v.shape[axis] for v in i.inputs])[:-1]
    for v, dx in zip(i.inputs, np.split(o.value_gradients[i.outputs[0]], ends, axis), strict=True):
        o.value_gradients[v] += dx


def places_of(i):
    """The places along the axis that an instruction picks, one by one; -1 for zeros."""
    runs = np.reshape(i.numbers, (-1, 3))
    return np.concatenate([np.full(n, -1) if a < 0 else a + s * np.arange(n) for a, n, s in runs])


def pick_forward(o, i):
    x, places = blocks_of(i, o.values[i.inputs[0]]), places_of(i)
    y = np.where(places[:, None] < 0, 0.0, x[:, :, places])
    o.values[i.outputs[0]] = y.reshape(with_batch(i.outputs[0], i.outputs[0].shape))


def pick_backward(o, i):
    places, dx = places_of(i), blocks_of(i, o.value_gradients[i.inputs[0]])
    dy = o.value_gradients[i.outputs[0]].reshape(*dx.shape[:2], len(places), -1)
    for j, place in enumerate(places):
        if place >= 0:
            dx[:, :, place] += dy[:, :, j]


def along(i, x, places):
    """The index in x of each element of y, along the axis."""
    n = i.attributes["n"]
    places = places.reshape(*x.shape[:2], -1, x.shape[3]).astype(int)
    return np.where(places < 0, places + n, places)


def take_along_forward(o, i):
    x = blocks_of(i, o.values[i.inputs[0]])
    y = np.take_along_axis(x, along(i, x, o.values[i.inputs[1]]), 2)
    o.values[i.outputs[0]] = y.reshape(with_batch(i.outputs[0], i.outputs[0].shape))


def take_along_backward(o, i):
    dx = blocks_of(i, o.value_gradients[i.inputs[0]])
    places = along(i, dx, o.values[i.inputs[1]])
    dy = o.value_gradients[i.outputs[0]].reshape(places.shape)
    for at in np.ndindex(places.shape):
        dx[at[0], at[1], places[at], at[3]] += dy[at]


def rows_read(o, i):
    places = o.values[i.inputs[0]].astype(int)
    rows = (o.values[i.inputs[1]] if len(i.inputs) > 1 else o.weights[i.params[0]]).shape[0]
    return np.where((places < 0) & (i.attributes["wraps"] != 0), places + rows, places)


def gather_forward(o, i):
    table = o.values[i.inputs[1]] if len(i.inputs) > 1 else o.weights[i.params[0]]
    y = table[rows_read(o, i)]
    o.values[i.outputs[0]] = y.reshape(with_batch(i.outputs[0], i.outputs[0].shape))


def gather_backward(o, i):
    rows = rows_read(o, i)
    gradient = o.value_gradients[i.inputs[1]] if len(i.inputs) > 1 else o.gradients[i.params[0]]
    dy = o.value_gradients[i.outputs[0]].reshape(*rows.shape, *gradient.shape[1:])
    np.add.at(gradient, rows, dy)


def stop_forward(o, i):
    o.values[i.outputs[0]] = o.values[i.inputs[0]]


def to_dtype(x, dtype):
    return x.astype({"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}.get(dtype, x.dtype))


def cast_forward(o, i):
    x = o.values[i.inputs[0]]
    o.values[i.outputs[0]] = to_dtype(x, i.outputs[0].dtype).astype(x.dtype)


def cast_backward(o, i):
    dy = o.value_gradients[i.outputs[0]]
    for v in (i.outputs[0], i.inputs[0]):
        dy = to_dtype(dy, v.dtype).astype(dy.dtype)
    o.value_gradients[i.inputs[0]] += dy


def exact_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]]


FORWARD = {
    "map": map_forward,
    "custom_gradient": map_forward,
    "broadcast": broadcast_forward,
    "reduce": reduce_forward,
    "product": product_forward,
    "attention": attention_forward,
    "arg": arg_forward,
    "cumulate": cumulate_forward,
    "sort": sort_forward,
    "draw": draw_forward,
    "concat": concat_forward,
    "pick": pick_forward,
    "take_along": take_along_forward,
    "gather": gather_forward,
    "exact": stop_forward,
    "stop": stop_forward,
    "cast": cast_forward,
}
BACKWARD = {
    "map": map_backward,
    "custom_gradient": custom_gradient_backward,
    "broadcast": broadcast_backward,
    "reduce": reduce_backward,
    "product": product_backward,
    "attention": attention_backward,
    "arg": lambda o, i: None,
    "cumulate": cumulate_backward,
    "sort": sort_backward,
    "draw": lambda o, i: None,
    "concat": concat_backward,
    "pick": pick_backward,
    "take_along": take_along_backward,
    "gather": gather_backward,
    "exact": exact_backward,
    "stop": lambda o, i: None,
    "cast": cast_backward,
}
