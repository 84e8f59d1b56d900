"""Steps of each optimizer in NumPy float64, by the rows of the core.

Each takes weight w, gradient g, slots by name (updated in place), step t = 1, 2 ..., rate lr and
the hyper-parameters by name, and returns the new weight. Means that began with 0 are corrected with
float32 betas, as Keras does: in the first step of Adam that is a part in 10^5 of the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Slots = dict[str, Array]


def follow(slots: Slots, name: str, value: Array, keep: float) -> Array:
    """The exponential moving average of a slot."""
    slots[name] = keep * slots[name] + (1 - keep) * value
    return slots[name]


def left(beta: float, t: int) -> float:
    """The bias correction of a moving average that began with 0: 1 - beta^t."""
    return 1 - float(np.float32(beta)) ** t


def sgd(w: Array, g: Array, slots: Slots, t: int, lr: float) -> Array:
    return w - lr * g


def sgd_momentum(w: Array, g: Array, slots: Slots, t: int, lr: float, momentum: float) -> Array:
    slots["momentum"] = momentum * slots["momentum"] - lr * g
    return w + slots["momentum"]


def sgd_nesterov(w: Array, g: Array, slots: Slots, t: int, lr: float, momentum: float) -> Array:
    slots["momentum"] = momentum * slots["momentum"] - lr * g
    return w + momentum * slots["momentum"] - lr * g


def rmsprop(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    rho: float,
    epsilon: float,
    momentum: float | None = None,
) -> Array:
    spread = follow(slots, "velocity", g * g, rho)
    if "average_gradient" in slots:
        spread = spread - follow(slots, "average_gradient", g, rho) ** 2
    step = lr * g / np.sqrt(spread + epsilon)
    if momentum is None:
        return w - step
    slots["momentum"] = momentum * slots["momentum"] + step
    return w - slots["momentum"]


def adam(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    m, v = follow(slots, "momentum", g, beta_1), follow(slots, "velocity", g * g, beta_2)
    if "velocity_hat" in slots:
        v = slots["velocity_hat"] = np.maximum(slots["velocity_hat"], v)
    return w - lr * math.sqrt(left(beta_2, t)) / left(beta_1, t) * m / (np.sqrt(v) + epsilon)


def adamax(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    m = follow(slots, "momentum", g, beta_1)
    slots["norm"] = np.maximum(beta_2 * slots["norm"], np.abs(g))
    return w - lr / left(beta_1, t) * m / (slots["norm"] + epsilon)


def nadam(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    m, v = follow(slots, "momentum", g, beta_1), follow(slots, "velocity", g * g, beta_2)
    u = [beta_1 * (1 - 0.5 * 0.96**i) for i in range(1, min(t, 500) + 1)]
    product = math.prod(u)
    now, after = (beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
    d = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
    return w - lr * d / (np.sqrt(v / left(beta_2, t)) + epsilon)


def adagrad(w: Array, g: Array, slots: Slots, t: int, lr: float, epsilon: float) -> Array:
    slots["accumulator"] = slots["accumulator"] + g * g
    return w - lr * g / np.sqrt(slots["accumulator"] + epsilon)


def adadelta(
    w: Array, g: Array, slots: Slots, t: int, lr: float, rho: float, epsilon: float
) -> Array:
    a = follow(slots, "accumulated_grad", g * g, rho)
    d = np.sqrt(slots["accumulated_delta_var"] + epsilon) / np.sqrt(a + epsilon) * g
    follow(slots, "accumulated_delta_var", d * d, rho)
    return w - lr * d


def ftrl(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    learning_rate_power: float,
    l1_regularization_strength: float,
    l2_regularization_strength: float,
    l2_shrinkage_regularization_strength: float,
    beta: float,
) -> Array:
    before = slots["accumulator"]
    after = slots["accumulator"] = before + g * g
    growth = (after**-learning_rate_power - before**-learning_rate_power) / lr
    pull = g + 2 * l2_shrinkage_regularization_strength * w
    z = slots["linear"] = slots["linear"] + pull - growth * w
    divisor = after**-learning_rate_power / lr + 2 * l2_regularization_strength + beta / lr
    clipped = np.clip(z, -l1_regularization_strength, l1_regularization_strength)
    return np.divide(clipped - z, divisor, out=np.zeros_like(w), where=divisor > 0)


def lion(
    w: Array, g: Array, slots: Slots, t: int, lr: float, beta_1: float, beta_2: float
) -> Array:
    sign = np.sign(beta_1 * slots["momentum"] + (1 - beta_1) * g)
    follow(slots, "momentum", g, beta_2)
    return w - lr * sign


def schedule_free_adamw(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    warmup_steps: float,
) -> Array:
    x = (w - (1 - beta_1) * slots["momentum"]) / beta_1
    v = follow(slots, "velocity", g * g, float(np.float32(beta_2)))
    lr = lr * min(1.0, t / warmup_steps) if warmup_steps else lr
    z = slots["momentum"] - lr * g / (np.sqrt(v / left(beta_2, t)) + epsilon)
    slots["momentum"] = z
    return (1 - beta_1) * z + beta_1 * (x + (z - x) / t)


# Optimizers that need all of a weight.


def norm(x: Array) -> float:
    return math.sqrt(float(np.square(x).sum()))


def rms(x: Array) -> float:
    return math.sqrt(float(np.square(x).mean()))


def lamb(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    m, v = follow(slots, "momentum", g, beta_1), follow(slots, "velocity", g * g, beta_2)
    d = m / left(beta_1, t) / (np.sqrt(v / left(beta_2, t)) + epsilon)
    ratio = norm(w) / norm(d) if norm(w) > 0 and norm(d) > 0 else 1.0
    return w - lr * ratio * d


def adafactor(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_2_decay: float,
    epsilon_1: float,
    epsilon_2: float,
    clip_threshold: float,
) -> Array:
    keep, square = 1 - t**beta_2_decay, g * g + epsilon_1
    if "row" in slots:
        r = follow(slots, "row", square.mean(-1), keep)
        c = follow(slots, "column", square.mean(-2) if w.ndim > 1 else square, keep)
        scaled = r / r.mean(-1, keepdims=True) if w.ndim > 1 else np.ones(())
        v = slots["velocity"] = scaled[..., None] * np.expand_dims(c, -2 if w.ndim > 1 else 0)
        v = slots["velocity"] = v.reshape(w.shape)
    else:
        v = follow(slots, "velocity", square, keep)
    u = g / np.sqrt(v)
    alpha = max(epsilon_2, rms(w)) * min(lr, 1 / math.sqrt(t))
    return w - alpha * u / max(1.0, rms(u) / clip_threshold)


def muon(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    momentum: float,
    nesterov: float,
    rms_rate: float,
    muon_a: float,
    muon_b: float,
    muon_c: float,
    ns_steps: float,
) -> Array:
    m = slots["momentum"] = momentum * slots["momentum"] + g
    x = np.atleast_2d(g + momentum * m if nesterov else m)
    transposed = x.shape[0] > x.shape[1]
    x = (x.T if transposed else x) / (norm(x) + 1e-7)
    for _ in range(int(ns_steps)):
        a = x @ x.T
        x = muon_a * x + (muon_b * a + muon_c * a @ a) @ x
    longer = 1.0 if rms_rate < 0 else rms_rate * math.sqrt(max(x.shape))
    return w - lr * longer * (x.T if transposed else x).reshape(w.shape)


def muon_adam(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    adam_beta_1: float,
    adam_beta_2: float,
    epsilon: float,
    adam_lr_ratio: float,
) -> Array:
    return adam(w, g, slots, t, lr * adam_lr_ratio, adam_beta_1, adam_beta_2, epsilon)


OPTIMIZERS: dict[str, Callable[..., Array]] = {
    "sgd": sgd,
    "sgd_momentum": sgd_momentum,
    "sgd_nesterov": sgd_nesterov,
    "rmsprop": rmsprop,
    "rmsprop_momentum": rmsprop,
    "rmsprop_centered": rmsprop,
    "rmsprop_centered_momentum": rmsprop,
    "adam": adam,
    "adam_amsgrad": adam,
    "adamax": adamax,
    "nadam": nadam,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "ftrl": ftrl,
    "ftrl_power": ftrl,
    "lion": lion,
    "schedule_free_adamw": schedule_free_adamw,
    "lamb": lamb,
    "adafactor": adafactor,
    "adafactor_factored": adafactor,
    "muon": muon,
    "muon_adam": muon_adam,
}

_ADAM = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7}
_RMSPROP = {"rho": 0.9, "epsilon": 1e-7}
_FTRL = {
    "learning_rate_power": -0.5,
    "l1_regularization_strength": 0.01,
    "l2_regularization_strength": 0.1,
    "l2_shrinkage_regularization_strength": 0.02,
    "beta": 0.5,
}
_ADAFACTOR = {"beta_2_decay": -0.8, "epsilon_1": 1e-30, "epsilon_2": 1e-3, "clip_threshold": 1.0}

OPTIMIZER_HYPERS: dict[str, dict[str, float]] = {
    "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9},
    "rmsprop": _RMSPROP,
    "rmsprop_momentum": {**_RMSPROP, "momentum": 0.8},
    "rmsprop_centered": {**_RMSPROP, "epsilon": 1e-3},
    "rmsprop_centered_momentum": {**_RMSPROP, "epsilon": 1e-3, "momentum": 0.8},
    "adam": {**_ADAM, "beta_2": 0.999},
    "adam_amsgrad": _ADAM,
    "adamax": _ADAM,
    "nadam": _ADAM,
    "adagrad": {"epsilon": 1e-7},
    "adadelta": {"rho": 0.95, "epsilon": 1e-6},
    "ftrl": _FTRL,
    "ftrl_power": {**_FTRL, "learning_rate_power": -0.3},
    "lion": {"beta_1": 0.9, "beta_2": 0.99},
    "schedule_free_adamw": {**_ADAM, "warmup_steps": 4},
    "lamb": _ADAM,
    "adafactor": _ADAFACTOR,
    "adafactor_factored": _ADAFACTOR,
    "muon": {
        "momentum": 0.95,
        "nesterov": 1.0,
        "rms_rate": 0.2,
        "muon_a": 3.4445,
        "muon_b": -4.775,
        "muon_c": 2.0315,
        "ns_steps": 5,
    },
    "muon_adam": {
        "adam_beta_1": 0.9,
        "adam_beta_2": 0.999,
        "epsilon": 1e-7,
        "adam_lr_ratio": 0.5,
    },
}

# Rows of which a step of one element depends on the others.
WHOLE = ("lamb", "adafactor", "adafactor_factored", "muon")
# Rows that move a weight without a gradient, since their slots do not begin with 0 in Python.
MOVE_FROM_ZERO = ("ftrl", "ftrl_power", "schedule_free_adamw")
# Rows with differences of near numbers, or several products one after the other: less is exact.
ROUGH = ("ftrl", "ftrl_power", "muon")
# A rate at which a small net learns, where 0.01 is not one.
RATES = {"adadelta": 1.0, "ftrl": 0.1, "ftrl_power": 0.1}
