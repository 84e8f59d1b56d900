"""Conformal: intervals and sets of labels that hold with a given probability."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import Hinting
from cdl._common.validation import expected, number, one_of
from cdl.sklearn.tables.watching import kept_on_error
from cdl.sklearn.versions import BaseEstimator

Array = NDArray[Any]

_METHODS = ("split", "cv+", "prefit")
_FOLDS = 5  # of CV+
_BLOCK = 1 << 22  # differences of CV+ in memory at a time


class Conformal(BaseEstimator, Hinting):
    """Predictions with a set that has the target with probability 1 - alpha, whatever the model.

    The promise is of rows that are exchangeable with those of the calibration, on average over all
    rows: not for each kind of row, and not where data drift. Regressors get intervals: of constant
    width by residuals, or, with `predict_quantiles`, as a `TabularRegressor` with `quantiles` has
    it, alone or last in a Pipeline, between its outer quantiles, moved as needed (CQR; Romano,
    Patterson and Candès, 2019).
    Classifiers get sets of labels, those of probability above a threshold (Sadinle, Lei and
    Wasserman, 2019).

    Args:
        estimator: a regressor or classifier of scikit-learn's kind; it is cloned.
        alpha: the part of targets that may lie outside.
        method: "split" sets rows apart for calibration; "cv+" trains once for each of five folds,
            calibrates on the rows that each left out, and holds with 1 - 2 alpha at least, usually
            with 1 - alpha (Barber, Candès, Ramdas and Tibshirani, 2021), for regressors without
            quantiles; "prefit" takes the estimator as fitted, and calibrates on the rows of `fit`.
        calibration_fraction: the rows that "split" sets apart.
        random_state: of the split; an int, a RandomState, or None.

    Attributes:
        estimator_: the model, fitted; of "cv+" one trained on all rows.
        threshold_: what intervals are widened by, or the least probability in a set.
    """

    def __init__(
        self,
        estimator: Any,
        alpha: float = 0.1,
        method: str = "split",
        calibration_fraction: float = 0.25,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.method = method
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train the estimator, and calibrate it.

        Args:
            X: rows, as the estimator takes them.
            y: a target for each.

        Raises:
            ValueError: a parameter that does not fit, or too few rows for alpha.
        """
        from sklearn.base import is_classifier
        from sklearn.utils import indexable

        number("Conformal", "alpha", self.alpha, above=0.0, below=1.0)
        one_of("Conformal", "method", self.method, _METHODS)
        number("Conformal", "calibration_fraction", self.calibration_fraction, above=0.0, below=1.0)
        if y is None:
            raise ValueError("Conformal requires y to be passed, but the target y is None")
        targets = np.asarray(y)
        if targets.ndim != 1:
            raise expected("Conformal", "y", "one target for each row", targets.shape)
        if not hasattr(self.estimator, "fit") or not hasattr(self.estimator, "predict"):
            what = "a regressor or classifier of scikit-learn's kind"
            raise expected("Conformal", "estimator", what, self.estimator)
        if not is_classifier(self.estimator):
            targets = _finite(targets)
        X, y = indexable(X, y)
        with kept_on_error(self):
            self._calibrate(X, y, targets)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _calibrate(self, X: Any, y: Any, targets: Array) -> None:
        """Fit models and find thresholds."""
        from sklearn.base import clone, is_classifier
        from sklearn.model_selection import train_test_split
        from sklearn.utils.validation import check_is_fitted

        self._models: list[Any] = []
        if self.method == "cv+":
            self._by_folds(X, y, targets)
            return
        if self.method == "prefit":
            if is_classifier(self.estimator):
                check_is_fitted(self.estimator, "classes_")
            self.estimator_, held, wanted = self.estimator, X, targets
        else:
            kept = targets if is_classifier(self.estimator) else None
            a, held, b, wanted = train_test_split(
                X,
                y,
                test_size=self.calibration_fraction,
                random_state=self.random_state,
                stratify=kept,
            )
            self.estimator_ = clone(self.estimator).fit(a, b)
        level = self._level(len(wanted))
        scores = np.sort(self._scores(held, np.asarray(wanted)))
        self.threshold_ = float(scores[level - 1])
        if is_classifier(self.estimator_):
            self.threshold_ = 1.0 - self.threshold_

    def _level(self, rows: int) -> int:
        """Number of the score, in ascending order, that 1 - alpha of them do not exceed."""
        level = math.ceil((rows + 1) * (1.0 - self.alpha))
        if level > rows:
            least = math.ceil(1.0 / self.alpha) - 1
            raise ValueError(
                f"Conformal: alpha={self.alpha} needs at least {least} rows for calibration, got "
                f"{rows}"
            )
        return level

    def _scores(self, x: Any, y: Array) -> Array:
        """Distances of targets from predictions, below 0 within an interval."""
        from sklearn.base import is_classifier

        model = self.estimator_
        if is_classifier(model):
            at = np.searchsorted(model.classes_, y)
            at = np.minimum(at, len(model.classes_) - 1)
            if (model.classes_[at] != y).any():
                raise ValueError("Conformal: y must be of the classes that the estimator knows")
            chances: Array = model.predict_proba(x)[np.arange(len(y)), at]
            return 1.0 - chances
        low, high = self._ends(x)
        wrong: Array = np.maximum(low - y, y - high)
        return wrong

    def _ends(self, x: Any) -> tuple[Array, Array]:
        """Ends of an interval before it is widened."""
        model = _last(self.estimator_)
        if getattr(model, "quantiles", None) is not None:
            if model is not self.estimator_ and len(self.estimator_) > 1:
                x = self.estimator_[:-1].transform(x)
            quantiles = model.predict_quantiles(x)
            return quantiles[:, 0], quantiles[:, -1]
        middle = np.asarray(self.estimator_.predict(x), np.float64)
        return middle, middle

    def _by_folds(self, x: Any, y: Any, targets: Array) -> None:
        from sklearn.base import clone, is_classifier
        from sklearn.model_selection import KFold
        from sklearn.utils import _safe_indexing

        has_quantiles = getattr(_last(self.estimator), "quantiles", None) is not None
        if is_classifier(self.estimator) or has_quantiles:
            what = "'split' or 'prefit' for classifiers and for quantiles"
            raise expected("Conformal", "method", what, self.method)
        self._of_folds = self._level(len(targets))
        if len(targets) < _FOLDS:
            raise ValueError(
                f"Conformal: method='cv+' needs at least {_FOLDS} rows, got n_samples = "
                f"{len(targets)}"
            )
        residuals, folds = np.empty(len(targets)), np.empty(len(targets), int)
        splits = KFold(_FOLDS, shuffle=True, random_state=self.random_state).split(targets)
        for k, (inside, outside) in enumerate(splits):
            model = clone(self.estimator).fit(_safe_indexing(x, inside), _safe_indexing(y, inside))
            predicted = model.predict(_safe_indexing(x, outside))
            residuals[outside], folds[outside] = np.abs(targets[outside] - predicted), k
            self._models.append(model)
        self._residuals, self._folds = residuals, folds
        self.threshold_ = float(np.sort(residuals)[self._of_folds - 1])
        self.estimator_ = clone(self.estimator).fit(x, y)

    def predict(self, X: Any) -> Array:
        """Predictions of the estimator."""
        return np.asarray(self._fitted().predict(X))

    def predict_interval(self, X: Any) -> Array:
        """Lower and upper end for each row, of shape (rows, 2).

        Raises:
            AttributeError: the estimator is a classifier.
        """
        from sklearn.base import is_classifier

        if is_classifier(self._fitted()):
            raise AttributeError("Conformal: a classifier has predict_set, no intervals")
        if self._models:
            return self._intervals_of_folds(X)
        low, high = self._ends(X)
        ends = np.stack([low - self.threshold_, high + self.threshold_], 1)
        # Quantiles that were too far apart are moved together, up to their middle.
        middle = ends.mean(1, keepdims=True)
        return np.where((ends[:, 0] > ends[:, 1])[:, None], middle, ends)

    def predict_set(self, X: Any) -> Array:
        """Labels in the set of each row, as booleans of shape (rows, classes).

        Raises:
            AttributeError: the estimator is no classifier.
        """
        from sklearn.base import is_classifier

        if not is_classifier(self._fitted()):
            raise AttributeError("Conformal: a regressor has predict_interval, no sets")
        found: Array = self.estimator_.predict_proba(X) >= self.threshold_
        return found

    def _intervals_of_folds(self, x: Any) -> Array:
        predicted = np.stack([each.predict(x) for each in self._models])
        n = len(self._residuals)
        level = self._of_folds
        ends = np.empty((predicted.shape[1], 2))
        step = max(1, _BLOCK // n)
        for first in range(0, len(ends), step):
            middle = predicted[self._folds, first : first + step]
            high = np.partition(middle + self._residuals[:, None], level - 1, axis=0)
            low = np.partition(middle - self._residuals[:, None], n - level, axis=0)
            ends[first : first + step] = np.stack([low[n - level], high[level - 1]], 1)
        return ends

    def _fitted(self) -> Any:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "threshold_")
        return self.estimator_

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: X as the estimator takes it."""
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        tags.target_tags.required = True
        return tags


def _last(estimator: Any) -> Any:
    """Model at the end of a Pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _finite(targets: Array) -> Array:
    """Targets of a regressor as numbers."""
    if targets.dtype.kind == "c":
        raise ValueError("Complex data not supported: Conformal: y has complex numbers")
    try:
        found: Array = np.asarray(targets, np.float64)
    except (TypeError, ValueError):
        first = targets.ravel().tolist()[:1]
        raise expected("Conformal", "y", "numbers for a regressor", first) from None
    if not np.isfinite(found).all():
        raise expected("Conformal", "y", "finite numbers", targets[~np.isfinite(found)].tolist()[0])
    return found
