"""The formulas of the ops that layers besides Dense lower to, for the oracle.

Random ops read what was drawn from ``masks``: normal numbers for noise, 0 or 1 for dropouts.
"""

from __future__ import annotations

import numpy as np
import reference_ctc


def weight_of(o, variable, otherwise):
    return otherwise if variable is None else o.weights[variable]


def add_gradient(o, variable, gradient):
    if variable is not None:
        o.gradients[variable] += gradient.reshape(variable.shape)


def by_column(gradient):
    return gradient.reshape(-1, gradient.shape[-1]).sum(0)


def axes_of(i):
    """The permutation that the numbers are, batch axis first if any."""
    axes = list(i.numbers)
    return axes if i.outputs[0].shared else [0, *(axis + 1 for axis in axes)]


def mask_forward(o, i):
    x = o.values[i.inputs[0]]
    o.kept[i] = (x != i.attributes["value"]).any(-1, keepdims=True).astype(np.float64)
    o.values[i.outputs[0]] = np.where(o.kept[i] != 0, x, 0.0)
    o.values[i.outputs[1]] = o.kept[i]


def permute_forward(o, i):
    o.values[i.outputs[0]] = o.values[i.inputs[0]].transpose(axes_of(i))


def permute_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]].transpose(
        np.argsort(axes_of(i))
    )


def fork_forward(o, i):
    for v in i.outputs:
        o.values[v] = o.values[i.inputs[0]]


def fork_backward(o, i):
    o.value_gradients[i.inputs[0]] += sum(o.value_gradients[v] for v in i.outputs)


def noise_forward(o, i):
    x = o.values[i.inputs[0]]
    z = i.attributes["stddev"] * o.masks[i] if o.training else np.zeros(x.shape)
    o.kept[i] = 1 + z if i.attributes["multiplies"] else 1.0
    o.values[i.outputs[0]] = x * o.kept[i] if i.attributes["multiplies"] else x + z


def probe_forward(o, i):
    o.values[i.outputs[0]] = o.values[i.inputs[0]]
    o.kept[i] = np.ones(())


def noise_backward(o, i):
    """The gradient of ops that multiply by a kept factor."""
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]] * o.kept[i]


def patterned_dropout_forward(o, i):
    x, a = o.values[i.inputs[0]], i.attributes
    kept = o.masks[i] if o.training else None
    o.kept[i] = 1.0 if kept is None else kept * a["scale"]
    y = x
    if kept is not None:
        y = kept * (x * a["scale"] + a["shift"]) + (1 - kept) * a["dropped"]
    o.values[i.outputs[0]] = y


def normalize_forward(o, i):
    x = o.values[i.inputs[0]]
    gamma, beta = weight_of(o, i.params[0], 1.0), weight_of(o, i.params[1], 0.0)
    epsilon = i.attributes["epsilon"]
    mean = x.mean(-1, keepdims=True)
    measure = i.attributes["measure"]
    if measure == 0:
        factor = 1 / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    elif measure == 1:
        factor = 1 / np.sqrt(np.square(x).mean(-1, keepdims=True) + epsilon)
    else:
        norm = np.sqrt(np.square(x).sum(-1, keepdims=True))
        factor = 1 / np.maximum(norm, epsilon)
    center = mean if i.attributes["subtracts_mean"] else 0.0
    o.kept[i] = x - (mean if measure == 0 else 0.0), (x - center) * factor, factor
    o.values[i.outputs[0]] = o.kept[i][1] * gamma + beta


def normalize_backward(o, i):
    d, u, factor = o.kept[i]
    dy = o.value_gradients[i.outputs[0]]
    add_gradient(o, i.params[0], by_column(dy * u))
    add_gradient(o, i.params[1], by_column(dy))
    g = dy * weight_of(o, i.params[0], 1.0)
    norm = i.attributes["measure"] == 2
    part = np.where(factor * i.attributes["epsilon"] < 1, 1.0, 0.0) if norm else 1 / dy.shape[-1]
    through = g.mean(-1, keepdims=True) if i.attributes["subtracts_mean"] else 0.0
    through = through + d * factor * part * (g * u).sum(-1, keepdims=True)
    o.value_gradients[i.inputs[0]] += factor * (g - through)


def affine_forward(o, i):
    center, scale, shift = (
        weight_of(o, v, n) for v, n in zip(i.params, (0.0, 1.0, 0.0), strict=True)
    )
    o.kept[i] = o.values[i.inputs[0]] - center
    o.values[i.outputs[0]] = o.kept[i] * scale + shift


