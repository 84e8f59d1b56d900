"""references.py - the formulas in NumPy float64, by the names of the core's tables.

The tests of kernels, of Python classes and of whole models compare with these. Tolerances stand
at the end, by quantity. A row that is new in a table makes the parametrized tests fail until its
formula stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

# ---------------------------------------------------------------------------------- activations

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_C, GELU_A = math.sqrt(2 / math.pi), 0.044715


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softmax(z: Array) -> Array:
    """Over the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_slope(z: Array, dy: Array) -> Array:
    """The gradient by z, given the gradient dy by softmax(z)."""
    y = softmax(z)
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def _relu(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    above = np.where(x > threshold, x, 0.0)
    if max_value < math.inf:
        above = np.clip(above, 0, max_value)
    below = negative_slope * np.maximum(threshold - x, 0) if negative_slope else 0.0  # no 0 * inf
    return np.where(np.isnan(x), x, above - below)


def _relu_slope(x: Array, negative_slope: float, max_value: float, threshold: float) -> Array:
    above = np.where((x > threshold) & (x < max_value), 1.0, 0.0)
    if max_value < math.inf:
        above = np.where(x < 0, 0.0, above)
    slope = np.where(x < threshold, negative_slope, above)
    # where both sides meet in 0, Keras takes the left for the plain relu, the right for a leaky one
    return np.where(x == 0, 1.0, slope) if negative_slope and threshold == 0 else slope


def _phi(x: Array) -> Array:
    return 0.5 * _erfc(-x / math.sqrt(2))


def _gelu_inner(x: Array) -> Array:
    return GELU_C * (x + GELU_A * x**3)


def _gelu_tanh_slope(x: Array) -> Array:
    s = sigmoid(2 * _gelu_inner(x))
    return s + x * s * (1 - s) * 2 * GELU_C * (1 + 3 * GELU_A * x**2)


# name: (f, df); both take x and the row's parameters by name
ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "linear": (lambda x: x, np.ones_like),
    "relu": (_relu, _relu_slope),
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
    "gelu_tanh": (lambda x: x * sigmoid(2 * _gelu_inner(x)), _gelu_tanh_slope),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
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
}


def activation_parameters(name: str) -> list[dict[str, float]]:
    return ACTIVATION_PARAMETERS.get(name, [{}])


# --------------------------------------------------------------------------------------- losses
# Keras clips probabilities in float32, where 1 - 1e-7 is 0.99999988.

P_MIN = float(np.float32(1e-7))
P_MAX = float(np.float32(1) - np.float32(1e-7))


def clipped(p: Array) -> Array:
    return np.clip(p, P_MIN, P_MAX)


def unclipped(p: Array) -> Array:
    """1 where clipping changes nothing, so that a slope passes; 0 elsewhere."""
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


def _binary_slope(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    t, c = smooth_binary(y, label_smoothing), clipped(p)
    return unclipped(p) * (c - t) / (c * (1 - c)) / p.shape[-1]


def _binary_scores(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    t = smooth_binary(y, label_smoothing)
    return (np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))).mean(-1)


