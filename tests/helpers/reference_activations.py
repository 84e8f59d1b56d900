"""The activations and their gradients in NumPy float64, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_C, GELU_A = math.sqrt(2 / math.pi), 0.044715


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softmax(z: Array) -> Array:
    """Softmax over the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_gradient(z: Array, dy: Array) -> Array:
    """The gradient by z, given the gradient dy by softmax(z)."""
    y = softmax(z)
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def _relu(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    above = np.where(x > threshold, x, 0.0)
    if max_value < math.inf:
        above = np.clip(above, 0, max_value)
    below = negative_slope * np.maximum(threshold - x, 0) if negative_slope else 0.0  # no 0 * inf
    return np.where(np.isnan(x), x, above - below)


def _relu_gradient(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    above = np.where((x > threshold) & (x < max_value), 1.0, 0.0)
    if max_value < math.inf:
        above = np.where(x < 0, 0.0, above)
    gradient = np.where(x < threshold, negative_slope, above)
    # Derivatives in 0, where both sides meet: Keras has the left of relu, the right of a leaky one
    return np.where(x == 0, 1.0, gradient) if negative_slope and threshold == 0 else gradient


def _phi(x: Array) -> Array:
    return 0.5 * _erfc(-x / math.sqrt(2))


def _gelu_inner(x: Array) -> Array:
    return GELU_C * (x + GELU_A * x**3)


def _gelu_tanh_gradient(x: Array) -> Array:
    s = sigmoid(2 * _gelu_inner(x))
    return s + x * s * (1 - s) * 2 * GELU_C * (1 + 3 * GELU_A * x**2)


def _squareplus(x: Array, b: float) -> Array:
    root = np.sqrt(x * x + b)
    return np.where(x < 0, b / 2 / (root - x), 0.5 * x + 0.5 * root)


def _tanh_shrink(x: Array) -> Array:
    series = x**3 / 3 - 2 * x**5 / 15 + 17 * x**7 / 315
    return np.where(np.abs(x) < 0.01, series, x - np.tanh(x))


def _mish_gate(x: Array) -> Array:
    return np.tanh(np.log1p(np.exp(np.minimum(x, 40))))


def _mish_gradient(x: Array) -> Array:
    t = _mish_gate(x)
    return t + x * (1 - t * t) * sigmoid(x)


# name: (f, df); both take x and the row's parameters by name
ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "linear": (lambda x: x, np.ones_like),
    "relu": (_relu, _relu_gradient),
    "plain_relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
    "leaky_relu": (
        lambda x, negative_slope: np.where(x < 0, negative_slope * x, x),
        lambda x, negative_slope: np.where(x < 0, negative_slope, 1.0),
    ),
    "elu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x, alpha: np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
    ),
    "selu": (
        lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": (np.tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x)),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), sigmoid),
    "gelu": (
        lambda x: x * _phi(x),
        lambda x: _phi(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": (lambda x: x * sigmoid(2 * _gelu_inner(x)), _gelu_tanh_gradient),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "celu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        lambda x, alpha: np.exp(np.minimum(x, 0) / alpha),
    ),
    "exponential": (np.exp, lambda x: np.exp(x).astype(np.float32).astype(np.float64)),
    "hard_shrink": (
        lambda x, threshold: np.where(np.abs(x) <= threshold, 0.0, x),
        lambda x, threshold: np.where(np.abs(x) > threshold, 1.0, 0.0),
    ),
    "hard_sigmoid": (
        lambda x: np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(np.abs(x) < 3, 1 / 6, 0.0),
    ),
    "hard_silu": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.clip(x + 3, 0, 6) / 6 + np.where(np.abs(x) < 3, x / 6, 0.0),
    ),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), lambda x: np.where(np.abs(x) <= 1, 1.0, 0.0)),
    "log_sigmoid": (
        lambda x: -np.maximum(-x, 0) - np.log1p(np.exp(-np.abs(x))),
        lambda x: sigmoid(-x),
    ),
    "mish": (lambda x: x * _mish_gate(x), _mish_gradient),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: np.where((x > 0) & (x < 6), 1.0, 0.0)),
    "soft_shrink": (
        lambda x, threshold: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
        lambda x, threshold: np.where(np.abs(x) > threshold, 1.0, 0.0),
    ),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: (1 + np.abs(x)) ** -2.0),
    "sparse_plus": (
        lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
        lambda x: np.clip((x + 1) / 2, 0, 1),
    ),
    "sparse_sigmoid": (
        lambda x: np.clip((x + 1) / 2, 0, 1),
        lambda x: np.where(np.abs(x) < 1, 0.5, 0.0),
    ),
    "smooth_clip": (
        lambda x, limit: limit * np.sin(np.arctan(x / limit)),
        lambda x, limit: (1 + (x / limit) ** 2) ** -1.5,
    ),
    "squareplus": (
        _squareplus,
        lambda x, b: _squareplus(x, b) / np.sqrt(x * x + b),
    ),
    "tanh_shrink": (_tanh_shrink, lambda x: np.tanh(x) ** 2),
    "threshold": (
        lambda x, threshold, default_value: np.where(x <= threshold, default_value, x),
        lambda x, threshold, default_value: np.where(x > threshold, 1.0, 0.0),
    ),
}

