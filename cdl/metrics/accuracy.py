"""Accuracy metrics: the fraction of correct predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import flag, number, whole
from cdl.metrics.core_metric import CompiledMetric, ElementMetric
from cdl.metrics.metric import registry


@registry.add()
@with_defaults(name="accuracy")
class Accuracy(ElementMetric):
    """Accuracy: the fraction of predictions that equal their targets as numbers."""

    row = "accuracy"
    _direction = "up"


@registry.add()
class BinaryAccuracy(ElementMetric):
    """Binary accuracy: the fraction of ``y_pred > threshold`` equal to ``y_true``, 0 or 1.

    Args:
        threshold: what a prediction must exceed to count as 1.

    Examples:
        >>> metric = cdl.metrics.BinaryAccuracy(threshold=0.5)
        >>> metric.update_state([1, 0, 1, 1], [0.9, 0.2, 0.3, 0.8])
        >>> float(metric.result())
        0.75
    """

    row = "binary_accuracy"
    _direction = "up"

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name, dtype)
        self.threshold = number("BinaryAccuracy", "threshold", threshold)


@registry.add()
@with_defaults(name="categorical_accuracy")
class CategoricalAccuracy(CompiledMetric):
    """Accuracy with one-hot targets: the fraction of samples whose argmax matches the target's."""

    row = "categorical_accuracy"
    _direction = "up"


@registry.add()
@with_defaults(name="sparse_categorical_accuracy")
class SparseCategoricalAccuracy(CompiledMetric):
    """Accuracy with integer class labels: the fraction of samples whose argmax is the label."""

    row = "sparse_categorical_accuracy"
    _direction = "up"


@registry.add()
class TopKCategoricalAccuracy(CompiledMetric):
    """Top-k accuracy with one-hot targets: the true class is among the k largest predictions.

    It is if at most k - 1 predictions exceed it.

    Args:
        k: how many predictions are looked at.
    """

    row = "top_k_categorical_accuracy"
    _direction = "up"

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)
        self.k = whole("TopKCategoricalAccuracy", "k", k)


@registry.add()
class SparseTopKCategoricalAccuracy(CompiledMetric):
    """Top-k accuracy with integer class labels: the label is among the k largest predictions.

    Args:
        k: how many predictions are looked at.
        from_sorted_ids: whether predictions are class numbers, the likeliest first, not scores.
    """

    _direction = "up"
    _not_in_config = ("from_sorted_ids",)

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        owner = "SparseTopKCategoricalAccuracy"
        self.k = whole(owner, "k", k)
        self.from_sorted_ids = flag(owner, "from_sorted_ids", from_sorted_ids)
        self.row = "among_first_k" if from_sorted_ids else "sparse_top_k_categorical_accuracy"

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "from_sorted_ids": True} if self.from_sorted_ids else config


def binary_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5
) -> NDArray[np.float32]:
    """Binary accuracy of each prediction: 1 where ``y_pred > threshold`` equals `y_true`, else 0.

    Args:
        y_true: targets.
        y_pred: predictions.
        threshold: a prediction above it is a 1.
    """
    return BinaryAccuracy(threshold=threshold).call(y_true, y_pred)


def categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Accuracy of each sample with one-hot targets: 1 if both argmaxes match, else 0.

    Args:
        y_true: targets.
        y_pred: predictions.
    """
    return CategoricalAccuracy().call(y_true, y_pred)


def sparse_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Accuracy of each sample with integer labels: 1 if the argmax is the label, else 0.

    Args:
        y_true: class numbers, of the predictions' shape without the last axis.
        y_pred: predictions.
    """
    return SparseCategoricalAccuracy().call(y_true, y_pred)


def top_k_categorical_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, k: int = 5
) -> NDArray[np.float32]:
    """Top-k accuracy of each sample with one-hot targets: 1 for a hit, else 0.

    Args:
        y_true: targets.
        y_pred: predictions.
        k: how many predictions are looked at.
    """
    return TopKCategoricalAccuracy(k).call(y_true, y_pred)


def sparse_top_k_categorical_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, k: int = 5, from_sorted_ids: bool = False
) -> NDArray[np.float32]:
    """Top-k accuracy of each sample with integer labels: 1 for a hit, else 0.

    Args:
        y_true: class numbers, of the predictions' shape without the last axis.
        y_pred: predictions.
        k: how many predictions are looked at.
        from_sorted_ids: whether predictions are class numbers, the likeliest first.
    """
    metric = SparseTopKCategoricalAccuracy(k, from_sorted_ids=from_sorted_ids)
    return metric.call(y_true, y_pred)
