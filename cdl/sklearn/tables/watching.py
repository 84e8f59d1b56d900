"""Companions of a fit: rows that epochs are scored on, callbacks, and the state before an error."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected
from cdl.callbacks import Callback
from cdl.sklearn.base import sample_weights
from cdl.sklearn.tables import nets
from cdl.sklearn.tables.columns import Column, columns_of
from cdl.sklearn.tables.scoring import Metric
from cdl.sklearn.tables.table import Encoded, Table

Array = NDArray[Any]

HELD_OUT = "valid_0"
"""Name of the rows that `fit` sets apart."""


class Watched(NamedTuple):
    """Arguments of `fit` about the epochs.

    Attributes:
        eval_set: rows for validation.
        eval_names: of these.
        eval_metric: score of epochs by a name of LightGBM's.
        callbacks: of cdl, or written for LightGBM.
    """

    eval_set: Any
    eval_names: Any
    eval_metric: Any
    callbacks: Any


class EvalSets(NamedTuple):
    """Sets of rows that each epoch is scored on.

    Attributes:
        names: of the sets.
        rows: columns, targets and weights of each.
        trained: names of those that are trained on.
    """

    names: Sequence[str]
    rows: Sequence[tuple[list[Column], Array, Array | None]]
    trained: Sequence[str] = ()

    @property
    def first(self) -> int:
        """Number of the set that decides the best epoch: the first that is not trained on."""
        return next((i for i, name in enumerate(self.names) if name not in self.trained), 0)

    def encoded(self, table: Table) -> Encoded:
        """Inputs of a net for all sets, one below the other."""
        parts = [table.transform(columns) for columns, *_ in self.rows]
        if len(parts) == 1:
            return parts[0]
        return Encoded(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def scores(self, outputs: Array, score: Callable[..., float]) -> list[float]:
        """Scores of the outputs for `encoded`, a number a set."""
        found, start = [], 0
        for _, y, weight in self.rows:
            found.append(score(outputs[start : start + len(y)], y, weight))
            start += len(y)
        return found


def eval_sets(estimator: Any, watched: Watched, fitted: tuple[Any, ...]) -> EvalSets | None:
    """Sets of `eval_set`, as LightGBM reads it.

    Args:
        estimator: that knows the columns and targets of `fit`.
        watched: whose `eval_set` is a pair (X, y), a triple with weights, a list of these, or None.
        fitted: X, y and weights that are trained on: a pair of these X and y themselves is called
            "training".

    Raises:
        ValueError: something else, or rows that are not like those of `fit`.
    """
    owner = type(estimator).__name__
    given, names = watched.eval_set, watched.eval_names
    if given is None:
        if names is not None:
            raise expected(owner, "eval_names", "None without eval_set", names)
        return None
    several = isinstance(given, list) or (isinstance(given, tuple) and all(map(_is_pair, given)))
    pairs = [*given] if several else [given]
    if not pairs or not all(
        (isinstance(each, tuple) and len(each) in (2, 3)) or _is_pair(each) for each in pairs
    ):
        raise ValueError(
            f"{owner}: eval_set must be a pair (X, y), or a list of pairs, got a "
            f"{type(given).__name__} of {len(pairs)}"
        )
    trains = [x is fitted[0] and y is fitted[1] for x, y, *_ in pairs]
    called = ["training" if train else f"valid_{i}" for i, train in enumerate(trains)]
    if names is not None:
        called = list(names) if isinstance(names, list | tuple) else []
    strings = all(isinstance(each, str) for each in called)
    if not strings or len(set(called)) != len(pairs) or len(called) != len(pairs):
        what = f"a list of {len(pairs)} names that differ, one for each pair of eval_set"
        raise expected(owner, "eval_names", what, names)
    rows = []
    for (x, y, *more), train, name in zip(pairs, trains, called, strict=True):
        weight = more[0] if more else fitted[2] if train else None
        try:
            columns = columns_of(estimator, x, False)
            targets = estimator._known_targets(estimator._checked_y(y, len(columns[0].values)))
            rows.append((columns, targets, sample_weights(owner, weight, len(targets))))
        except (TypeError, ValueError) as error:
            error.add_note(f"eval_set: in the rows of {name!r}")
            raise
    return EvalSets(called, rows, [c for c, train in zip(called, trains, strict=True) if train])


def _is_pair(given: Any) -> bool:
    """Whether a tuple or list is of rows with two axes, targets, and perhaps weights."""
    is_whole = isinstance(given, tuple | list) and len(given) in (2, 3)
    return is_whole and len(getattr(given[0], "shape", ())) == 2


class Evaluation(NamedTuple):
    """Score of an epoch, under the names of LightGBM's.

    Attributes:
        dataset_name: "valid_0", "training", or one of `eval_names`.
        metric_name: name of the score.
        metric_value: its value.
        maximize: whether a larger one is better.
    """

    dataset_name: str
    metric_name: str
    metric_value: float
    maximize: bool

    @property
    def metric_std_dev(self) -> None:
        """Deviation over folds: none."""

    def is_cv_result(self) -> bool:
        """Whether the value is a mean over folds: no."""
        return False


class Scores:
    """Scores of a net's epochs on sets of rows, in the form for callbacks.

    Args:
        metrics: the scores, the first of which tells the best epoch.
        sets: that are scored; None for the rows that `fit` sets apart.

    Attributes:
        metrics: as given.
        epochs: scores of the sets by each metric, a list an epoch.
    """

    def __init__(self, metrics: list[Metric], sets: EvalSets | None) -> None:
        sets = sets or EvalSets([HELD_OUT], [])
        self.metrics, self._names, self._trained = metrics, sets.names, sets.trained
        self.epochs: list[list[list[float]]] = []

    def last(self, stops: bool) -> list[Evaluation]:
        """Scores of the last epoch: all, or those by which it may be the last one of all."""
        if not self.epochs:
            return []
        found = [
            Evaluation(name, *metric.shown(scores[i]))
            for i, name in enumerate(self._names)
            for metric, scores in zip(self.metrics, self.epochs[-1], strict=True)
        ]
        held = [each for each in found if each.dataset_name not in self._trained]
        return held if stops and held else found

    def by_name(self) -> dict[str, dict[str, list[float]]]:
        """Values of all epochs by the names of sets and of the scores."""
        if not self.epochs:
            return {}
        metrics = [*enumerate(metric.shown for metric in self.metrics)]
        return {
            name: {shown.name: [shown(epoch[k][i])[1] for epoch in self.epochs]
                   for k, shown in metrics}
            for i, name in enumerate(self._names)
        }  # fmt: skip


class Told:
    """Mixin: what a fit has found, under the names of LightGBM's."""

    best_epochs_: list[int]
    evals_result_: dict[str, dict[str, list[float]]]

    @property
    def best_iteration_(self) -> int:
        """Number of the epoch whose weights the first net has, from 1."""
        return self.best_epochs_[0] + 1

    @property
    def best_score_(self) -> dict[str, dict[str, float]]:
        """Scores of that epoch by the names of sets of rows and of scores."""
        best = self.best_epochs_[0]
        return {
            name: {score: values[best] for score, values in scores.items()}
            for name, scores in self.evals_result_.items()
        }