def _binary_scores_slope(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    return (sigmoid(z) - smooth_binary(y, label_smoothing)) / z.shape[-1]


def _classes(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    share = clipped(p / p.sum(-1, keepdims=True))
    return -(smooth_classes(y, label_smoothing) * np.log(share)).sum(-1)


def _classes_slope(y: Array, p: Array, label_smoothing: float = 0.0) -> Array:
    total = p.sum(-1, keepdims=True)
    share = p / total
    g = -smooth_classes(y, label_smoothing) / clipped(share) * unclipped(share)
    return (g - (g * share).sum(-1, keepdims=True)) / total


def log_softmax(z: Array) -> Array:
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def _class_scores(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    return -(smooth_classes(y, label_smoothing) * log_softmax(z)).sum(-1)


def _class_scores_slope(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    t = smooth_classes(y, label_smoothing)
    return softmax(z) * t.sum(-1, keepdims=True) - t


def _of_numbers(f: Callable[..., Array]) -> Callable[..., Array]:
    """A formula for one-hot rows, for class numbers."""
    return lambda y, p: f(one_hot(y, p.shape[-1]), p)


# name: (loss of each row, its slope by each prediction); both take y, p and the row's parameters
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "mean_squared_error": (
        lambda y, p: ((p - y) ** 2).mean(-1),
        lambda y, p: 2 * (p - y) / p.shape[-1],
    ),
    "mean_absolute_error": (
        lambda y, p: np.abs(p - y).mean(-1),
        lambda y, p: np.sign(p - y) / p.shape[-1],
    ),
    "binary_crossentropy": (_binary, _binary_slope),
    "sigmoid_binary_crossentropy": (_binary_scores, _binary_scores_slope),
    "categorical_crossentropy": (_classes, _classes_slope),
    "softmax_categorical_crossentropy": (_class_scores, _class_scores_slope),
    "sparse_categorical_crossentropy": (_of_numbers(_classes), _of_numbers(_classes_slope)),
    "softmax_sparse_categorical_crossentropy": (
        _of_numbers(_class_scores),
        _of_numbers(_class_scores_slope),
    ),
}

LOSS_PARAMETERS: dict[str, list[dict[str, float]]] = {
    name: [{"label_smoothing": 0.0}, {"label_smoothing": 0.1}]
    for name in (
        "binary_crossentropy",
        "sigmoid_binary_crossentropy",
        "categorical_crossentropy",
        "softmax_categorical_crossentropy",
    )
}


def loss_parameters(name: str) -> list[dict[str, float]]:
    return LOSS_PARAMETERS.get(name, [{}])


def takes_probabilities(name: str) -> bool:
    """Whether a loss's predictions must lie in [0, 1]."""
    return "crossentropy" in name and not name.startswith(("sigmoid_", "softmax_"))


def takes_classes(name: str) -> bool:
    """Whether a loss's or metric's targets are class numbers."""
    return "sparse" in name


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
    if "binary" in name:
        return rng.integers(0, 2, (rows, n)).astype(float), p
    return rng.normal(size=(rows, n)), p


# -------------------------------------------------------------------------------------- metrics


def _in_top_k(classes: Any, p: Array, k: float) -> Array:
    own = np.take_along_axis(p, np.asarray(classes, int)[..., None], -1)
    return ((p > own).sum(-1) < k).astype(float)


def _unit(x: Array) -> Array:
    return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12))


def _moments(y: Array, p: Array) -> tuple[Array, Array, Array, Array]:
    """Variances, covariance, and the difference of the means, along the last axis."""
    a, b = y - y.mean(-1, keepdims=True), p - p.mean(-1, keepdims=True)
    return (a * a).mean(-1), (b * b).mean(-1), (a * b).mean(-1), y.mean(-1) - p.mean(-1)


def _pearson(y: Array, p: Array) -> Array:
    yy, pp, yp, _ = _moments(y, p)
    with np.errstate(invalid="ignore"):
        return yp / np.sqrt(yy * pp)


def _concordance(y: Array, p: Array) -> Array:
    yy, pp, yp, shift = _moments(y, p)
    return 2 * yp / (yy + pp + shift**2 + 1e-7)


# name: the value of each row
METRICS: dict[str, Callable[..., Array]] = {
    "accuracy": lambda y, p: (y == p).mean(-1),
    "top_k_categorical_accuracy": lambda y, p, k: _in_top_k(y.argmax(-1), p, k),
    "sparse_top_k_categorical_accuracy": _in_top_k,
    "among_first_k": lambda y, p, k: (p[:, : int(k)] == y[:, None]).any(-1).astype(float),
    "cosine_similarity": lambda y, p: (_unit(y) * _unit(p)).sum(-1),
    "pearson_correlation": _pearson,
    "concordance_correlation": _concordance,
    "mean_squared_error": LOSSES["mean_squared_error"][0],
    "mean_absolute_error": LOSSES["mean_absolute_error"][0],
    "binary_accuracy": lambda y, p, threshold: ((p > threshold) == y).mean(-1),
    "categorical_accuracy": lambda y, p: (p.argmax(-1) == y.argmax(-1)).astype(float),
    "sparse_categorical_accuracy": lambda y, p: (p.argmax(-1) == y).astype(float),
}

METRIC_PARAMETERS: dict[str, list[dict[str, float]]] = {
    "binary_accuracy": [{"threshold": 0.5}, {"threshold": 0.2}],
    "top_k_categorical_accuracy": [{"k": 1.0}, {"k": 3.0}],
    "sparse_top_k_categorical_accuracy": [{"k": 2.0}, {"k": 5.0}],
    "among_first_k": [{"k": 1.0}, {"k": 3.0}],
}


def metric_parameters(name: str) -> list[dict[str, float]]:
    return METRIC_PARAMETERS.get(name, [{}])


# --------------------------------------------------------------------- metrics that count: states


def even_buckets(p: Array, n: int) -> Any:
    """How many of n even thresholds each prediction exceeds, in Keras's float32."""
    return np.ceil(np.clip(np.float32(p), 0, 1) * np.float32(n - 1)).astype(int)


def buckets(p: Array, thresholds: Any) -> Any:
    """How many of the thresholds each prediction exceeds."""
    return (np.float32(p)[..., None] > np.float32(thresholds)).sum(-1)


def _confusion(
    y: Array,
    p: Array,
    w: Array,
    *,
    thresholds: Any,
    label_weights: Any = None,
    even: bool = False,
    top_k: float,
    class_id: float,
    by_label: float,
    from_logits: float,
) -> Array:
    if from_logits:
        p = sigmoid(p)
    if top_k:
        order = np.argsort(-p, axis=-1, kind="stable")
        p = np.where(np.argsort(order, axis=-1) < top_k, p, -1e10)
    exceeded = even_buckets(p, len(thresholds)) if even else buckets(p, thresholds)
    if even and thresholds[0] < 0:
        exceeded = np.maximum(exceeded, 1)
    w = w * (1.0 if label_weights is None else np.asarray(label_weights))
    state = np.zeros((p.shape[-1] if by_label else 1, 2, len(thresholds) + 1))
    for i, j in np.ndindex(p.shape):
        if class_id in (-1, j):
            state[j if by_label else 0, int(y[i, j] != 0), exceeded[i, j]] += w[i, j]
    return state


def _matrix(y: Array, p: Array, w: Array, *, classes: float, ignored: float, whole: float) -> Array:
    """From class numbers, one a weight."""
    n = int(classes)
    state = np.zeros((n, n))
    for target, predicted, weight in zip(y.flat, p.flat, w.flat, strict=True):
        pair = [math.trunc(each) if whole else each for each in (target, predicted)]
        if all(0 <= each < n for each in pair) and int(target) != ignored:
            state[int(target), int(predicted)] += math.trunc(weight) if whole else weight
    return state


def _class_matrix(y: Array, p: Array, w: Array, *, threshold: float, **row: float) -> Array:
    return _matrix(y, p if math.isnan(threshold) else (p >= threshold) * 1.0, w, **row)


def _f_score(y: Array, p: Array, w: Array, *, threshold: float) -> Array:
    largest = (p >= p.max(-1, keepdims=True)) & (np.abs(p) > 1e-9)
    positive = p > threshold if threshold else largest
    return np.array([(w * each).sum(0) for each in (positive, y, positive * y)])


def _r2_score(y: Array, p: Array, w: Array) -> Array:
    sums = [(w * each).sum(0) for each in (y, y * y, (y - p) ** 2, np.ones(y.shape))]
    return np.append(np.array(sums), y.size)


# name: the state after rows of targets, predictions, and weights of each prediction
TALLIES: dict[str, Callable[..., Array]] = {
    "confusion": _confusion,
    "even_confusion": lambda y, p, w, **row: _confusion(y, p, w, even=True, **row),
    "class_matrix": _class_matrix,
    "one_hot_matrix": lambda y, p, w, **row: _matrix(
        y.argmax(-1) * 1.0, p.argmax(-1) * 1.0, w[:, 0], **row
    ),
    "number_matrix": lambda y, p, w, **row: _matrix(y, p.argmax(-1) * 1.0, w[:, 0], **row),
    "f_score": _f_score,
    "r2_score": _r2_score,
}

# ----------------------------------------------------------------------------------- optimizers
# One step each: weight w, gradient g, slots by name (updated in place), step t = 1, 2 ...,
# rate lr, hyper-parameters by name. The new weight is returned.

Slots = dict[str, Array]


def _sgd(w: Array, g: Array, slots: Slots, t: int, lr: float) -> Array:
    return w - lr * g


def _sgd_momentum(w: Array, g: Array, slots: Slots, t: int, lr: float, momentum: float) -> Array:
    slots["momentum"] = momentum * slots["momentum"] - lr * g
    return w + slots["momentum"]


def _sgd_nesterov(w: Array, g: Array, slots: Slots, t: int, lr: float, momentum: float) -> Array:
    slots["momentum"] = momentum * slots["momentum"] - lr * g
    return w + momentum * slots["momentum"] - lr * g


def _adam_rate(t: int, lr: float, beta_1: float, beta_2: float) -> float:
    return lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)


