"""The formulas of ops on integers of few bits, for the oracle."""

from __future__ import annotations

import numpy as np
from oracle_layers import add_gradient, by_column

from cdl import quantizers


def rows_of(o, i, which, k, block):
    """The scale or zero of each row of a kernel; None without one."""
    variable = i.params[which]
    if variable is None:
        return None
    groups = o.weights[variable].reshape(-1, i.outputs[0].shape[-1])
    return groups[np.arange(k) // block if block else np.zeros(k, int)]


def real_numbers(o, i):
    """The real numbers of a quantized kernel."""
    kernel, block = i.params[0].integers().astype(np.float64), i.attributes["block"]
    scale, zero = (rows_of(o, i, which, len(kernel), block) for which in (1, 2))
    return kernel / scale if zero is None else (kernel - zero) * scale


def dense_int_forward(o, i):
    x, real = o.values[i.inputs[0]], real_numbers(o, i)
    if i.attributes["dynamic"]:
        limits = i.attributes["low"], i.attributes["high"]
        whole, of_x = quantizers.abs_max_quantize(
            x.astype(np.float32), -1, limits, "float64", i.attributes["epsilon"]
        )
        x = whole / of_x
    y = x @ real
    o.values[i.outputs[0]] = y if i.params[3] is None else y + o.weights[i.params[3]]


def dense_int_backward(o, i):
    dy = o.value_gradients[i.outputs[0]]
    o.value_gradients[i.inputs[0]] += dy @ real_numbers(o, i).T
    add_gradient(o, i.params[3], by_column(dy))


def unpack_forward(o, i):
    words = np.ascontiguousarray(o.values[i.inputs[0]], np.float32)
    parts = words[..., None].view(np.int8)
    if i.attributes["bits"] == 4:
        parts = np.concatenate([parts << 4 >> 4, parts >> 4], axis=-1)
    o.values[i.outputs[0]] = parts.reshape(*words.shape[:-1], -1).astype(np.float64)


FORWARD = {"dense_int": dense_int_forward, "unpack": unpack_forward}
BACKWARD = {"dense_int": dense_int_backward, "unpack": lambda o, i: None}
