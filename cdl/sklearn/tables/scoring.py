"""Scores of epochs by scikit-learn's scorers, from predictions that are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.versions import BaseEstimator, ClassifierMixin, RegressorMixin

Array = NDArray[Any]


class Classes(ClassifierMixin, BaseEstimator):
    """Classifier that knows the probabilities of some rows."""

    def __init__(self, labels: Array, probabilities: Array) -> None:
        self.labels = self.classes_ = labels
        self.probabilities = probabilities

    def predict(self, X: Any) -> Array:
        """Labels of those rows, whatever X is."""
        labels: Array = self.classes_[self.probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of those rows."""
        return self.probabilities.astype(np.float64)


class Numbers(RegressorMixin, BaseEstimator):
    """Regressor that knows the predictions for some rows."""

    def __init__(self, predictions: Array) -> None:
        self.predictions = predictions

    def predict(self, X: Any) -> Array:
        """Predictions for those rows, whatever X is."""
        return self.predictions


def score(scoring: Any, told: Any, y: Array, weight: Array | None) -> float:
    """Score of predictions by a scorer's name, or a function of (estimator, X, y)."""
    from sklearn.metrics import get_scorer

    scorer = get_scorer(scoring)
    weighs = weight is not None and hasattr(scorer, "_score_func")
    more = {"sample_weight": weight} if weighs else {}
    return float(scorer(told, np.zeros((len(y), 1)), y, **more))
