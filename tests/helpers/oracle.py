"""The oracle: runs programs in float64 NumPy, an instruction at a time, to judge the core.

It reads the same Program as the core and knows each op by its formula; losses, activations and
optimizers come from references.py. Gradients are added up, nothing is fused, nothing is fast.
Its own gradients are held to central differences in core/test_oracle.py.
"""

from __future__ import annotations

import functools

import numpy as np
import oracle_graph
import oracle_integers
import oracle_layers
import oracle_loops
import oracle_ops
import oracle_recurrent
import oracle_windows
import references as reference
from programs import slot_of

from cdl import _core


def row_parameters(instruction, kind, table):
    """The parameters of a table's row that an instruction states."""
    names = table[kind] if isinstance(table[kind], tuple) else table[kind].params
    return {name: instruction.attributes[name] for name in names}


class Oracle:
    """A program, its weights in float64, and an optimizer's state.

    ``masks`` are the factors of a training step's dropouts, by instruction.
    """

    def __init__(self, program, optimizer=None, learn=None):
        self.program = program
        self.weights = {v: v.numpy().astype(np.float64) for v in program.variables}
        self.learn = list(self.weights) if learn is None else list(learn)
        self.row, self.hypers = optimizer or ("sgd", {})
        self.slots = {
            v: {n: np.zeros(slot_of(v, n).shape) for n in _core.OPTIMIZERS[self.row].slots}
            for v in self.learn
        }
        self.steps = 0

    def forward(self, arrays, *, training=False, masks=None):
        """Computes all values; returns those of the outputs."""
        self.training, self.masks = training, masks or {}
        self.values, self.totals, self.loss = {}, [], 0.0
        self.rows = len(arrays[0])
        for value, array in zip(self.program.inputs, arrays, strict=True):
            dtype = np.int64 if value.dtype == "int32" else np.float64
            array = np.asarray(array).astype(dtype)
            self.values[value] = array.reshape(len(array), *value.shape)
        self.kept = {}  # what an instruction's backward needs, by instruction
        for i in self.program.instructions:
            FORWARD[i.op](self, i)
        return [self.values[v] for v in self.program.outputs]

    def backward(self, dy=None):
        """Gradients of the losses (and of sum(dy * output 0)) by variable, after forward()."""
        self.value_gradients = {
            value: np.zeros(array.shape) for value, array in self.values.items()
        }
        self.gradients = {v: np.zeros(v.shape) for v in self.weights}
        if dy is not None:
            self.value_gradients[self.program.outputs[0]] += dy
        for i in reversed(self.program.instructions):
            BACKWARD[i.op](self, i)
        return self.gradients

    def step(self, arrays, rate, **run):
        """One step of training; the losses before it."""
        self.forward(arrays, training=True, **run)
        gradients = self.backward()
        self.steps += 1
        update = reference.OPTIMIZERS[self.row]
        for v in self.learn:
            self.weights[v] = update(
                self.weights[v], gradients[v], self.slots[v], self.steps, rate, **self.hypers
            )
        for i in self.program.instructions:
            if i.op == "batch_norm":
                follow_batch(self, i)
        oracle_graph.assign_all(self)
        return self.loss

    def results(self):
        return [total / count for total, count in self.totals]


# --------------------------------------------------------------------------------- the operations


def dense_forward(o, i):
    kernel, bias = i.params
    z = o.values[i.inputs[0]] @ o.weights[kernel]
    if bias is not None:
        z = z + o.weights[bias]
    kind = i.attributes.get("activation", "linear")
    f, df = reference.ACTIVATIONS[kind]
    parameters = row_parameters(i, kind, _core.ACTIVATIONS)
    o.values[i.outputs[0]] = f(z, **parameters)
    o.kept[i] = df(z, **parameters)


def dense_backward(o, i):
    kernel, bias = i.params
    x = o.values[i.inputs[0]]
    dz = o.value_gradients[i.outputs[0]] * o.kept[i]
    o.value_gradients[i.inputs[0]] += dz @ o.weights[kernel].T
    rows = dz.reshape(-1, dz.shape[-1])
    o.gradients[kernel] += x.reshape(-1, x.shape[-1]).T @ rows
    if bias is not None:
        o.gradients[bias] += rows.sum(0)


