"""F scores: weighted harmonic means of precision and recall, by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected, one_of
from cdl.config import epsilon
from cdl.metrics.core_metric import Tally
from cdl.metrics.metric import registry

Array = NDArray[Any]

_STATES = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


@registry.add()
class FBetaScore(Tally):
    """F-beta score of each label: ``(1 + beta^2) precision recall / (beta^2 precision + recall)``.

    Predictions and targets have shape (n, labels); targets are 0 or 1. Each division has epsilon
    (1e-7) added to its divisor.

    Args:
        average: None for one result a label; "micro" counts all labels together, "macro" is the
            mean of the labels' scores, "weighted" that by their positive targets.
        beta: how many times recall counts as much as precision, a float above 0.
        threshold: what a prediction must exceed to be positive, a float above 0 and at most 1.
            None: the largest of a row is positive, and its equals.

    Raises:
        ValueError: an invalid argument.
    """

    _direction = "up"
    row = "f_score"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        owner = type(self).__name__
        if np.dtype(self.dtype).kind != "f":
            raise expected(owner, "dtype", "a float", dtype)
        self.average = one_of(owner, "average", average, (None, "micro", "macro", "weighted"))
        if not isinstance(beta, float) or not beta > 0.0:
            raise expected(owner, "beta", "a float > 0", beta)
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise expected(owner, "threshold", "a float > 0 and <= 1, or None", threshold)
        self.beta = beta
        self.threshold = threshold
        self._labels: int | None = None

    def parameters(self) -> dict[str, float]:
        return {"threshold": self.threshold or 0.0}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check the shape of predictions; the first one makes the variables."""
        if len(shape) != 1:
            raise ValueError(
                f"{type(self).__name__}: y_pred must have shape (n, labels), got {(None, *shape)}"
            )
        if self._labels is None:
            self._labels = shape[0]
            size = () if self.average == "micro" else shape
            self.true_positives, self.false_positives, self.false_negatives, weights = (
                self.add_variable(size, "zeros", self.dtype, name=name) for name in _STATES
            )
            self.intermediate_weights = weights
        elif shape[0] != self._labels:
            raise ValueError(
                f"{type(self).__name__}: y_pred must have {self._labels} columns, got {shape[0]}"
            )

    def sums(self, state: Array) -> Sequence[Array]:
        predicted, targets, hits = state.reshape(3, -1)
        each = [hits, predicted - hits, targets - hits, targets]
        return [values.sum() for values in each] if self.average == "micro" else each

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        y, p = self.of_one_shape(y_true, y_pred)
        self.check_shape(p.shape[1:])
        if sample_weight is not None and np.shape(sample_weight) == (len(p), 1):
            sample_weight = np.reshape(sample_weight, -1)
        self.add(y, p, self.weights_for(sample_weight, p.shape[:1]))

    def result(self) -> Any:
        """The score so far: a number, or one a label."""
        if self._labels is None:
            raise ValueError(f"{type(self).__name__}: no result before the first batch")
        tp, fp, fn, weights = (variable.numpy().astype(np.float64) for variable in self.variables)
        precision, recall = tp / (tp + fp + epsilon()), tp / (tp + fn + epsilon())
        square = self.beta**2
        score = (1 + square) * (precision * recall / (square * precision + recall + epsilon()))
        if self.average == "weighted":
            score = (score * (weights / (weights.sum() + epsilon()))).sum()
        elif self.average is not None:
            score = score.mean()
        return np.float32(score) if score.ndim == 0 else score.astype(np.float32)


@registry.add()
class F1Score(FBetaScore):
    """F1 score of each label: ``2 precision recall / (precision + recall)``."""

    _not_in_config = ("beta",)

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
