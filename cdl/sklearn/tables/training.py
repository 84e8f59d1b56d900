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
from cdl.sklearn.tables.columns import columns_of, numbered, plain_numbers
from cdl.sklearn.tables.nets import Host, Net, Task
from cdl.sklearn.tables.recipes import Recipe
from cdl.sklearn.tables.table import Encoded, RowReader, Table
from cdl.sklearn.tables.watching import Best
from cdl.sklearn.thread_share import shared_threads

Array = NDArray[Any]


class Course(NamedTuple):
    """Course of the training of a net.

    Attributes:
        task: what targets are.
        seed: of weights, dropout and the order of rows.
        verbose: as in `fit` of models.
        callbacks: of the user.
        nets: takes up the net once it is compiled.
        hosts: idle ones by the form of their bags; None for one bag, whose net trains itself.
    """

    task: Task
    seed: int
    verbose: int
    callbacks: list[Callback]
    nets: list[Any]
    hosts: dict[Any, list[Host]] | None = None


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


def trained(
    recipe: Recipe,
    table: Table,
    rows: Rows,
    validation: Encoded | None,
    score: Callable[[Array], float],
    course: Course,
) -> Trained:
    """Net trained by a recipe; what it draws is drawn from the seed.

    Args:
        recipe: with the arguments of the estimator that replace its constants.
        table: that the inputs come from.
        rows: for training.
        validation: inputs for validation, or None.
        score: of predictions for these, the larger the better.
        course: task, seed, and who watches.
    """
    task, seed, hosts = course.task, course.seed, course.hosts

    def built() -> Net:
        with seeded(seed):
            return nets.built(recipe, table, outputs, task)

    with seeded(seed), shared_threads():
        random = np.random.RandomState(seed)
        outputs = len(task.quantiles) if task.quantiles else rows.targets.shape[1]
        inputs, n = given(rows.inputs), len(rows.targets)
        steps = math.ceil(n / recipe.batch) * recipe.epochs
        owners = table.owners()[0].tobytes() if task.signs else b""
        form = recipe, steps, outputs, table.widths, table.embedded, owners
        net = built()
        idle = [] if hosts is None else hosts.setdefault(form, [])
        try:
            host = idle.pop()  # at once: bags train on several threads
        except IndexError:
            host = Host(net if hosts is None else built(), recipe, task, steps)
        else:
            host.load(net, n)
        own = host.net
        if recipe.realmlp:
            host.begin(inputs, random)
        course.nets.append(own.trained)
        keeps = None
        if validation is not None:
            keeps = Best(own.predicts, score, given(validation), recipe.patience)
        history = own.trained.fit(
            inputs,
            rows.targets,
            sample_weight=rows.weight,
            batch_size=recipe.batch,
            epochs=recipe.epochs,
            callbacks=[*([] if keeps is None else [keeps]), *course.callbacks],
            verbose=course.verbose,
        ).history
        losses = [float(each) for each in history["loss"]]
        weights = own.predicts.get_weights() if keeps is None else keeps.weights
        assert weights is not None
        net.predicts.set_weights(weights)
        if np.isfinite(losses).all():  # else the core may keep its NaN
            idle.append(host)
        if keeps is None:
            return Trained(net.predicts, len(losses) - 1, [], losses)
        return Trained(net.predicts, keeps.best, keeps.scores, losses)


def given(inputs: Encoded) -> list[Array]:
    """Inputs that a net has, in the order of its inputs."""
    return [each for each in inputs if each.shape[1]]


def outputs_of(table: Table, net: Trained, rows: Any) -> Array:
    """Outputs of a bag's net for rows, columns or an array of numbers, in float64."""
    inputs: Any = table.of_numbers(rows) if isinstance(rows, np.ndarray) else None
    if inputs is not None:
        return run_net(net, [inputs])
    return run_net(net, given(table.transform(rows if isinstance(rows, list) else numbered(rows))))


def mean_outputs(estimator: Any, x: Any, readers: list[RowReader], bags: list[Trained]) -> Array:
    """Means of the bags' outputs for rows X, in float64."""
    values = estimator._row_values(x)
    if values is not None:
        found: list[Array] = []
        for reader, net in zip(readers, bags, strict=True):
            if (inputs := reader(values)) is None:
                break
            found.append(nets.run_row(net.model, inputs).astype(np.float64))
        else:
            return mean(found)
    rows: Any = plain_numbers(estimator, x)
    rows = columns_of(estimator, x, False) if rows is None else rows
    each_bag = zip(readers, bags, strict=True)
    return mean([outputs_of(reader.table, net, rows) for reader, net in each_bag])


def mean(outputs: list[Array]) -> Array:
    """Mean of the bags' outputs."""
    return outputs[0] if len(outputs) == 1 else np.asarray(np.mean(outputs, axis=0))


def run_net(net: Trained, inputs: list[Array]) -> Array:
    """Outputs of a net for its inputs, in float64."""
    with shared_threads():
        return nets.run(net.model, inputs).astype(np.float64)
