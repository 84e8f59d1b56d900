"""Companions of a fit: the best epoch, callbacks of users, and the state before an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cdl._common.validation import expected
from cdl.callbacks import Callback
from cdl.sklearn.tables.scoring import Shown

Array = NDArray[Any]


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
        score = self._score(self._predicts.predict(self._inputs, verbose=0))
        self.scores.append(score)
        if isinstance(logs, dict):
            logs["val_score"] = score
        if self.weights is None or score > self.scores[self.best]:
            self._first = epoch
        if self.weights is None or score >= self.scores[self.best]:
            self.best, self.weights = epoch, self._predicts.get_weights()
        if self._patience is not None and epoch - self._first >= self._patience:
            self.model.stop_training = True


class Watched(NamedTuple):
    """Arguments of `fit` about the epochs.

    Attributes:
        eval_set: rows for validation.
        eval_metric: score of epochs by a name of LightGBM's.
        callbacks: of cdl, or written for LightGBM.
    """

    eval_set: Any
    eval_metric: Any
    callbacks: Any


class Evaluation(NamedTuple):
    """Score of an epoch, under the names of LightGBM's.

    Attributes:
        dataset_name: "valid_0".
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


class Environment(NamedTuple):
    """Argument of LightGBM's callbacks.

    Attributes:
        model: the net.
        params: none.
        iteration: number of the epoch, from 0.
        begin_iteration: 0.
        end_iteration: epochs at most.
        evaluation_result_list: the score on rows for validation, if there are any.
    """

    model: Any
    params: dict[str, Any]
    iteration: int
    begin_iteration: int
    end_iteration: int
    evaluation_result_list: list[Evaluation]


class _Called(Callback):
    """Caller of functions that are written for LightGBM, behind each epoch."""

    def __init__(self, functions: Iterable[Callable[..., Any]], shown: Shown) -> None:
        super().__init__()
        self._functions = sorted(functions, key=lambda each: getattr(each, "order", 0))
        self._shown = shown

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Call each function; what LightGBM's early stopping raises ends training."""
        score = (logs or {}).get("val_score")
        shown = [] if score is None else [Evaluation("valid_0", *self._shown(score))]
        given = Environment(self.model, {}, epoch, 0, self.params["epochs"], shown)
        for each in self._functions:
            try:
                each(given)
            except Exception as error:
                if type(error).__name__ != "EarlyStopException":
                    raise
                self.model.stop_training = True


def as_callbacks(owner: str, given: Any, bags: int, shown: Shown) -> list[Callback]:
    """Callbacks of `fit`: those of cdl, and functions of LightGBM's environment.

    Args:
        owner: what messages begin with.
        given: a list of both, one of them, or None.
        bags: nets that are trained.
        shown: name, value and direction of a score.

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
    return own + ([_Called(functions, shown)] if functions else [])