def affine_backward(o, i):
    dy = o.value_gradients[i.outputs[0]]
    add_gradient(o, i.params[1], by_column(dy * o.kept[i]))
    add_gradient(o, i.params[2], by_column(dy))
    o.value_gradients[i.inputs[0]] += dy * weight_of(o, i.params[1], 1.0)


def feature_norm_forward(o, i):
    mean, variance = (o.weights[v].reshape(-1) for v in i.params)
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    x = o.values[i.inputs[0]]
    o.kept[i] = deviation if i.attributes["invert"] else 1 / deviation
    y = x * deviation + mean if i.attributes["invert"] else (x - mean) / deviation
    o.values[i.outputs[0]] = y


def bucketize_forward(o, i):
    boundaries = [] if i.params[0] is None else o.weights[i.params[0]]
    o.values[i.outputs[0]] = np.digitize(o.values[i.inputs[0]], boundaries).astype(np.float64)


def encode_forward(o, i):
    x, tokens = o.values[i.inputs[0]], i.outputs[0].shape[-1]
    ones = (x[..., None] == np.arange(tokens)).astype(np.float64)
    if i.attributes["counts"] and len(i.inputs) > 1:
        ones = ones * o.values[i.inputs[1]][..., None]
    if not i.attributes["one_hot"]:
        ones = ones.sum(-2) if i.attributes["counts"] else ones.max(-2)
    o.values[i.outputs[0]] = ones.reshape(len(x), *i.outputs[0].shape)


def prelu_forward(o, i):
    x = o.values[i.inputs[0]]
    o.values[i.outputs[0]] = np.maximum(x, 0) + o.weights[i.params[0]].reshape(-1) * np.minimum(
        x, 0
    )


def prelu_backward(o, i):
    x, dy = o.values[i.inputs[0]], o.value_gradients[i.outputs[0]]
    add_gradient(o, i.params[0], by_column(dy * np.minimum(x, 0)))
    o.value_gradients[i.inputs[0]] += dy * np.where(
        x > 0, 1, (x < 0) * o.weights[i.params[0]].reshape(-1)
    )


def activity_forward(o, i):
    x, (l1, l2) = o.values[i.inputs[0]], (i.attributes[name] for name in ("l1", "l2"))
    o.values[i.outputs[0]] = x
    o.loss += (l1 * np.abs(x).sum() + l2 * np.square(x).sum()) / len(x)


def activity_backward(o, i):
    x = o.values[i.inputs[0]]
    gradient = i.attributes["l1"] * np.sign(x) + 2 * i.attributes["l2"] * x
    o.value_gradients[i.inputs[0]] += o.value_gradients[i.outputs[0]] + gradient / len(x)


def host_forward(o, i):
    x = o.values[i.inputs[0]]
    o.kept[i] = x
    o.values[i.outputs[0]] = np.asarray(i.attributes["function"].forward(x, o.training))


def host_backward(o, i):
    dy = o.value_gradients[i.outputs[0]]
    o.value_gradients[i.inputs[0]] += i.attributes["function"].backward(
        o.kept[i], o.values[i.outputs[0]], dy, o.training
    )


def ctc_forward(o, i):
    z, labels = (o.values[v] for v in i.inputs[:2])
    losses, gradients = zip(*map(reference_ctc.ctc, labels, z), strict=True)
    w = o.values[i.inputs[2]].reshape(-1) if len(i.inputs) > 2 else np.ones(len(z))
    scale = i.attributes["scale"] / (1 if i.attributes["reduction"] else len(z))
    loss = scale * (w * losses).sum()
    o.loss += loss
    o.totals.append((loss * len(z), len(z)))
    o.kept[i] = np.stack(gradients) * w[:, None, None] * scale


def ctc_backward(o, i):
    o.value_gradients[i.inputs[0]] += o.kept[i]


FORWARD = {
    "ctc": ctc_forward,
    "host": host_forward,
    "mask": mask_forward,
    "permute": permute_forward,
    "fork": fork_forward,
    "noise": noise_forward,
    "patterned_dropout": patterned_dropout_forward,
    "normalize": normalize_forward,
    "affine": affine_forward,
    "feature_norm": feature_norm_forward,
    "bucketize": bucketize_forward,
    "encode": encode_forward,
    "prelu": prelu_forward,
    "activity": activity_forward,
}
BACKWARD = {
    "ctc": ctc_backward,
    "host": host_backward,
    "mask": noise_backward,
    "permute": permute_backward,
    "fork": fork_backward,
    "noise": noise_backward,
    "patterned_dropout": noise_backward,
    "normalize": normalize_backward,
    "affine": affine_backward,
    "feature_norm": noise_backward,
    "bucketize": lambda o, i: None,
    "encode": lambda o, i: None,
    "prelu": prelu_backward,
    "activity": activity_backward,
}
