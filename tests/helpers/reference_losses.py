"""The losses and their gradients in NumPy float64, by the names of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from reference_activations import Array, log_softmax, sigmoid, softmax

# Keras clips probabilities in float32, where 1 - 1e-7 is 0.99999988.

P_MIN = float(np.float32(1e-7))
P_MAX = float(np.float32(1) - np.float32(1e-7))


def clipped(p: Array) -> Array:
    return np.clip(p, P_MIN, P_MAX)


def unclipped(p: Array) -> Array:
    """1 where clipping changes nothing, so that a gradient passes; 0 elsewhere."""
    return np.where((p >= P_MIN) & (p <= P_MAX), 1.0, 0.0)


def smooth_binary(y: Array, label_smoothing: float) -> Array:
    return y * (1 - label_smoothing) + 0.5 * label_smoothing


def smooth_classes(y: Array, label_smoothing: float) -> Array:
    return y * (1 - label_smoothing) + label_smoothing / y.shape[-1]


def one_hot(classes: Any, n: int) -> Array:
    return np.eye(n)[np.asarray(classes, int)]


def _binary(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    t, c = smooth_binary(y, label_smoothing), clipped(p)
    return -(t * np.log(c) + (1 - t) * np.log(1 - c)).mean(-1)


def _binary_gradient(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    t, c = smooth_binary(y, label_smoothing), clipped(p)
    return unclipped(p) * (c - t) / (c * (1 - c)) / p.shape[-1]


def _binary_scores(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    t = smooth_binary(y, label_smoothing)
    return (np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))).mean(-1)


def _binary_scores_gradient(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    return (sigmoid(z) - smooth_binary(y, label_smoothing)) / z.shape[-1]


def _classes(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    share = clipped(p / p.sum(-1, keepdims=True))
    return -(smooth_classes(y, label_smoothing) * np.log(share)).sum(-1)


def _classes_gradient(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    total = p.sum(-1, keepdims=True)
    share = p / total
    g = -smooth_classes(y, label_smoothing) / clipped(share) * unclipped(share)
    return (g - (g * share).sum(-1, keepdims=True)) / total


def _class_scores(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    return -(smooth_classes(y, label_smoothing) * log_softmax(z)).sum(-1)


def _class_scores_gradient(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    t = smooth_classes(y, label_smoothing)
    return softmax(z) * t.sum(-1, keepdims=True) - t


def _of_numbers(f: Callable[..., Array]) -> Callable[..., Array]:
    """A formula of one-hot targets as one of class numbers."""
    return lambda y, p: f(one_hot(y, p.shape[-1]), p)


TINY = 1e-7


def _corner(margin: Array) -> Array:
    """The gradient of max(margin, 0), in the corner 1/2."""
    return np.heaviside(margin, 0.5)


def _squared_log(y: Array, p: Array) -> Array:
    return np.log1p(np.maximum(p, TINY)) - np.log1p(np.maximum(y, TINY))


def _focal_parts(
    y: Array, p: Array, alpha: float, gamma: float, smooth: float, balancing: float
) -> Any:
    t = smooth_binary(y, smooth)
    rest = 1 - (t * p + (1 - t) * (1 - p))
    balance = t * alpha + (1 - t) * (1 - alpha) if balancing else np.ones_like(t)
    c = clipped(p)
    entropy = -(t * np.log(c) + (1 - t) * np.log(1 - c))
    return t, rest, balance, entropy


def _focal(
    y: Array, p: Array, alpha: float, gamma: float, label_smoothing: float, balancing: float
) -> Array:
    _, rest, balance, entropy = _focal_parts(y, p, alpha, gamma, label_smoothing, balancing)
    return (balance * rest**gamma * entropy).mean(-1)


def _focal_gradient(
    y: Array, p: Array, alpha: float, gamma: float, label_smoothing: float, balancing: float
) -> Array:
    t, rest, balance, entropy = _focal_parts(y, p, alpha, gamma, label_smoothing, balancing)
    c = clipped(p)
    d_entropy = unclipped(p) * (c - t) / (c * (1 - c))
    d_factor = -gamma * rest ** (gamma - 1) * (2 * t - 1)
    return balance * (rest**gamma * d_entropy + d_factor * entropy) / p.shape[-1]


def _class_focal(y: Array, p: Array, alpha: float, gamma: float, label_smoothing: float) -> Array:
    c = clipped(p / p.sum(-1, keepdims=True))
    t = smooth_classes(y, label_smoothing)
    return (-alpha * (1 - c) ** gamma * t * np.log(c)).sum(-1)


def _class_focal_share_gradient(
    y: Array, u: Array, alpha: float, gamma: float, smooth: float
) -> Array:
    c, t = clipped(u), smooth_classes(y, smooth)
    inner = -gamma * (1 - c) ** (gamma - 1) * np.log(c) + (1 - c) ** gamma / c
    return -alpha * t * inner * unclipped(u)


def _class_focal_gradient(
    y: Array, p: Array, alpha: float, gamma: float, label_smoothing: float
) -> Array:
    total = p.sum(-1, keepdims=True)
    g = _class_focal_share_gradient(y, p / total, alpha, gamma, label_smoothing)
    return (g - (g * p / total).sum(-1, keepdims=True)) / total


def _class_focal_scores_gradient(
    y: Array, z: Array, alpha: float, gamma: float, label_smoothing: float
) -> Array:
    s = softmax(z)
    g = _class_focal_share_gradient(y, s, alpha, gamma, label_smoothing)
    return s * (g - (g * s).sum(-1, keepdims=True))


def _picked(y: Array, p: Array) -> Array:
    return np.take_along_axis(p, np.asarray(y, int)[..., None], -1)[..., 0]


def _class_hinge(y: Array, p: Array) -> Array:
    return np.maximum(1 + ((1 - y) * p).max(-1) - (y * p).sum(-1), 0)


def _class_hinge_gradient(y: Array, p: Array) -> Array:
    wrong = (1 - y) * p
    largest = wrong == wrong.max(-1, keepdims=True)
    worst = largest / largest.sum(-1, keepdims=True)
    margin = 1 + wrong.max(-1) - (y * p).sum(-1)
    return _corner(margin)[..., None] * (worst * (1 - y) - y)


def _unit(x: Array) -> Array:
    return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12))


def _cosine_gradient(y: Array, p: Array) -> Array:
    a, b = _unit(y), _unit(p)
    return -(a - b * (a * b).sum(-1, keepdims=True)) / np.sqrt((p * p).sum(-1, keepdims=True))


# name: (loss of each row, its gradient by each prediction); both take y, p and the row's parameters
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "mean_squared_error": (
        lambda y, p: ((p - y) ** 2).mean(-1),
        lambda y, p: 2 * (p - y) / p.shape[-1],
    ),
    "mean_absolute_error": (
        lambda y, p: np.abs(p - y).mean(-1),
        lambda y, p: np.sign(p - y) / p.shape[-1],
    ),
    "binary_crossentropy": (_binary, _binary_gradient),
    "sigmoid_binary_crossentropy": (_binary_scores, _binary_scores_gradient),
    "categorical_crossentropy": (_classes, _classes_gradient),
    "softmax_categorical_crossentropy": (_class_scores, _class_scores_gradient),
    "sparse_categorical_crossentropy": (_of_numbers(_classes), _of_numbers(_classes_gradient)),
    "softmax_sparse_categorical_crossentropy": (
        _of_numbers(_class_scores),
        _of_numbers(_class_scores_gradient),
    ),
    "mean_absolute_percentage_error": (
        lambda y, p: 100 * (np.abs(p - y) / np.maximum(np.abs(y), TINY)).mean(-1),
        lambda y, p: 100 * np.sign(p - y) / np.maximum(np.abs(y), TINY) / p.shape[-1],
    ),
    "mean_squared_logarithmic_error": (
        lambda y, p: (_squared_log(y, p) ** 2).mean(-1),
        lambda y, p: np.where(p < TINY, 0, 2 * _squared_log(y, p) / (1 + p)) / p.shape[-1],
    ),
    "huber": (
        lambda y, p, delta: np.where(
            np.abs(p - y) <= delta, (p - y) ** 2 / 2, delta * np.abs(p - y) - delta**2 / 2
        ).mean(-1),
        lambda y, p, delta: np.clip(p - y, -delta, delta) / p.shape[-1],
    ),
    "log_cosh": (
        lambda y, p: np.log(np.cosh(p - y)).mean(-1),
        lambda y, p: np.tanh(p - y) / p.shape[-1],
    ),
    "poisson": (
        lambda y, p: (p - y * np.log(p + TINY)).mean(-1),
        lambda y, p: (1 - y / (p + TINY)) / p.shape[-1],
    ),
    "hinge": (
        lambda y, p: np.maximum(1 - y * p, 0).mean(-1),
        lambda y, p: -y * _corner(1 - y * p) / p.shape[-1],
    ),
    "squared_hinge": (
        lambda y, p: (np.maximum(1 - y * p, 0) ** 2).mean(-1),
        lambda y, p: -2 * y * np.maximum(1 - y * p, 0) / p.shape[-1],
    ),
    "binary_focal_crossentropy": (_focal, _focal_gradient),
    "sigmoid_binary_focal_crossentropy": (
        lambda y, z, **row: _focal(y, sigmoid(z), **row),
        lambda y, z, **row: _focal_gradient(y, sigmoid(z), **row) * sigmoid(z) * sigmoid(-z),
    ),
    "categorical_focal_crossentropy": (_class_focal, _class_focal_gradient),
    "softmax_categorical_focal_crossentropy": (
        lambda y, z, **row: _class_focal(y, softmax(z), **row),
        _class_focal_scores_gradient,
    ),
    "categorical_generalized_crossentropy": (
        lambda y, p, q: (1 - _picked(y, p) ** q) / q,
        lambda y, p, q: -one_hot(y, p.shape[-1]) * p ** (q - 1),
    ),
    "categorical_hinge": (_class_hinge, _class_hinge_gradient),
    "kl_divergence": (
        lambda y, p: (np.clip(y, TINY, 1) * np.log(np.clip(y, TINY, 1) / np.clip(p, TINY, 1))).sum(
            -1
        ),
        lambda y, p: -np.clip(y, TINY, 1) / np.clip(p, TINY, 1),
    ),
    "cosine_similarity": (lambda y, p: -(_unit(y) * _unit(p)).sum(-1), _cosine_gradient),
}

LOSS_PARAMETERS: dict[str, list[dict[str, float]]] = {
    name: [{"label_smoothing": 0.0}, {"label_smoothing": 0.1}]
    for name in (
        "binary_crossentropy",
        "sigmoid_binary_crossentropy",
        "categorical_crossentropy",
        "softmax_categorical_crossentropy",
    )
} | {
    "huber": [{"delta": 1.0}, {"delta": 0.3}],
    "binary_focal_crossentropy": [
        {"alpha": 0.25, "gamma": 2.0, "label_smoothing": 0.0, "balancing": 0.0},
        {"alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1, "balancing": 1.0},
    ],
    "sigmoid_binary_focal_crossentropy": [
        {"alpha": 0.25, "gamma": 2.0, "label_smoothing": 0.0, "balancing": 0.0}
    ],
    "categorical_focal_crossentropy": [{"alpha": 0.25, "gamma": 2.0, "label_smoothing": 0.1}],
    "softmax_categorical_focal_crossentropy": [
        {"alpha": 0.25, "gamma": 2.0, "label_smoothing": 0.1}
    ],
    "categorical_generalized_crossentropy": [{"q": 0.5}, {"q": 0.8}],
}


def loss_parameters(name: str) -> list[dict[str, float]]:
    return LOSS_PARAMETERS.get(name, [{}])


def takes_probabilities(name: str) -> bool:
    """Whether a loss's predictions must lie in [0, 1]."""
    probable = "crossentropy" in name or name in ("kl_divergence", "poisson")
    return probable and not name.startswith(("sigmoid_", "softmax_"))


def takes_classes(name: str) -> bool:
    """Whether a loss's or metric's targets are class numbers."""
    return "sparse" in name or "generalized" in name


def loss_arguments(name: str, rows: int, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random targets and predictions as a loss or metric of that name takes them."""
    p: Array = rng.normal(size=(rows, n)) * 3
    if name == "among_first_k":  # predictions are classes
        ids = rng.permuted(np.tile(np.arange(n) * 1.0, (rows, 1)), axis=1)
        return rng.integers(0, n, rows) * 1.0, ids
    if takes_probabilities(name):
        p = sigmoid(p)
    if takes_classes(name):
        return rng.integers(0, n, rows), p  # type: ignore[return-value]
    if "categorical" in name:
        return one_hot(rng.integers(0, n, rows), n), p
    if "hinge" in name:
        return rng.choice([-1.0, 1.0], (rows, n)), p
    if "binary" in name:
        return rng.integers(0, 2, (rows, n)).astype(float), p
    if name in ("kl_divergence", "poisson", "mean_squared_logarithmic_error"):
        return rng.random((rows, n)), np.abs(p)
    if name == "cosine_similarity":
        p += np.sign(p)  # its gradient goes with 1 / |p|, and so does the rounding error
    return rng.normal(size=(rows, n)), p