# ------------------------------------------------------------------------- activations of rows


def log_softmax(z: Array) -> Array:
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def sparsemax(z: Array) -> Array:
    """Sparsemax by sorted rows (Martins and Astudillo, 2016)."""
    z = z - z.max(-1, keepdims=True)
    down = -np.sort(-z, -1)
    k = np.arange(1, z.shape[-1] + 1)
    sums = down.cumsum(-1)
    size = (1 + k * down > sums).sum(-1, keepdims=True)
    return np.maximum(z - (np.take_along_axis(sums, size - 1, -1) - 1) / size, 0)


def _sparsemax_gradient(z: Array, dy: Array) -> Array:
    support = sparsemax(z) > 0
    return support * (dy - (dy * support).sum(-1, keepdims=True) / support.sum(-1, keepdims=True))


def _glu_gradient(x: Array, dy: Array) -> Array:
    a, b = np.split(x, 2, -1)
    return np.concatenate([dy * sigmoid(b), dy * a * sigmoid(b) * sigmoid(-b)], -1)


ROW_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sparsemax": sparsemax,
    "glu": lambda x: np.split(x, 2, -1)[0] * sigmoid(np.split(x, 2, -1)[1]),
}
# Gradients of rows: functions from x and dy to dx
ROW_GRADIENTS: dict[str, Callable[[Array, Array], Array]] = {
    "softmax": softmax_gradient,
    "log_softmax": lambda z, dy: dy - softmax(z) * dy.sum(-1, keepdims=True),
    "sparsemax": _sparsemax_gradient,
    "glu": _glu_gradient,
}

# parameter values under which the tests run a row that has any
ACTIVATION_PARAMETERS: dict[str, list[dict[str, float]]] = {
    "relu": [
        {"negative_slope": 0.0, "max_value": math.inf, "threshold": 0.0},
        {"negative_slope": 0.25, "max_value": 6.0, "threshold": 0.0},
        {"negative_slope": 0.5, "max_value": 4.0, "threshold": 1.5},
        {"negative_slope": 0.0, "max_value": math.inf, "threshold": -1.0},
        {"negative_slope": 0.5, "max_value": 2.0, "threshold": -1.0},
    ],
    "leaky_relu": [{"negative_slope": 0.2}, {"negative_slope": 0.01}],
    "elu": [{"alpha": 1.0}, {"alpha": 0.3}],
    "celu": [{"alpha": 1.0}, {"alpha": 0.3}],
    "hard_shrink": [{"threshold": 0.5}, {"threshold": 0.0}],
    "smooth_clip": [{"limit": 3.0}, {"limit": 0.5}],
    "soft_shrink": [{"threshold": 0.5}],
    "squareplus": [{"b": 4.0}, {"b": 0.5}],
    "threshold": [{"threshold": 0.3, "default_value": -2.0}],
}


def activation_parameters(name: str) -> list[dict[str, float]]:
    return ACTIVATION_PARAMETERS.get(name, [{}])
