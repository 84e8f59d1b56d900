"""Training of one net, with the epoch of the best validation score kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl.callbacks import Callback
from cdl.random import seeded
from cdl.sklearn.tables import nets
from cdl.sklearn.tables.nets import Task
from cdl.sklearn.tables.recipes import Recipe
from cdl.sklearn.tables.table import Encoded, Table
from cdl.sklearn.thread_share import shared_threads

Array = NDArray[Any]


class Rows(NamedTuple):
    """Rows for training or validation.

    Attributes:
        inputs: of the net.
        targets: as the loss takes them, of shape (rows, classes or targets).
        weight: of each row, or None.
    """

    inputs: Encoded
    targets: Array
    weight: Array | None


class Trained(NamedTuple):
    """Net that was trained.

    Attributes:
        model: predicts probabilities or numbers.
        best_epoch: whose weights it has, from 0.
        scores: on the rows for validation, by epoch; empty without them.
        losses: on the rows for training, by epoch.
    """

    model: Any
    best_epoch: int
    scores: list[float]
    losses: list[float]


class _Best(Callback):
    """Keeper of the best epoch, which ends training once no epoch has been better for long."""

    def __init__(
        self, model: Any, score: Callable[[Array], float], inputs: list[Array], recipe: Recipe
    ) -> None:
        super().__init__()
        self._predicts, self._score, self._inputs = model, score, inputs
        self._patience = recipe.patience
        self.scores: list[float] = []
        self.best = 0
        self.weights: list[Array] | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Score the validation rows."""
        score = self._score(self._predicts.predict(self._inputs, verbose=0))
        self.scores.append(score)
        if isinstance(logs, dict):
            logs["val_score"] = score
        if self.weights is None or score >= self.scores[self.best]:
            self.best, self.weights = epoch, self._predicts.get_weights()
        elif self._patience is not None and epoch - self.best >= self._patience:
            self.model.stop_training = True


def trained(
    recipe: Recipe,
    table: Table,
    rows: Rows,
    validation: Encoded | None,
    score: Callable[[Array], float],
    task: Task,
    seed: int,
    verbose: int,
) -> Trained:
    """Net trained by a recipe; what it draws is drawn from the seed.

    Args:
        recipe: with the arguments of the estimator that replace its constants.
        table: that the inputs come from.
        rows: for training.
        validation: inputs for validation, or None.
        score: of predictions for these, the larger the better.
        task: what targets are.
        seed: of weights, dropout and the order of rows.
        verbose: as in `fit` of models.
    """
    with seeded(seed), shared_threads():
        random = np.random.RandomState(seed)
        outputs = len(task.quantiles) if task.quantiles else rows.targets.shape[1]
        net = nets.built(recipe, table, outputs, task)
        inputs = given(rows.inputs)
        if recipe.realmlp:
            nets.begin(net, inputs, random)
        steps = math.ceil(len(rows.targets) / recipe.batch) * recipe.epochs
        nets.compiled(net, recipe, task, steps)
        keeps = (
            None if validation is None else _Best(net.predicts, score, given(validation), recipe)
        )
        history = net.trained.fit(
            inputs,
            rows.targets,
            sample_weight=rows.weight,
            batch_size=recipe.batch,
            epochs=recipe.epochs,
            callbacks=[] if keeps is None else [keeps],
            verbose=verbose,
        ).history
        losses = [float(each) for each in history["loss"]]
        if keeps is None:
            return Trained(net.predicts, len(losses) - 1, [], losses)
        assert keeps.weights is not None
        net.predicts.set_weights(keeps.weights)
        return Trained(net.predicts, keeps.best, keeps.scores, losses)


def given(inputs: Encoded) -> list[Array]:
    """Inputs that a net has, in the order of its inputs."""
    return [each for each in inputs if each.shape[1]]