def activation_forward(o, i):
    x, kind = o.values[i.inputs[0]], i.attributes["kind"]
    f, df = reference.ACTIVATIONS[kind]
    parameters = row_parameters(i, kind, _core.ACTIVATIONS)
    o.values[i.outputs[0]] = f(x, **parameters)
    o.kept[i] = df(x, **parameters)


def activation_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]] * o.kept[i]


def parametric_forward(o, i):
    activation_forward(o, i)
    y, f = i.outputs
    x, alpha = o.values[i.inputs[0]], o.weights[i.params[0]]
    o.values[f] = o.values[y]
    o.values[y] = x + alpha * (o.values[f] - x)


def parametric_backward(o, i):
    (x,), (y, f), (alpha,) = i.inputs, i.outputs, i.params
    dy = o.value_gradients[y]
    moved = dy * (o.values[f] - o.values[x])
    o.gradients[alpha] += moved.reshape(-1, moved.shape[-1]).sum(0)
    o.value_gradients[x] += dy * (1 + o.weights[alpha] * (o.kept[i] - 1))


def rows_forward(o, i):
    o.values[i.outputs[0]] = reference.ROW_ACTIVATIONS[i.op](o.values[i.inputs[0]])


def rows_backward(o, i):
    gradient = reference.ROW_GRADIENTS[i.op]
    o.value_gradients[i.inputs[0]] += gradient(
        o.values[i.inputs[0]], o.value_gradients[i.outputs[0]]
    )


def dropout_forward(o, i):
    o.kept[i] = o.masks.get(i, 1.0) if o.training else 1.0
    o.values[i.outputs[0]] = o.values[i.inputs[0]] * o.kept[i]


def dropout_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]] * o.kept[i]


def reshape_forward(o, i):
    x = o.values[i.inputs[0]]
    rows = () if i.outputs[0].shared else (len(x),)
    o.values[i.outputs[0]] = x.reshape((*rows, *i.outputs[0].shape))


def reshape_backward(o, i):
    dx = o.value_gradients[i.inputs[0]]
    dx += o.value_gradients[i.outputs[0]].reshape(dx.shape)


def loss_parts(o, i):
    """Values of the lines and gradients by the prediction, both before weights and scale."""
    y, p, kind = o.values[i.inputs[1]], o.values[i.inputs[0]], i.attributes["kind"]
    n = p.shape[-1]
    flat = y.reshape(-1) if reference.takes_classes(kind) else y.reshape(-1, n)
    parameters = row_parameters(i, kind, _core.LOSSES)
    value, gradient = (f(flat, p.reshape(-1, n), **parameters) for f in reference.LOSSES[kind])
    return value.reshape(p.shape[:-1]), gradient.reshape(p.shape)


def line_weights(o, i, lines):
    """The weights of an instruction in the shape `lines`, of which they may lack the last axes."""
    if len(i.inputs) < 3:
        return np.ones(lines)
    weights = o.values[i.inputs[2]]
    axes = weights.shape[:-1] if weights.ndim > 1 and weights.shape[-1] == 1 else weights.shape
    weights = weights.reshape(*axes, *[1] * (len(lines) - len(axes)))
    return np.broadcast_to(weights, lines)


def mask_weights_forward(o, i):
    """The weight of each line in a loss by weights, masks and ignored classes; and the divisor."""
    shape = o.values[i.inputs[0]].shape[:1] + i.outputs[0].shape
    given = [o.values[v] for v in i.inputs]
    reads = i.attributes["reads"]
    weight = given.pop(0) if reads & 1 else np.ones(())
    weight = weight.reshape(*weight.shape, *[1] * (len(shape) - weight.ndim))
    counts = given.pop(0).reshape(shape) != 0 if reads & 2 else np.ones(())
    if reads & 4:
        counts = counts * (given.pop(0).reshape(shape) != i.attributes["ignored"])
    own = weight * counts
    lines = np.prod(shape)
    divisor = {0: lines, 1: np.broadcast_to(counts, shape).sum() + 1e-7, 2: own.sum()}
    divisor = divisor[i.attributes["mean"]]
    factor = lines / divisor if divisor else 0.0
    o.values[i.outputs[0]] = np.broadcast_to(own, shape) * factor


def signs_forward(o, i):
    x = o.values[i.inputs[0]]
    o.values[i.outputs[0]] = 2 * x - 1 if np.isin(x, (0, 1)).all() else x


