"""Scores of epochs by scikit-learn's scorers, from predictions that are there already."""

from __future__ import annotations

import copy
import inspect
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, one_of
from cdl.sklearn.versions import BaseEstimator, ClassifierMixin, RegressorMixin

Array = NDArray[Any]

METRICS = {
    True: {
        "accuracy": "accuracy",
        "auc": "roc_auc_ovr",  # of two classes that of the second
        "average_precision": "average_precision",
        "binary_error": "accuracy",
        "binary_logloss": "neg_log_loss",
        "multi_error": "accuracy",
        "multi_logloss": "neg_log_loss",
    },
    False: {
        "l1": "neg_mean_absolute_error",
        "l2": "neg_mean_squared_error",
        "mae": "neg_mean_absolute_error",
        "mape": "neg_mean_absolute_percentage_error",
        "mse": "neg_mean_squared_error",
        "rmse": "neg_root_mean_squared_error",
    },
}
"""Scorers of scikit-learn by LightGBM's names of metrics: of classes, and of numbers."""


class Shown(NamedTuple):
    """Form of a score for callbacks: its name, offset and sign.

    Attributes:
        name: of the score.
        offset: of the value.
        sign: of the score in it, 1 where a larger value is better, else -1.
    """

    name: str
    offset: float = 0.0
    sign: int = 1

    def __call__(self, score: float) -> tuple[str, float, bool]:
        """Name, value, and whether a larger one is better."""
        return self.name, self.offset + self.sign * score, self.sign > 0


class Metric(NamedTuple):
    """Score of epochs.

    Attributes:
        scorer: a name or function of scikit-learn's; None is the estimator's own score.
        shown: form in which it is told.
    """

    scorer: Any
    shown: Shown


def chosen(owner: str, metric: Any, scoring: Any, classes: bool) -> list[Metric]:
    """Scores of epochs, from names of LightGBM's or else `scoring`; the first one chooses.

    Raises:
        ValueError: another metric.
    """
    if metric is not None:
        if callable(metric):
            what = "names of LightGBM's; scoring takes a function of (estimator, X, y)"
            raise expected(owner, "eval_metric", what, metric)
        several = metric if isinstance(metric, list | tuple) and len(metric) else [metric]
        names = [one_of(owner, "eval_metric", name, tuple(METRICS[classes])) for name in several]
        return [_named(name, METRICS[classes][name]) for name in dict.fromkeys(names)]
    if scoring is None:
        return [Metric(None, Shown("accuracy") if classes else Shown("loss", 0.0, -1))]
    named = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    if named.startswith("neg_"):
        return [Metric(scoring, Shown(named.removeprefix("neg_"), 0.0, -1))]
    return [Metric(scoring, Shown(named))]


def _named(name: str, scorer: str) -> Metric:
    """Score by its name in LightGBM."""
    if name.endswith("_error"):
        return Metric(scorer, Shown(name, 1.0, -1))
    return Metric(scorer, Shown(name, 0.0, -1 if scorer.startswith("neg_") else 1))


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
    found = scorer(told, np.zeros((len(y), 1)), y, **more)
    if np.ndim(found) or not isinstance(found, Real | np.bool_):
        raise TypeError(f"scoring must give a number, got {found!r} of {scoring!r}")
    return float(found)