def _adam_moments(slots: Slots, g: Array, beta_1: float, beta_2: float) -> None:
    slots["momentum"] = slots["momentum"] + (g - slots["momentum"]) * (1 - beta_1)
    slots["velocity"] = slots["velocity"] + (g * g - slots["velocity"]) * (1 - beta_2)


def _adam(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    _adam_moments(slots, g, beta_1, beta_2)
    rate = _adam_rate(t, lr, beta_1, beta_2)
    return w - rate * slots["momentum"] / (np.sqrt(slots["velocity"]) + epsilon)


def _adam_amsgrad(
    w: Array,
    g: Array,
    slots: Slots,
    t: int,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Array:
    _adam_moments(slots, g, beta_1, beta_2)
    slots["velocity_hat"] = np.maximum(slots["velocity_hat"], slots["velocity"])
    rate = _adam_rate(t, lr, beta_1, beta_2)
    return w - rate * slots["momentum"] / (np.sqrt(slots["velocity_hat"]) + epsilon)


OPTIMIZERS: dict[str, Callable[..., Array]] = {
    "sgd": _sgd,
    "sgd_momentum": _sgd_momentum,
    "sgd_nesterov": _sgd_nesterov,
    "adam": _adam,
    "adam_amsgrad": _adam_amsgrad,
}

OPTIMIZER_HYPERS: dict[str, dict[str, float]] = {
    "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adam_amsgrad": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
}

# ----------------------------------------------------------------------------------- tolerances
# Relative to float64, for float32 results; numerics.md in docs/ has their reasons.

ACTIVATION_RTOL, ACTIVATION_ATOL = 2e-6, 1e-7
SLOPE_RTOL, SLOPE_ATOL = 2e-5, 1e-6
LOSS_RTOL, LOSS_ATOL = 2e-6, 1e-6
METRIC_RTOL, METRIC_ATOL = 2e-6, 1e-6
UPDATE_RTOL, UPDATE_ATOL = 1e-5, 1e-7
