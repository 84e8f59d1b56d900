"""accuracy.py - metrics that count right predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._arguments import number
from cdl.losses.loss import as_array, same_rank
from cdl.metrics.compiled import CompiledMetric
from cdl.metrics.metric import Mean, family

if TYPE_CHECKING:
    from numpy.typing import NDArray


@family.add()
class Accuracy(Mean):
    """How often predictions equal targets, as numbers."""

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            y_true: targets.
            y_pred: predictions, of the same shape.
            sample_weight: an array that fits the values, or None.
        """
        y, p = as_array("Accuracy", "y_true", y_true), as_array("Accuracy", "y_pred", y_pred)
        y, p = same_rank(y, p)
        if y.shape != p.shape:
            raise ValueError(
                f"Accuracy: y_true must have shape {p.shape} to fit the predictions, got {y.shape}"
            )
        super().update_state(np.equal(y, p).astype(np.float32), sample_weight)


@family.add()
class BinaryAccuracy(CompiledMetric):
    """How often ``y_pred > threshold`` is what ``y_true``, 0 or 1, says.

    Args:
        name: of the metric.
        dtype: "float32" or None.
        threshold: what a prediction must exceed to count as 1.
    """

    row = "binary_accuracy"
    _direction = "up"

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name, dtype)
        self.threshold = number("BinaryAccuracy", "threshold", threshold)

    def call(self, y_true: Any, y_pred: Any) -> NDArray[np.float32]:
        """1 for each prediction that is right, 0 for the others."""
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        y, p = same_rank(y, p)
        return super().call(y[..., None], p[..., None])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "threshold": self.threshold}


@family.add()
class CategoricalAccuracy(CompiledMetric):
    """How often the largest prediction is where the largest target is."""

    row = "categorical_accuracy"
    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)


@family.add()
class SparseCategoricalAccuracy(CompiledMetric):
    """How often the largest prediction is that of the target, a class number."""

    row = "sparse_categorical_accuracy"
    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> NDArray[np.float32]:
    """1 where ``y_pred > threshold`` is what `y_true` says, 0 elsewhere."""
    return BinaryAccuracy(threshold=threshold).call(y_true, y_pred)


def categorical_accuracy(y_true: Any, y_pred: Any) -> NDArray[np.float32]:
    """1 for each sample whose largest prediction is where its largest target is, or 0."""
    return CategoricalAccuracy().call(y_true, y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> NDArray[np.float32]:
    """1 for each sample whose largest prediction is that of its class number, or 0."""
    return SparseCategoricalAccuracy().call(y_true, y_pred)
