"""Formulas of ops around values that all samples share, for the oracle.

A shared value has no batch axis: its array has the value's own shape.
"""

from __future__ import annotations

import numpy as np


def param_forward(o, i):
    o.values[i.outputs[0]] = o.weights[i.params[0]].copy()


def param_backward(o, i):
    o.gradients[i.params[0]] += o.value_gradients[i.outputs[0]]


def constant_forward(o, i):
    o.values[i.outputs[0]] = np.reshape(i.data, i.outputs[0].shape)


def broadcast_batch_forward(o, i):
    x = o.values[i.inputs[0]]
    o.values[i.outputs[0]] = np.broadcast_to(x, (o.rows, *x.shape)).copy()


def broadcast_batch_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]].sum(0)


def join_batch_forward(o, i):
    o.values[i.outputs[0]] = o.values[i.inputs[0]]


def join_batch_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]]


def batch_reduce_forward(o, i):
    o.values[i.outputs[0]] = getattr(np, i.attributes["kind"])(o.values[i.inputs[0]], axis=0)


def batch_reduce_backward(o, i):
    x, dy = o.values[i.inputs[0]], o.value_gradients[i.outputs[0]]
    kind = i.attributes["kind"]
    if kind in ("sum", "mean"):
        o.value_gradients[i.inputs[0]] += dy / (len(x) if kind == "mean" else 1)
    else:
        best = x == o.values[i.outputs[0]]
        o.value_gradients[i.inputs[0]] += dy * best / best.sum(0)


def objective_forward(o, i):
    x = o.values[i.inputs[0]]
    w = np.ones(())
    if len(i.inputs) > 1:
        w = o.values[i.inputs[1]]
        w = w.reshape(*w.shape, *[1] * (x.ndim - w.ndim))
    factor = i.attributes["scale"] / (1 if i.attributes["reduction"] else x.size)
    o.kept[i] = np.broadcast_to(w * factor, x.shape)
    loss = (o.kept[i] * x).sum()
    o.loss += loss
    if i.attributes["reduction"] == 2:
        loss /= x.size
    if i.attributes["counts"]:
        o.totals.append((loss * o.rows, o.rows))


def objective_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.kept[i]


def assign_all(o):
    """Carry out the program's assignments to weights, at the end of a batch."""
    for i in o.program.instructions:
        if i.op == "assign":
            o.weights[i.params[0]] = o.values[i.inputs[0]].copy()


def recall_forward(o, i):
    o.values[i.outputs[0]] = o.weights[i.params[0]][: o.rows].copy()


def retain_forward(o, i):
    o.weights[i.params[0]][: o.rows] = o.values[i.inputs[0]]


FORWARD = {
    "recall": recall_forward,
    "retain": retain_forward,
    "param": param_forward,
    "constant": constant_forward,
    "broadcast_batch": broadcast_batch_forward,
    "join_batch": join_batch_forward,
    "split_batch": join_batch_forward,
    "batch_reduce": batch_reduce_forward,
    "assign": lambda o, i: None,
    "objective": objective_forward,
}
BACKWARD = {
    "recall": lambda o, i: None,
    "retain": lambda o, i: None,
    "param": param_backward,
    "constant": lambda o, i: None,
    "broadcast_batch": broadcast_batch_backward,
    "join_batch": join_batch_backward,
    "split_batch": join_batch_backward,
    "batch_reduce": batch_reduce_backward,
    "assign": lambda o, i: None,
    "objective": objective_backward,
}
