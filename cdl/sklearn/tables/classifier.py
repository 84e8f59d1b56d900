"""TabularClassifier: classes of rows of a table."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl import ops
from cdl._common.errors import hinted
from cdl._common.validation import expected, flag
from cdl.layers import Softmax
from cdl.sklearn.parameters import keep
from cdl.sklearn.tables import scoring
from cdl.sklearn.tables.columns import Column
from cdl.sklearn.tables.recipes import Recipe
from cdl.sklearn.tables.tabular import Tabular
from cdl.sklearn.tables.training import outputs_of
from cdl.sklearn.tables.watching import Watched
from cdl.sklearn.versions import ClassifierMixin

Array = NDArray[Any]


class TabularClassifier(ClassifierMixin, Tabular):
    """Classifier of tables as they come, by a net with the recipe of RealMLP, TabM or a plain MLP.

    Numbers are scaled; booleans and categories of up to nine values have a flag each, larger ones
    embeddings; dates become days, months, days of the week and hours; a missing number becomes the
    median, with a flag. A category that `fit` has not seen, or seen once, is like none. Text is
    refused by the column's name.

    Args:
        scoring: of the epochs: a name of scikit-learn's scorers, or a function of (estimator, X,
            y) whose estimator knows the predictions for y, and whose X is empty; None is the
            accuracy.
        n_bags: nets, whose probabilities are averaged; each leaves out another part of the rows.
        monotone: {column: 1} for predictions that never fall as this number rises while all others
            stay, -1 for such that never rise, by names or numbers of columns, or a sign for each
            column: of two classes the probability of the second.
        class_weight: {label: weight}, "balanced", or None.
        calibrate: whether the logarithms of probabilities are divided by a temperature, that of the
            smallest log loss on rows for validation (Guo, Pleiss, Sun and Weinberger, 2017). These
            rows chose the epoch too; `sklearn.calibration.CalibratedClassifierCV` around the
            estimator sets others apart.

    Attributes:
        classes_: the labels, sorted.
        models_: the nets, one a bag, which give probabilities.
        temperature_: what `calibrate` found; else 1.
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

    class_weight: Any
    calibrate: bool

    _classes = True

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
        class_weight: Any = None,
        calibrate: bool = False,
    ) -> None:
        keep(locals())

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
        """Train on rows X with labels y.

        Args:
            X: frame of pandas, Polars or PyArrow, or an array: numbers, booleans, dates and
                categories, any of which may be missing.
            y: a label for each row, of any dtype.
            sample_weight: a weight for each row; 2 is the same as the row twice.
            eval_set: rows that each epoch is scored on, in place of a part of the rows: a pair
                (X, y), (X, y, weights), or a list of these, the first of which tells the best
                epoch. A pair of the X and y of `fit` themselves is never asked before others.
            eval_names: a name for each pair; None is "valid_0", "valid_1" and so on by place, and
                "training" for the X and y of `fit`.
            eval_metric: score of the epochs by its name in LightGBM, such as "auc", in place
                of `scoring`, or a list of names, the first of which tells the best epoch.
            callbacks: callbacks of cdl, and functions that take LightGBM's environment after each
                epoch, such as its `early_stopping(20)` and `log_evaluation(10)`. Not with bags.

        Raises:
            ValueError: a parameter or data that do not fit.
        """
        return self._fit(X, y, sample_weight, Watched(eval_set, eval_names, eval_metric, callbacks))

    def predict(self, X: Any, *, pred_contrib: bool = False) -> Array:
        """Most probable label of each row.

        Args:
            X: rows, as of `fit`; one row also as a dict of values by the names of columns.
            pred_contrib: whether to give what `explain` does as LightGBM gives it: (rows, columns +
                1), contributions to the probability of the second of two classes, and its mean in
                the last column; of more classes these blocks side by side. LightGBM's are of
                logits.
        """
        if flag("TabularClassifier", "pred_contrib", pred_contrib):
            return self._contributed(X)
        outputs = self._outputs(X)
        labels: Array = self.classes_[outputs.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class, in the order of `classes_`."""
        return self._final(self._outputs(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the probabilities of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def _final(self, outputs: Array) -> Array:
        return _tempered(outputs, self.temperature_)

    def _checked(self, eval_set: Any) -> Recipe:
        recipe = super()._checked(eval_set)
        calibrate = flag("TabularClassifier", "calibrate", self.calibrate)
        if calibrate and eval_set is None and not self.early_stopping:
            raise ValueError(
                "TabularClassifier: calibrate=True needs rows for validation: early_stopping=True "
                "or eval_set"
            )
        return recipe

    def _targets(self, y: Array) -> Array:
        from sklearn.utils.multiclass import check_classification_targets

        if y.ndim != 1:
            raise ValueError(
                f"TabularClassifier: y must be a label for each row, got shape {y.shape}: use "
                "sklearn.multioutput.MultiOutputClassifier for several"
            )
        y = _of_one_kind(y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "TabularClassifier: y must have two classes or more, got one class, "
                f"{self.classes_.tolist()[0]!r}"
            )
        return codes

    def _checked_signs(self, columns: list[Column]) -> dict[int, int]:
        found = super()._checked_signs(columns)
        if found and len(self.classes_) > 2:
            what = f"None with more than two classes, {len(self.classes_)}"
            raise expected("TabularClassifier", "monotone", what, self.monotone)
        return found

    def _known_targets(self, y: Array) -> Array:
        if y.ndim != 1:
            what = "a label for each row"
            raise expected("TabularClassifier", "y of eval_set", what, f"shape {y.shape}")
        y = _of_one_kind(y)
        new = np.setdiff1d(y, self.classes_)
        if len(new):
            raise ValueError(
                f"TabularClassifier: y of eval_set must be of the classes "
                f"{self.classes_.tolist()}, got {new.tolist()[:5]}"
            )
        return np.searchsorted(self.classes_, y)

    def _class_weights(self, y: Array) -> Array | None:
        if self.class_weight is None:
            return None
        from sklearn.utils.class_weight import compute_sample_weight

        weight: Array = compute_sample_weight(self.class_weight, self.classes_[y])
        if not (np.isfinite(weight) & (weight >= 0)).all():
            what = "finite numbers of at least 0 by label"
            raise expected("TabularClassifier", "class_weight", what, self.class_weight)
        return weight

    def _groups(self, y: Array) -> Array | None:
        return y

    def _after(self, bags: Any) -> None:
        self.temperature_ = 1.0
        if not self.calibrate:
            return
        from scipy.optimize import minimize_scalar

        outputs = [outputs_of(table, net, held[0]) for table, net, held in bags]
        codes = np.concatenate([held[1] for *_, held in bags])
        weights = [held[2] for *_, held in bags]
        weight = None if weights[0] is None else np.concatenate(weights)
        found = np.concatenate(outputs)

        def loss(logarithm: float) -> float:
            p = _tempered(found, np.exp(logarithm))[np.arange(len(codes)), codes]
            return -float(np.average(np.log(np.maximum(p, 1e-300)), weights=weight))

        best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
        self.temperature_ = float(np.exp(best.x))

    def _finish(self, outputs: Any) -> Any:
        if self.temperature_ == 1.0:
            return outputs
        return Softmax()(ops.log(ops.maximum(outputs, 1e-37)) / self.temperature_)

    def _for_loss(self, y: Array, weight: Array | None) -> Array:
        return np.eye(len(self.classes_), dtype=np.float32)[y]

    def _score_of(self, scorer: Any, outputs: Array, y: Array, weight: Array | None) -> float:
        if scorer is None:
            return float(np.average(outputs.argmax(1) == y, weights=weight))
        told = scoring.Classes(self.classes_, outputs)
        return scoring.score(scorer, told, self.classes_[y], weight)


def _of_one_kind(y: Array) -> Array:
    """Labels, in an array of numbers or truth values if all objects are such."""
    if y.dtype.kind != "O" or all(isinstance(each, str) for each in y):
        return y
    plain = np.array(y.tolist()) if all(isinstance(each, Real | np.bool_) for each in y) else y
    if plain.dtype.kind != "O":  # as that of fractions and of integers above 64 bits
        return plain
    kinds = sorted({type(each).__name__ for each in y})
    raise ValueError(
        "TabularClassifier: y must be labels of one kind, strings, numbers of NumPy or truth "
        f"values, got {', '.join(kinds)}: y.astype(str) makes strings of them"
    )


def _tempered(probabilities: Array, temperature: float) -> Array:
    """Probabilities whose logarithms are divided by a temperature."""
    if temperature == 1.0:
        if len(probabilities) == 1:  # whose sum Python has in half of the time
            return np.asarray(probabilities / sum(probabilities[0].tolist()))
        plain: Array = probabilities / np.add.reduce(probabilities, 1, keepdims=True)
        return plain
    logits = np.log(np.maximum(probabilities, 1e-45)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: Array = powers / powers.sum(1, keepdims=True)
    return found