def loss_forward(o, i):
    value, gradient = loss_parts(o, i)
    w = line_weights(o, i, value.shape)
    count = 1 if i.attributes["reduction"] else value.size
    scale = i.attributes["scale"] / count
    loss = scale * (w * value).sum()
    o.loss += loss
    o.totals.append((loss * len(value), len(value)))
    o.kept[i] = gradient * w[..., None] * scale
    if i.outputs:
        form = reference.softmax if "softmax" in i.attributes["kind"] else reference.sigmoid
        o.values[i.outputs[0]] = form(o.values[i.inputs[0]])


def loss_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.kept[i]


def metric_forward(o, i):
    y, p, kind = o.values[i.inputs[1]], o.values[i.inputs[0]], i.attributes["kind"]
    parameters = row_parameters(i, kind, _core.METRICS)
    report_mean(o, i, reference.METRICS[kind](y, p, **parameters).reshape(p.shape[:-1]))


def measure_forward(o, i):
    value, _ = loss_parts(o, i)
    report_mean(o, i, value)


def line_loss_forward(o, i):
    value, o.kept[i] = loss_parts(o, i)
    o.values[i.outputs[0]] = value.reshape(len(value), *i.outputs[0].shape)


def line_loss_backward(o, i):
    gradient = o.kept[i]
    o.value_gradients[i.inputs[0]] += (
        o.value_gradients[i.outputs[0]].reshape(gradient.shape[:-1])[..., None] * gradient
    )


def observe_forward(o, i):
    value = o.values[i.inputs[0]]
    w = o.values[i.inputs[1]] if len(i.inputs) > 1 else np.ones(len(value))
    rows = value.reshape(len(value), -1)
    w = np.broadcast_to(w.reshape(len(value), -1), rows.shape)
    o.totals.append(((w * rows).sum(), w.sum()))


def report_mean(o, i, value):
    w = line_weights(o, i, value.shape)
    if len(i.inputs) < 3 or i.inputs[2].shape in ((), (1,)):  # a mean for each sample
        value, w = (a.reshape(len(a), -1).mean(-1) for a in (value, w))
    o.totals.append(((w * value).sum(), w.sum()))


def tally_forward(o, i):
    y, p, kind = o.values[i.inputs[1]], o.values[i.inputs[0]], i.attributes["kind"]
    n, row = p.shape[-1], row_parameters(i, kind, _core.TALLIES)
    if "confusion" in kind:
        row["thresholds"], row["label_weights"] = (
            None if v is None else v.numpy() for v in i.params
        )
    w = line_weights(o, i, p.shape).reshape(-1, n)
    target = y.reshape(-1, n) if _core.TALLIES[kind].target == "values" else y.reshape(-1)
    o.totals.append(tuple(reference.TALLIES[kind](target, p.reshape(-1, n), w, **row).flat))


def batch_norm_forward(o, i):
    x = o.values[i.inputs[0]]
    gamma, beta, mean, variance, *renorm = (None if v is None else o.weights[v] for v in i.params)
    axes = tuple(range(x.ndim - 1))
    from_batch = o.training and not i.attributes["frozen"]
    counts, n = np.ones((*x.shape[:-1], 1)), x.size // x.shape[-1]
    if len(i.inputs) > 1:
        counts = o.values[i.inputs[1]].reshape(counts.shape)
        n = counts.sum() + 1e-7
    if from_batch:
        mean = (counts * x).sum(axes) / n
        variance = (counts * (x - mean) ** 2).sum(axes) / n
    deviation = np.sqrt(variance + i.attributes["epsilon"])
    u = (x - mean) / deviation
    part = counts / n if from_batch else 0.0
    r, d = (1.0, 0.0)
    if renorm and from_batch:
        _, r_min, r_max, d_max = i.data
        r = np.clip(deviation / renorm[2], r_min, r_max)
        d = np.clip((mean - renorm[1]) / renorm[2], -d_max, d_max)
    gamma = 1.0 if gamma is None else gamma
    o.kept[i] = u * r + d, (u, gamma * r / deviation), part, (mean, variance, deviation)
    o.values[i.outputs[0]] = (u * r + d) * gamma + (0 if beta is None else beta)


