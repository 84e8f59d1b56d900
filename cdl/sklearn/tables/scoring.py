"""Scores of epochs by scikit-learn's scorers, from predictions that are there already."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.versions import BaseEstimator, ClassifierMixin, RegressorMixin

Array = NDArray[Any]


class Classes(ClassifierMixin, BaseEstimator):
    """Classifier that knows the probabilities of some rows."""

    def __init__(self, labels: Array, probabilities: Array) -> None:
        self.labels = self.classes_ = labels
        self.probabilities = probabilities.astype(np.float64)

    def predict(self, X: Any) -> Array:
        """Labels of those rows, whatever X is."""
        labels: Array = self.classes_[self.probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of those rows."""
        found: Array = self.probabilities / self.probabilities.sum(1, keepdims=True)
        return found


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
    of_chances = "predict_proba" in str(getattr(scorer, "_response_method", ""))
    if of_chances and "labels" in inspect.signature(scorer._score_func).parameters:
        # Rows for validation need not have a row of each class.
        scorer = copy.copy(scorer)
        scorer._kwargs = {**scorer._kwargs, "labels": told.classes_}
    return float(scorer(told, np.zeros((len(y), 1)), y, **more))
