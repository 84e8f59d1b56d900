"""Tabular: base of TabularClassifier and TabularRegressor, from a frame to trained nets."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import Hinting, name_plainly
from cdl._common.validation import expected, flag, number, one_of, positive_int, whole
from cdl.sklearn.bags import trained_bags
from cdl.sklearn.base import sample_weights, summable
from cdl.sklearn.tables import exporting, scoring, splits, watching
from cdl.sklearn.tables.columns import (
    Column,
    columns_of,
    is_missing,
    plain_labels,
)
from cdl.sklearn.tables.contributions import (
    Contributions,
    Mixtures,
    background_of,
    contributions,
    joined,
)
from cdl.sklearn.tables.nets import Task, signs_of
from cdl.sklearn.tables.recipes import MOST_FLAGS, OF_TREES, RECIPES, Recipe
from cdl.sklearn.tables.row_values import RowValues
from cdl.sklearn.tables.table import RowReader, Table
from cdl.sklearn.tables.training import (
    Course,
    Rows,
    Trained,
    mean,
    mean_outputs,
    outputs_of,
    run_net,
    trained,
)
from cdl.sklearn.tables.watching import EvalSets, Scores, Watched
from cdl.sklearn.tables.whole import Bag
from cdl.sklearn.versions import BaseEstimator

Array = NDArray[Any]

_BACKGROUND = 100  # rows that explanations compare with
_KEPT = 2000  # rows for validation that are kept for importances


class Tabular(BaseEstimator, Hinting, watching.Told):
    """Base of the two estimators; a subclass has the form of targets and the score.

    Args:
        recipe: "realmlp" (Holzmüller, Grinsztajn and Steinwart, 2024), "tabm" (Gorishniy,
            Kotelnikov and Babenko, 2024) or "mlp"; None in what follows is the recipe's constant.
        hidden_layer_sizes: units of the hidden layers.
        learning_rate: of Adam, the largest one of a schedule.
        weight_decay: of kernels, times the rate.
        dropout: behind each hidden layer.
        n_members: of TabM.
        batch_size: rows of a step.
        max_epochs: epochs, with early stopping at most.
        patience: epochs without a better validation score until the end.
        early_stopping: whether a part of the rows, or `eval_set`, tells the best epoch, whose
            weights are kept.
        validation_fraction: that part, up to 0.5.
        text: "refuse" for an error that names columns of text, "hash" to count their words in 64
            columns.
        random_state: an int, a RandomState, or None for NumPy's.
        n_jobs: bags that are trained at a time, as of joblib; None for one a core.
        verbose: 1 for a bar an epoch, 2 for a line; 0 for neither, or with several bags.
    """

    recipe: str
    hidden_layer_sizes: Any
    learning_rate: float | None
    weight_decay: float | None
    dropout: float | None
    n_members: int | None
    batch_size: int | None
    max_epochs: int | None
    patience: int | None
    early_stopping: bool
    validation_fraction: float
    scoring: Any
    n_bags: int
    text: str
    random_state: Any
    n_jobs: int | None
    verbose: int
    monotone: Any

    _classes = False  # whether targets are classes
    _names_elsewhere = OF_TREES

    _signs: dict[int, int]
    _tables: list[Table]
    _trained: list[Trained]
    _readers: list[RowReader]
    _row_values: RowValues
    _held_out: list[tuple[list[Column], Array, Array | None]]
    _importances: Array | None

    # Methods of subclasses

    def _task(self) -> Task:
        return Task(self._classes, None, self._signs)

    def _after(self, bags: list[tuple[Table, Trained, Any]]) -> None:
        """Learn from bags and the rows that they were validated on."""

    def _targets(self, y: Any) -> Array:
        """Labels as numbers of classes, or numbers in columns; their kind is stored."""
        raise NotImplementedError

    def _learn_targets(self, y: Array, weight: Array | None) -> None:
        """Learn from targets what predictions need."""

    def _known_targets(self, y: Any) -> Array:
        """Targets of other rows, by what is stored."""
        raise NotImplementedError

    def _for_loss(self, y: Array, weight: Array | None) -> Array:
        """Targets as the loss takes them, of rows for training."""
        raise NotImplementedError

    def _score_of(self, scorer: Any, outputs: Array, y: Array, weight: Array | None) -> float:
        """Score of a net's outputs, the larger the better; by its own if the scorer is None."""
        raise NotImplementedError

    def _final(self, outputs: Array) -> Array:
        """Prediction of `explain`, from the mean of the bags' outputs, as (rows, outputs)."""
        raise NotImplementedError

    def _finish(self, outputs: Any) -> Any:
        """Prediction from the mean of the bags' outputs, on symbolic tensors."""
        raise NotImplementedError

    def _class_weights(self, y: Array) -> Array | None:
        return None

    def _groups(self, y: Array) -> Array | None:
        """Numbers of classes, by which rows are split, or None."""
        return None

    # Fitting

    def _fit(self, X: Any, y: Any, sample_weight: Any, watched: Watched) -> Self:
        """Train on rows X with targets y; see `fit` of the subclasses."""
        with watching.kept_on_error(self):
            return self._fit_all(X, y, sample_weight, watched)

    def _fit_all(self, X: Any, y: Any, sample_weight: Any, watched: Watched) -> Self:
        owner = type(self).__name__
        recipe = self._checked(watched.eval_set)
        metrics = scoring.chosen(owner, watched.eval_metric, self.scoring, self._classes)
        self._scoring = metrics[0].scorer
        if watched.eval_metric and watched.eval_set is None and not self.early_stopping:
            raise ValueError(
                f"{owner}: eval_metric={watched.eval_metric!r} needs rows to score epochs by: give "
                "eval_set, or early_stopping=True"
            )
        columns = columns_of(self, X, True, ensure_min_samples=2)
        watching.warn_of_order(owner, X, y=y, sample_weight=sample_weight)
        codes = self._targets(self._checked_y(y, len(columns[0].values)))
        self._signs = self._checked_signs(columns)
        weight = self._weights(sample_weight, codes)
        columns, codes, weight = splits.canonical(columns, codes, weight)
        self._learn_targets(codes, weight)
        outside = watching.eval_sets(self, watched, (X, y, sample_weight))
        scores = [Scores(metrics, outside) for _ in range(self.n_bags)]
        callbacks = watching.as_callbacks(owner, watched.callbacks, self.n_bags, scores[0])
        if self.n_bags > len(codes):
            raise ValueError(
                f"{owner}: n_bags must be at most the number of rows that differ, got "
                f"{self.n_bags} for n_samples = {len(codes)}"
            )
        from sklearn.utils import check_random_state

        random = check_random_state(self.random_state)
        folds = self._folds(codes, random)
        seeds = random.randint(2**31 - 1, size=self.n_bags).tolist()

        nets: list[Any] = []
        hosts: dict[Any, list[Any]] | None = {} if self.n_bags > 1 else None

        def bag(number: int) -> tuple[Table, Trained, Any]:
            inside = np.ones(len(codes), bool)
            sets = outside
            if sets is None and self.early_stopping:
                inside = folds != number
                # Where each class has one row alone, these tell the best epoch.
                held = _rows(columns, codes, weight, inside if inside.all() else ~inside)
                sets = EvalSets([watching.HELD_OUT], [held])
            elif self.n_bags > 1:  # a bag of the rows drawn with replacement needs no validation
                inside = folds != number
            part = columns, codes, weight, np.flatnonzero(inside)
            verbose = int(self.verbose) if self.n_bags == 1 else 0
            course = Course(self._task(), int(seeds[number]), verbose, callbacks, nets, hosts)
            found = self._one(recipe, part, (sets, scores[number]), course)
            return *found, sets.rows[sets.first] if sets else None

        found = trained_bags(bag, self.n_bags, self.n_jobs, nets)
        self._tables, self._trained = [each[0] for each in found], [each[1] for each in found]
        self._read_rows()
        self._after(found)
        self._held_out = [_few(held, _KEPT // self.n_bags) for *_, held in found if held]
        self.models_ = [each.model for each in self._trained]
        self.best_epochs_ = [each.best_epoch for each in self._trained]
        self.validation_scores_ = [each.scores for each in self._trained]
        self.loss_curves_ = [each.losses for each in self._trained]
        self.evals_result_ = scores[0].by_name()
        self._importances = None
        return self

    def _weights(self, given: Any, y: Array) -> Array | None:
        """Weights of rows, times those of their classes."""
        owner = type(self).__name__
        weight, by_class = sample_weights(owner, given, len(y)), self._class_weights(y)
        if by_class is None:
            return weight
        with np.errstate(over="ignore"):
            weight = by_class if weight is None else weight * by_class
        if not weight.any() or not np.isfinite(weight).all():
            raise ValueError(
                f"{owner}: class_weight must leave a row with a weight above 0, and none that is "
                f"infinite, got weights of {weight.min()} to {weight.max()}"
            )
        return summable(weight)

    def _read_rows(self) -> None:
        """Make readers of single rows."""
        self._readers = [RowReader(each) for each in self._tables]
        names = getattr(self, "feature_names_in_", None)
        self._row_values = RowValues(names, self.n_features_in_)

    def _one(
        self, recipe: Recipe, part: Any, judged: tuple[Any, Scores], course: Course
    ) -> tuple[Table, Trained]:
        """Table and net of a bag."""
        columns, codes, weight, at = part
        codes, weight = codes[at], None if weight is None else weight[at]
        owner, (sets, scores) = type(self).__name__, judged
        table = Table(owner, MOST_FLAGS, recipe.scaling, self.text)
        rows = Rows(
            table.fit(columns, course.seed, at).transform(columns, at),
            self._for_loss(codes, weight),
            None if weight is None else (weight / weight.mean()).astype(np.float32),
        )
        recipe = dataclasses.replace(recipe, batch=min(recipe.batch, len(codes)))
        validation = None if sets is None else sets.encoded(table)

        def score(outputs: Array) -> float:
            scorers = [partial(self._score_of, each.scorer) for each in scores.metrics]
            scores.epochs.append([sets.scores(outputs, each) for each in scorers])
            found: float = scores.epochs[-1][0][sets.first]
            if math.isnan(found) and np.isfinite(outputs).all():
                raise ValueError(
                    f"{owner}: scoring must give a number on the rows for validation, got nan: "
                    f"these may lack a class that {self._scoring!r} needs"
                )
            return found

        result = trained(recipe, table, rows, validation, score, course)
        if not all(np.isfinite(each).all() for each in result.model.get_weights()):
            raise ValueError(
                f"{owner}: training ended with weights that are not finite: give a smaller "
                "learning_rate"
            )
        return table, result

    def _folds(self, codes: Array, random: np.random.RandomState) -> Array:
        """Fold of each row; that of a bag's number is left out of its training."""
        groups = self._groups(codes)
        if self.n_bags == 1:
            return splits.parted(len(codes), self.validation_fraction, groups, random)
        n = max(self.n_bags, round(1.0 / self.validation_fraction))
        return splits.folds(len(codes), min(n, len(codes)), groups, random)

    def _checked(self, eval_set: Any) -> Recipe:
        """Recipe with the parameters that replace its constants, all checked."""
        owner = type(self).__name__
        one_of(owner, "recipe", self.recipe, tuple(RECIPES))
        one_of(owner, "text", self.text, ("refuse", "hash"))
        flag(owner, "early_stopping", self.early_stopping)
        positive_int(owner, "n_bags", self.n_bags)
        number(owner, "validation_fraction", self.validation_fraction, above=0.0, high=0.5)
        if self.n_jobs is not None and not whole(owner, "n_jobs", self.n_jobs):
            raise expected(owner, "n_jobs", "an int that is not 0, or None", self.n_jobs)
        if not isinstance(self.verbose, int | np.integer) or self.verbose not in (0, 1, 2):
            raise expected(owner, "verbose", "0, 1 or 2", self.verbose)
        if isinstance(self.scoring, str):
            from sklearn.metrics import get_scorer_names

            one_of(owner, "scoring", self.scoring, get_scorer_names())
        elif self.scoring is not None and not callable(self.scoring):
            what = "a scorer's name, a function of (estimator, X, y), or None"
            raise expected(owner, "scoring", what, self.scoring)
        recipe = RECIPES[self.recipe][0 if self._classes else 1]
        changes: dict[str, Any] = {}
        if self.hidden_layer_sizes is not None:
            sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes, object)).tolist()
            changes["hidden"] = tuple(
                positive_int(owner, "hidden_layer_sizes", each) for each in sizes
            )
        for name, field in (
            ("max_epochs", "epochs"),
            ("batch_size", "batch"),
            ("patience", "patience"),
        ):
            if getattr(self, name) is not None:
                changes[field] = positive_int(owner, name, getattr(self, name))
        if self.n_members is not None:
            changes["members"] = positive_int(owner, "n_members", self.n_members)
            if not recipe.members:
                raise expected(owner, "n_members", "None but with recipe='tabm'", self.n_members)
        if self.learning_rate is not None:
            changes["rate"] = number(owner, "learning_rate", self.learning_rate, above=0.0)
        if self.weight_decay is not None:
            changes["weight_decay"] = number(owner, "weight_decay", self.weight_decay, low=0.0)
        if self.dropout is not None:
            changes["dropout"] = number(owner, "dropout", self.dropout, 0.0, below=1.0)
        return dataclasses.replace(recipe, **changes)

    def _checked_signs(self, columns: list[Column]) -> dict[int, int]:
        return signs_of(type(self).__name__, self.monotone, columns)

    def _checked_y(self, y: Any, rows: int) -> Array:
        """Targets as an array, one or more for each row."""
        from sklearn.utils import check_array, check_consistent_length, column_or_1d

        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        y = plain_labels(y)
        is_array = getattr(getattr(y, "dtype", None), "kind", "") == "O"
        objects = np.ravel(y) if is_array else y if isinstance(y, list | tuple) else ()
        if any(map(is_missing, objects)):
            raise ValueError(
                f"{type(self).__name__}: y must have a target for each row, got missing ones, such "
                "as None or NaN"
            )
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_consistent_length(np.empty(rows), y)
        return np.asarray(y)

    # Predictions

    def _outputs(self, x: Any) -> Array:
        """Means of the bags' outputs for rows, in float64."""
        if not hasattr(self, "_tables"):
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(self)
        return mean_outputs(self, x, self._readers, self._trained)

    def explain(self, X: Any, background: Any = None) -> Contributions:
        """Contributions of columns to each prediction: interventional Shapley values.

        A column's is what the prediction changes as the row's value replaces those of the
        background, averaged over all ways in which other columns are replaced before: exactly if
        at most 12 columns differ, else over two orders by chance for each row of the background.
        Classifiers' are of probabilities, regressors' of `predict`. Correlated columns are mixed as
        if they were not (Lundberg and Lee, 2017; Janzing, Minorics and Blöbaum, 2020).

        Args:
            X: rows to explain, as of `fit`.
            background: rows to compare with; None takes at most 100 of those for validation.

        Returns:
            The contributions, `values` and `base`.

        Raises:
            ValueError: a background without rows; none, and no rows for validation in `fit`.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        if background is not None:
            behind = background_of(self, background)
        elif self._held_out:
            behind = _few(self._held_out[0], _BACKGROUND)[0]
        else:
            raise ValueError(
                f"{type(self).__name__}: explain: background must be rows where fit had none for "
                "validation, got None"
            )

        def run(inputs: list[Any]) -> Array:
            pairs = zip(self._trained, inputs, strict=True)
            return self._final(mean([run_net(*each) for each in pairs]))

        rows = columns_of(self, X, False)
        found = contributions(Mixtures(self._tables, run, rows, behind), len(rows))
        if self._classes or getattr(self, "_has_columns", False):
            return found
        return Contributions(found.values[..., 0], found.base[0])

    def _contributed(self, X: Any) -> Array:
        """Contributions and the mean prediction of each row, as `predict` of LightGBM has them."""
        found = self.explain(X)
        if self._classes and found.values.shape[2] == 2:
            found = Contributions(found.values[..., 1], found.base[1])
        return joined(found)

    def export(self, filepath: Any) -> None:
        """Write what is predicted to a file that takes columns as they are, by its suffix.

        `.keras` is for `cdl.saving.load_model`, and `.onnx` for its runtimes: an input a column, of
        its name (with _ for / in `.keras`), float32 or strings of shape (rows, 1). `.c` and the
        header beside it have one array with a number a column, a category as its code, which a
        function of theirs tells. A column of dates is four numbers, its days since 1970, month (0
        to 11), day of the week (Monday is 0) and hour. A missing number is NaN, a missing category
        "" or any unknown one.
        Outputs are those of `predict_proba`, `predict` or `predict_quantiles`, a column each, but
        for columns that float32 rounds by 1e-4 of their deviation, such as seconds since 1970.

        Args:
            filepath: the file.

        Raises:
            ValueError: another suffix, text="hash" with such columns, or scales beyond float32.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        given = getattr(self, "feature_names_in_", [""] * self.n_features_in_)
        names = [str(name) or f"column {i}" for i, name in enumerate(given)]
        bags = [Bag(*pair) for pair in zip(self._tables, self._trained, strict=True)]
        exporting.export(type(self).__name__, filepath, names, bags, self._finish)

    @property
    def feature_importances_(self) -> Array:
        """Importance of each column: what the validation score loses when its values are permuted.

        The mean of five permutations, on at most 2,000 rows for validation: of each bag's net on
        rows that it was not trained on.

        Raises:
            AttributeError: not fitted, or fitted without rows for validation.
        """
        if not getattr(self, "_held_out", None):
            raise AttributeError(
                f"{type(self).__name__} has feature_importances_ after a fit with rows for "
                "validation: early_stopping=True or eval_set"
            )
        if self._importances is None:
            bags = zip(self._tables, self._trained, self._held_out, strict=True)
            self._importances = np.mean([self._importances_of(*bag) for bag in bags], axis=0)
        return self._importances.copy()

    def _importances_of(self, table: Table, net: Trained, held: Any) -> Array:
        columns, y, weight = held
        random = np.random.RandomState(0)
        score = partial(self._score_of, self._scoring)
        whole = score(outputs_of(table, net, columns), y, weight)
        found = np.zeros(len(columns))
        for i, column in enumerate(columns):
            for _ in range(5):
                mixed = [*columns]
                mixed[i] = column.rows(random.permutation(len(column.values)))
                found[i] += (whole - score(outputs_of(table, net, mixed), y, weight)) / 5
        return found

    def _more_tags(self) -> dict[str, Any]:
        return {"allow_nan": True, "X_types": ["2darray", "string", "categorical"]}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: missing values, texts and categories are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _rows(columns: list[Column], y: Array, weight: Array | None, at: Array) -> Any:
    return (
        [each.rows(at) for each in columns],
        y[at],
        None if weight is None else weight[at],
    )


def _few(held: Any, most: int) -> Any:
    """At most a number of the rows, evenly spaced, since they may be sorted."""
    columns, y, weight = held
    kept = min(len(y), max(most, 1))
    return _rows(columns, y, weight, np.arange(kept) * len(y) // kept)


name_plainly(Tabular)
