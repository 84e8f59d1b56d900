"""The formulas in NumPy float64, by the names of the core's tables.

The tests of kernels, of Python classes and of whole models compare with these. Tolerances stand
at the end, by quantity. A row that is new in a table makes the parametrized tests fail until its
formula stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reference_activations import *  # noqa: F403
from reference_activations import Array, sigmoid
from reference_losses import *  # noqa: F403
from reference_losses import LOSSES
from reference_optimizers import OPTIMIZER_HYPERS, OPTIMIZERS  # noqa: F401

# -------------------------------------------------------------------------------------- metrics


def _in_top_k(classes: Any, p: Array, k: float) -> Array:
    n, classes = p.shape[-1], np.asarray(classes, int)
    at = np.where(classes < 0, classes + n, classes)
    own = np.take_along_axis(p, np.clip(at, 0, n - 1)[..., None], -1)
    own = np.where(((at >= 0) & (at < n))[..., None], own, -np.inf)  # what is no class is last
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
    """The number of n even thresholds below each prediction, in Keras's float32."""
    return np.ceil(np.clip(np.float32(p), 0, 1) * np.float32(n - 1)).astype(int)


def buckets(p: Array, thresholds: Any) -> Any:
    """The number of thresholds below each prediction."""
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
    """The confusion matrix of class numbers, with a weight for each."""
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

# ----------------------------------------------------------------------------------- tolerances
# Relative to float64, for float32 results; numerics.md in docs/ has their reasons.

ACTIVATION_RTOL, ACTIVATION_ATOL = 2e-6, 1e-7
GRADIENT_RTOL, GRADIENT_ATOL = 2e-5, 1e-6
LOSS_RTOL, LOSS_ATOL = 2e-6, 1e-6
METRIC_RTOL, METRIC_ATOL = 2e-6, 1e-6
UPDATE_RTOL, UPDATE_ATOL = 1e-5, 1e-7
