"""TabularRegressor: numbers for rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl import ops
from cdl._common.errors import hinted
from cdl._common.validation import expected, flag
from cdl.sklearn.parameters import keep
from cdl.sklearn.tables import scoring
from cdl.sklearn.tables.nets import Task
from cdl.sklearn.tables.tabular import Tabular
from cdl.sklearn.tables.watching import Watched
from cdl.sklearn.tables.whole import in_float32
from cdl.sklearn.versions import RegressorMixin, available_if

Array = NDArray[Any]


def _has_quantiles(estimator: Any) -> bool:
    """Whether an estimator was given quantiles."""
    return estimator.quantiles is not None


class TabularRegressor(RegressorMixin, Tabular):
    """Regressor of tables as they come, by a net with the recipe of RealMLP, TabM or a plain MLP.

    Columns are read as `TabularClassifier` does. Targets are standardized for training, and
    predictions are kept within those that it saw. y may have several columns.

    Args:
        scoring: of the epochs, as of `TabularClassifier`; None is minus the mean squared error of
            standardized targets.
        n_bags: nets, whose predictions are averaged.
        monotone: as of `TabularClassifier`; each target and quantile is so.
        quantiles: ascending numbers between 0 and 1, such as (0.05, 0.5, 0.95), to learn in place
            of the mean, for `predict_quantiles`; they do not cross. `predict` gives the one that is
            nearest to 0.5, and epochs are compared by the loss of all. For one target.

    Attributes:
        models_: the nets, one a bag, which give standardized targets.
        best_epochs_: the epoch whose weights each has.
        validation_scores_: scores of each by epoch.
        loss_curves_: losses of each by epoch.
        evals_result_: {name of rows: {name of score: values by epoch}} of the first net.
        best_iteration_: number of its epoch, from 1.
        best_score_: {name of rows: {name of score: value}} in that epoch.
        feature_importances_: by permutation, on rows for validation of each net.
        n_features_in_: columns of X.
        feature_names_in_: their names, if X had names.
    """

    quantiles: Sequence[float] | None

    def __init__(
        self,
        recipe: str = "realmlp",
        *,
        hidden_layer_sizes: Any = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        dropout: float | None = None,
        n_members: int | None = None,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        patience: int | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        scoring: Any = None,
        n_bags: int = 1,
        text: str = "refuse",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        monotone: Any = None,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        keep(locals())

    _quantiles: tuple[float, ...] | None
    _mean: Array
    _deviation: Array
    _range: tuple[Array, Array]

    @hinted
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_set: Any = None,
        *,
        eval_names: Any = None,
        eval_metric: Any = None,
        callbacks: Any = None,
    ) -> Self:
        """Train on rows X with targets y.

        Args:
            X: frame of pandas, Polars or PyArrow, or an array: numbers, booleans, dates and
                categories, any of which may be missing.
            y: a target for each row.
            sample_weight: a weight for each row; 2 is the same as the row twice.
            eval_set: rows that each epoch is scored on, in place of a part of the rows: a pair
                (X, y), (X, y, weights), or a list of these, the first of which tells the best
                epoch. A pair of the X and y of `fit` themselves is never asked before others.
            eval_names: a name for each pair; None is "valid_0", "valid_1" and so on by place, and
                "training" for the X and y of `fit`.
            eval_metric: score of the epochs by its name in LightGBM, such as "mae", in place
                of `scoring`, or a list of names, the first of which tells the best epoch.
            callbacks: callbacks of cdl, and functions that take LightGBM's environment after each
                epoch, such as its `early_stopping(20)` and `log_evaluation(10)`. Not with bags.

        Raises:
            ValueError: a parameter or data that do not fit.
        """
        return self._fit(X, y, sample_weight, Watched(eval_set, eval_names, eval_metric, callbacks))

    def predict(self, X: Any, *, pred_contrib: bool = False) -> Array:
        """Prediction for each row, with a column for each target if y had columns.

        Args:
            X: rows, as of `fit`; one row also as a dict of values by the names of columns.
            pred_contrib: whether to give what `explain` does as LightGBM gives it: (rows, columns +
                1), contributions, and the mean prediction in the last column; of several targets
                these blocks side by side.
        """
        if flag("TabularRegressor", "pred_contrib", pred_contrib):
            return self._contributed(X)
        return self._as_targets(self._outputs(X))

    @available_if(_has_quantiles)
    def predict_quantiles(self, X: Any) -> Array:
        """Quantiles for each row, of shape (rows, quantiles)."""
        outputs = self._outputs(X)
        if self._quantiles is None:
            raise ValueError("TabularRegressor: quantiles must be given before fit, got None in it")
        return self._in_units(outputs)

    def _task(self) -> Task:
        return Task(False, self._quantiles, self._signs)

    def _checked_quantiles(self) -> tuple[float, ...] | None:
        if self.quantiles is None:
            return None
        given = self.quantiles if isinstance(self.quantiles, Sequence | np.ndarray) else ()
        inside = len(given) > 0 and all(isinstance(each, float | np.floating) for each in given)
        if not inside or not (np.diff(given, prepend=0.0, append=1.0) > 0).all():
            what = "ascending numbers between 0 and 1"
            raise expected("TabularRegressor", "quantiles", what, self.quantiles)
        return tuple(map(float, given))

    def _as_targets(self, outputs: Array) -> Array:
        y = self._in_units(outputs)
        if self._quantiles is not None:
            found: Array = y[:, np.abs(np.asarray(self._quantiles) - 0.5).argmin()]
            return found
        return y if self._has_columns else y[:, 0]

    def _final(self, outputs: Array) -> Array:
        return self._as_targets(outputs).reshape(len(outputs), -1)

    def _in_units(self, outputs: Array) -> Array:
        """Outputs in the units of y, within its range."""
        low, high = self._range
        if outputs.size == 1:  # which plain numbers take faster
            number = outputs.item() * self._deviation.item() + self._mean.item()
            return np.array([[min(max(number, low.item()), high.item())]])
        y: Array = np.minimum(np.maximum(outputs * self._deviation + self._mean, low), high)
        return y

    def _targets(self, y: Array) -> Array:
        found = self._numbers(y)
        self._has_columns = found.ndim == 2
        self._quantiles = self._checked_quantiles()
        if self._quantiles is not None and self._has_columns:
            raise expected("TabularRegressor", "y", "one target with quantiles", found.shape)
        return found

    def _learn_targets(self, y: Array, weight: Array | None) -> None:
        columns = y.reshape(len(y), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            self._mean = np.average(columns, 0, weight)
            around = columns - self._mean
        if not np.isfinite(around).all():
            raise ValueError(
                "TabularRegressor: y must have a range and a sum that float64 holds, got numbers "
                f"from {columns.min()} to {columns.max()}"
            )
        most = np.maximum(np.abs(around).max(0), np.finfo(np.float64).tiny)
        deviation = most * np.sqrt(np.average(np.square(around / most), 0, weight))
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        self._range = columns.min(0), columns.max(0)

    def _numbers(self, y: Array) -> Array:
        if y.dtype.kind in "mM":
            raise ValueError(
                f"TabularRegressor: y must be numbers, got {y.dtype}: give seconds or days since "
                "some date"
            )
        if y.dtype.kind not in "biuf":
            try:
                return y.astype(np.float64)
            except (TypeError, ValueError, OverflowError):
                first = y.ravel().tolist()[0]
                raise ValueError(
                    f"TabularRegressor: y must be numbers, got {y.dtype} with {first!r}"
                ) from None
        return y.astype(np.float64)

    def _known_targets(self, y: Array) -> Array:
        found = self._numbers(y)
        if found.shape[1:] != (self._mean.shape if self._has_columns else ()):
            raise ValueError(
                "TabularRegressor: y of eval_set must have the columns of y, got shape "
                f"{found.shape}"
            )
        return found

    def _finish(self, outputs: Any) -> Any:
        facts = in_float32("TabularRegressor", "y", self._deviation, self._mean, *self._range)
        deviation, mean, low, high = facts
        return ops.clip(outputs * deviation + mean, low, high)

    def _for_loss(self, y: Array, weight: Array | None) -> Array:
        columns = y.reshape(len(y), -1)
        found: Array = ((columns - self._mean) / self._deviation).astype(np.float32)
        return found

    def _score_of(self, scorer: Any, outputs: Array, y: Array, weight: Array | None) -> float:
        if scorer is None:
            wrong = self._for_loss(y, None) - outputs
            if self._quantiles is None:
                wrong = np.square(wrong)
                wrong = wrong[:, 0] if wrong.shape[1] == 1 else wrong.mean(1)
            else:
                q = np.asarray(self._quantiles)
                wrong = np.maximum(q * wrong, (q - 1) * wrong).mean(1)
            return -float(wrong.mean() if weight is None else np.average(wrong, weights=weight))
        told = scoring.Numbers(self._as_targets(outputs.astype(np.float64)))
        return scoring.score(scorer, told, y, weight)

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "multioutput": True}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: also several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