def batch_norm_backward(o, i):
    scaled, (u, factor), part, _ = o.kept[i]
    dy = o.value_gradients[i.outputs[0]]
    axes = tuple(range(dy.ndim - 1))
    by_beta = dy.sum(axes)
    for v, gradient in zip(i.params[:2], ((dy * scaled).sum(axes), by_beta), strict=True):
        if v is not None:
            o.gradients[v] += gradient
    o.value_gradients[i.inputs[0]] += factor * (dy - part * (by_beta + u * (dy * u).sum(axes)))


def follow_batch(o, i):
    *_, (mean, variance, deviation) = o.kept[i]
    if not o.training or i.attributes["frozen"]:
        return

    def follow(v, now, keep):
        o.weights[v] = o.weights[v] * keep + now * (1 - keep)

    moving, renorm = i.params[2:4], i.params[4:]
    follow(moving[0], mean, i.attributes["momentum"])
    if not renorm:
        follow(moving[1], variance, i.attributes["momentum"])
        return
    follow(renorm[0], deviation, i.attributes["momentum"])
    o.weights[moving[1]] = np.maximum(o.weights[renorm[0]] ** 2 - i.attributes["epsilon"], 0.0)
    follow(renorm[1], mean, i.data[0])
    follow(renorm[2], deviation, i.data[0])


FORWARD = {
    "dense": dense_forward,
    "activation": activation_forward,
    "parametric": parametric_forward,
    **dict.fromkeys(reference.ROW_ACTIVATIONS, rows_forward),
    "dropout": dropout_forward,
    "reshape": reshape_forward,
    "batch_norm": batch_norm_forward,
    "mask_weights": mask_weights_forward,
    "signs": signs_forward,
    "loss": loss_forward,
    "metric": metric_forward,
    **oracle_layers.FORWARD,
    **oracle_windows.FORWARD,
    **oracle_recurrent.FORWARD,
    **oracle_integers.FORWARD,
    **oracle_ops.FORWARD,
    **oracle_graph.FORWARD,
    **oracle_loops.FORWARD,
    "measure": measure_forward,
    "line_loss": line_loss_forward,
    "observe": observe_forward,
    "probe": oracle_layers.probe_forward,
    "tally": tally_forward,
}
BACKWARD = {
    "dense": dense_backward,
    "activation": activation_backward,
    "parametric": parametric_backward,
    **dict.fromkeys(reference.ROW_ACTIVATIONS, rows_backward),
    "dropout": dropout_backward,
    "reshape": reshape_backward,
    "batch_norm": batch_norm_backward,
    "mask_weights": lambda o, i: None,
    "signs": lambda o, i: None,
    "loss": loss_backward,
    "metric": lambda o, i: None,
    **oracle_layers.BACKWARD,
    **oracle_windows.BACKWARD,
    **oracle_recurrent.BACKWARD,
    **oracle_integers.BACKWARD,
    **oracle_ops.BACKWARD,
    **oracle_graph.BACKWARD,
    **oracle_loops.BACKWARD,
    "measure": lambda o, i: None,
    "line_loss": line_loss_backward,
    "observe": lambda o, i: None,
    "probe": oracle_layers.noise_backward,
    "tally": lambda o, i: None,
}


# ------------------------------------------------------------------------------ central differences


def central_differences(f, array, step=1e-5):
    """Gradients of the number f() by each element of `array`, which f reads."""
    gradients = np.zeros(array.shape)
    for at in np.ndindex(array.shape):
        kept = array[at]
        array[at] = kept + step
        above = f()
        array[at] = kept - step
        below = f()
        array[at] = kept
        gradients[at] = (above - below) / (2 * step)
    return gradients


def slopes(loss, weights, step=1e-2):
    """Gradients of the number loss() by weights, whose values stay as they are."""

    def at(weight, array):
        weight.assign(array)
        return float(loss())

    found = []
    for weight in weights:
        start = weight.numpy()
        array = start.copy()
        found.append(central_differences(functools.partial(at, weight, array), array, step))
        weight.assign(start)
    return found


def difference_gradients(program, arrays, *, dy=None, learn=None, **run):
    """Gradients of a program's losses (or of sum(dy * output 0)) by central differences."""
    oracle = Oracle(program)

    def total():
        outputs = oracle.forward(arrays, **run)
        return oracle.loss + (0.0 if dy is None else (dy * outputs[0]).sum())

    variables = oracle.weights if learn is None else learn
    return {v: central_differences(total, oracle.weights[v]) for v in variables}