def warn_of_order(owner: str, x: Any, **others: Any) -> None:
    """Warn of Series whose labels are those of X in another order, which is not looked at."""
    for name, other in others.items():
        if not (hasattr(x, "iloc") and hasattr(other, "iloc")) or len(x) != len(other):
            continue
        rows, labels = x.index, other.index
        if not rows.equals(labels) and rows.is_unique and set(rows) == set(labels):
            warnings.warn(
                f"{owner}: {name} has the labels of rows of X in another order; rows go together "
                f"by their order, not by labels: {name}.loc[X.index] has that of X",
                UserWarning,
                stacklevel=6,
            )


@contextlib.contextmanager
def kept_on_error(estimator: Any) -> Iterator[None]:
    """Context whose errors leave an estimator with the attributes that it had before."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class Best(Callback):
    """Callback that keeps the last of the best epochs, and ends training by patience.

    Patience counts the epochs since the first one with the best score.
    """

    def __init__(
        self,
        model: Any,
        score: Callable[[Array], float],
        inputs: list[Array],
        patience: int | None,
    ) -> None:
        super().__init__()
        self._predicts, self._score, self._inputs = model, score, inputs
        self._patience = patience
        self.scores: list[float] = []
        self.best = self._first = 0  # the last and the first epoch with the best score
        self.weights: list[Array] | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Score the validation rows."""
        score = self._score(nets.run(self._predicts, self._inputs))
        self.scores.append(score)
        if isinstance(logs, dict):
            logs["val_score"] = score
        if self.weights is None or score > self.scores[self.best]:
            self._first = epoch
        if self.weights is None or score >= self.scores[self.best]:
            self.best, self.weights = epoch, self._predicts.get_weights()
        if self._patience is not None and epoch - self._first >= self._patience:
            self.model.stop_training = True


class Environment(NamedTuple):
    """Argument of LightGBM's callbacks.

    Attributes:
        model: the net.
        params: none.
        iteration: number of the epoch, from 0.
        begin_iteration: 0.
        end_iteration: epochs at most.
        evaluation_result_list: the score on each set of rows, if there are any.
    """

    model: Any
    params: dict[str, Any]
    iteration: int
    begin_iteration: int
    end_iteration: int
    evaluation_result_list: list[Evaluation]


class _Called(Callback):
    """Caller of functions that are written for LightGBM, behind each epoch."""

    def __init__(self, functions: Iterable[Callable[..., Any]], scores: Scores) -> None:
        super().__init__()
        self._functions = sorted(functions, key=lambda each: getattr(each, "order", 0))
        self._scores = scores

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Call each function; what LightGBM's early stopping raises ends training."""
        for each in self._functions:
            shown = self._scores.last(stops=hasattr(each, "stopping_rounds"))
            try:
                each(Environment(self.model, {}, epoch, 0, self.params["epochs"], shown))
            except Exception as error:
                if type(error).__name__ != "EarlyStopException":
                    raise
                self.model.stop_training = True


def as_callbacks(owner: str, given: Any, bags: int, scores: Scores) -> list[Callback]:
    """Callbacks of `fit`: those of cdl, and functions of LightGBM's environment.

    Args:
        given: a list of both, one of them, or None.
        bags: nets that are trained.
        scores: of the epochs.

    Raises:
        ValueError: something else, several bags, or a function that changes parameters between
            epochs.
    """
    if given is None:
        return []
    if bags > 1:
        raise ValueError(
            f"{owner}: callbacks must be None with n_bags > 1, whose nets train at once, got "
            f"n_bags={bags}"
        )
    each = list(given) if isinstance(given, list | tuple) else [given]
    for one in each:
        if isinstance(one, type) or not (callable(one) or isinstance(one, Callback)):
            what = "callbacks of cdl, or functions that take LightGBM's environment"
            raise expected(owner, "callbacks", what, one)
        if getattr(one, "before_iteration", False):
            raise ValueError(
                f"{owner}: callbacks must be such as run behind an epoch, got "
                f"{type(one).__name__}, which changes parameters before one: give learning_rate "
                "to the estimator, whose recipe has a schedule"
            )
    functions = [one for one in each if not isinstance(one, Callback)]
    own = [one for one in each if isinstance(one, Callback)]
    return own + ([_Called(functions, scores)] if functions else [])
