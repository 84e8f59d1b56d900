"""Training loop with early stopping, by the loss or a validation score.

Rules, messages and attributes are those of scikit-learn's MLP (1.9).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.batches import Batches
from cdl.sklearn.mlp import Trainer
from cdl.sklearn.parameters import Settings

_SMALLEST_RATE = 1e-6  # where learning_rate="adaptive" gives up


class Progress:
    """State of an estimator's training beside the weights, kept in its attributes.

    Args:
        estimator: has `loss_curve_`, `best_loss_`, `validation_scores_` and their like.
        settings: its parameters.
    """

    def __init__(self, estimator: Any, settings: Settings) -> None:
        self._of = estimator
        self._settings = settings

    def begin(self) -> None:
        """Reset the state before the first epoch of a net."""
        early = self._settings.early_stopping
        of = self._of
        of.loss_curve_ = []
        of._no_improvement_count = 0
        of.validation_scores_ = [] if early else None
        of.best_validation_score_ = -np.inf if early else None
        of.best_loss_ = None if early else np.inf

    def add(self, loss: float) -> None:
        """Add the loss of an epoch."""
        of = self._of
        of.n_iter_ += 1
        of.loss_ = loss
        of.loss_curve_.append(loss)
        self.say(f"Iteration {of.n_iter_}, loss = {loss:.8f}")

    def compare_loss(self) -> None:
        """Count the epochs in which the loss has not decreased by `tol`."""
        of = self._of
        self._count(not of.loss_ > of.best_loss_ - self._settings.tol)
        of.best_loss_ = min(of.best_loss_, of.loss_)

    def compare_score(self, score: float) -> bool:
        """Count epochs without a better validation score; whether it is the best so far."""
        of = self._of
        of.validation_scores_.append(score)
        self.say(f"Validation score: {score:.6f}")
        best = of.best_validation_score_
        self._count(not score < best + self._settings.tol)
        of.best_validation_score_ = max(best, score)
        return bool(score > best)

    def _count(self, better: bool) -> None:
        self._of._no_improvement_count = 0 if better else self._of._no_improvement_count + 1

    def is_over(self) -> bool:
        """Whether to stop; an adaptive rate is first divided by five, as long as possible."""
        of, settings = self._of, self._settings
        if of._no_improvement_count <= settings.n_iter_no_change:
            return False
        what = "Validation score" if settings.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={settings.tol:f} for "
            f"{settings.n_iter_no_change} consecutive epochs."
        )
        adaptive = settings.solver == "sgd" and settings.learning_rate == "adaptive"
        if not adaptive or of._rate <= _SMALLEST_RATE:
            self.say(f"{message}{' Learning rate too small.' if adaptive else ''} Stopping.")
            return True
        of._rate /= 5.0
        of._no_improvement_count = 0
        self.say(f"{message} Setting learning rate to {of._rate:f}")
        return False

    def say(self, line: str) -> None:
        """Print a line, with `verbose`."""
        if self._settings.verbose:
            print(line)


def run(
    estimator: Any,
    settings: Settings,
    trainer: Trainer,
    batches: Batches,
    x: Any,
    y: Any,
    random: np.random.RandomState,
    *,
    score: Any = None,
    lacking: NDArray[np.float64] | None = None,
    epochs: int | None = None,
) -> None:
    """Train until there is no improvement, or for a number of epochs.

    Args:
        estimator: whose attributes tell of it.
        settings: its parameters.
        trainer: runs the epochs.
        batches: says which rows make which batch.
        x: all rows.
        y: their targets.
        random: shuffles.
        score: gives the score on the rows for validation; None without.
        lacking: for each row what the core's loss lacks.
        epochs: how many, without a warning that they were few; None for `max_iter` at most.
    """
    progress = Progress(estimator, settings)
    model = estimator.model_
    estimator.n_iter_ = 0
    try:
        for _ in range(settings.max_iter if epochs is None else epochs):
            epoch = batches.next_epoch(random)
            loss = trainer.epoch(x, y, batches.size, epoch, estimator._rate, lacking)
            progress.add(loss)
            estimator.t_ += batches.given
            if score is None:
                progress.compare_loss()
            elif progress.compare_score(score()):
                estimator._best_weights = model.get_weights()
            if settings.solver == "sgd" and settings.learning_rate == "invscaling":
                rate = settings.learning_rate_init / (estimator.t_ + 1) ** settings.power_t
                estimator._rate = rate
            if progress.is_over():
                break
        else:
            if epochs is None:
                _warn_not_converged(settings.max_iter)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    if score is not None:
        model.set_weights(estimator._best_weights)


def _warn_not_converged(epochs: int) -> None:
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(
        f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't "
        "converged yet.",
        ConvergenceWarning,
        stacklevel=6,
    )
