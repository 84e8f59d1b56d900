"""Compiled: the arguments of `compile`, resolved once shapes are known.

Keras decides by the shapes of targets and output which accuracy 'accuracy' means, and which
crossentropy 'crossentropy' means. So `compile` checks all that needs no shapes, and the first data
settle the rest, once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl import losses, metrics, optimizers, tree
from cdl._common.naming import FreeNames
from cdl.trainers.compile_arguments import (
    OutputSpec,
    PartLoss,
    leaves,
    output_specs,
    part_losses,
)
from cdl.trainers.signature import Info, Shape

RAW = "raw"


class Logged(NamedTuple):
    """Metric under its name in the logs."""

    name: str
    metric: Any
    weighted: bool  # whether sample and class weights count
    held: bool  # whether the user has the object too, and may ask it for its result
    output: int  # number of the output that it is about; negative if traced code shows it values
    traced: Any = None  # what the core runs instead of a metric of the user's, if it can
    untraced: Any = None  # why it cannot

    @property
    def runs(self) -> Any:
        """Metric, or its traced form, that accumulates values."""
        return self.metric if self.traced is None else self.traced

    @property
    def key(self) -> int | str:
        """Key of the metric among the reports of a program."""
        return self.name if self.output >= 0 else self.output


def plain_value(value: Any) -> Any:
    """Value of a metric in logs: a float, or an array for several numbers."""
    return float(value) if np.ndim(value) == 0 else value


class OutputLoss(NamedTuple):
    """Loss of an output, which may have several of them."""

    loss: Any
    scale: float  # by which it counts in the whole loss
    output: int  # number of the output
    logged: str | None  # the name of its own value in the logs, where there are several losses
    names: Any = None  # of a loss of several outputs: these, nested; `output` is then the first

    @property
    def is_whole(self) -> bool:
        """Whether the whole loss is this one: of the first output alone, and counted once."""
        return self.scale == 1.0 and self.output == 0 and self.logged is self.names is None


class Target(NamedTuple):
    """Losses and metrics that read the targets of an output."""

    losses: tuple[Any, ...]  # of this output
    readers: tuple[tuple[str, str], ...]  # name and form of y: "values", "classes", "labels" ...
    in_python: bool  # whether some of them are the user's Python
    needs_raw_y: bool  # whether the shape of a row of y matters: to Python code, or to labels

    def ignores_y(self) -> bool:
        """Whether losses read the targets, but none uses them."""
        return len(self.losses) == len(self.readers) > 0 and all(
            getattr(loss, "ignores_targets", False) for loss in self.losses
        )


# Arguments of `compile` that losses and metrics follow from.
_RESOLVED = ("loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly")


class Resolved(NamedTuple):
    """Loss and metrics as objects, and their needs."""

    losses: tuple[OutputLoss, ...]  # of all outputs, in the order in which they are listed
    targets: tuple[Target, ...]  # one an output
    metrics: tuple[Logged, ...]
    needs_raw_y: bool  # whether that is so of some output
    repeated: dict[str, int]  # names in the logs that losses of one output share: how many do
    eager: bool = False  # whether code of the user's is to see the numbers of each batch
    given: Any = None  # arguments of `compile`, by name

    def is_of(self, given: Mapping[str, Any]) -> bool:
        """Whether it follows from the same losses and metrics."""
        return all(each is self.given[name] for name, each in given.items() if name in _RESOLVED)


class Compiled:
    """Arguments of `compile`, checked.

    Args:
        given: the arguments by name, as they came.
        names: the names of the model's outputs, None if they are not known yet.
        nest: the names, nested as the model puts out.
        custom_loss: whether the model has a `compute_loss` of its own.
        scales: whether the optimizer is to scale the loss.

    Attributes:
        optimizer: the Optimizer.
        has_optimizer: whether one was given; without one nothing is trained.
        scales: whether it is to scale the loss, for layers of float16.
        has_loss: whether there is a loss for some output.
        has_metrics: whether there are metrics for some output.
        reads_targets: whether there is either.
        resolved: loss and metrics as objects, None until the first data.
        has_run: whether code of the user's has run in a batch that came to its end.
        told_not_finite: whether it has been said why the loss is not finite.
        lost: kind, path and value of weights that were not finite before the last run of training.
        unlooked: whether weights may have been set since they were last looked at.
        passed: what is known of data of some shapes and dtypes; see data_adapter.
        chains: of the model's own steps; see chains/step_chains.
        stamps: the weights and their versions when they were last finite, or looked at; or None.
    """

    def __init__(
        self,
        given: dict[str, Any],
        names: Sequence[str] | None,
        nest: Any = None,
        custom_loss: bool = False,
        scales: bool = False,
    ) -> None:
        self.given = given
        self.custom_loss, self.scales = custom_loss, scales
        self.has_optimizer = given["optimizer"] is not None
        self.optimizer: Any = optimizers.get(given["optimizer"] if self.has_optimizer else "sgd")
        one = isinstance(self.optimizer, optimizers.LossScaleOptimizer)
        if scales and not one:
            self.optimizer = optimizers.LossScaleOptimizer(
                self.optimizer, name="loss_scale_optimizer"
            )
        self._specs: tuple[OutputSpec, ...] | None = None
        self._parts: list[PartLoss] = []
        if names is not None:
            self.specs(names, nest)
        self.resolved: Resolved | None = None
        self.has_run = False
        self.told_not_finite = False
        self.lost: list[tuple[str, str, str]] = []
        self.unlooked = False
        self.stamps: tuple[list[Any], list[int]] | None = None
        self.passed: dict[Any, Any] = {}
        self.variables: list[Any] | None = None  # what training changes, once it has begun
        self.chains: Any = None  # StepChains, once a step of the model's own has run
        self._check_names()

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy: all but this process's stamps of weights."""
        return {**vars(self), "stamps": None, "passed": {}, "chains": None}

    def _check_names(self) -> None:
        """Check for unknown names now, before the first data."""
        given, of_metrics = leaves(self.given["loss"]), leaves(self.given["metrics"])
        of_metrics += leaves(self.given["weighted_metrics"])
        self.has_loss, self.has_metrics = bool(given), bool(of_metrics)
        self.reads_targets = self.has_loss or self.has_metrics
        for identifier in given:
            if not _by_shape(identifier):
                losses.get(identifier)
        for identifier in of_metrics:
            if isinstance(identifier, str) and not _by_shape(identifier):
                metrics.get(identifier)

    def specs(self, names: Sequence[str], nest: Any = None) -> tuple[OutputSpec, ...]:
        """Losses and metrics by output; ValueError if they do not fit the outputs' names."""
        if self._specs is None:
            self._specs = output_specs(self.given, names, nest)
            self._parts = part_losses(self.given, names, nest)
            self.custom_loss = self.custom_loss or bool(self._parts)
        return self._specs

    def resolve(
        self, outputs: Sequence[Info], y_shapes: Sequence[Shape], nest: Any = None
    ) -> Resolved:
        """Loss and metrics for these shapes; a kept result of the first call is final.

        Args:
            y_shapes: of the targets for each of them, batch axis included.
            nest: their names, nested as the model puts out.
        """
        if self.resolved is not None:
            return self.resolved
        specs = self.specs([info.name for info in outputs], nest)
        eager = self.given["run_eagerly"]
        shapes = list(zip(y_shapes, [info.shape for info in outputs], strict=True))
        found = [
            [losses.resolve(loss, *shapes[i], not eager) for loss, _ in each.losses]
            for i, each in enumerate(specs)
        ]
        logged_metrics = _logged_metrics(specs, outputs, shapes, eager)
        several = sum(map(len, found)) + len(self._parts) > 1
        listed: list[OutputLoss] = []
        for i in _order(outputs, self.given["loss"], nest):
            for loss, (_, scale) in zip(found[i], specs[i].losses, strict=True):
                name = outputs[i].name if outputs[i].has_name else loss.name  # others may have it
                listed.append(OutputLoss(loss, scale, i, f"{name}_loss" if several else None))
        places = {info.name: i for i, info in enumerate(outputs)}
        for part in self._parts:
            first = places[tree.flatten(part.names)[0]]
            logged = part.logged if several else None
            whole = OutputLoss(part.loss, part.scale, first, logged, part.names)
            listed.insert(part.place, whole)
        by_output: list[list[Logged]] = [[] for _ in found]
        for metric in logged_metrics:
            by_output[metric.output].append(metric)
        targets = []
        for each, of_output in zip(found, by_output, strict=True):
            readers = [_reader("loss", loss.name, loss, losses) for loss in each]
            readers += [_reader("metric", m.name, m.runs, metrics) for m in of_output]
            wants = {want for _, want in readers}
            shaped = not wants.isdisjoint((RAW, "labels", "traced"))
            targets.append(Target(tuple(each), tuple(readers), RAW in wants, shaped))
        shaped = any(each.needs_raw_y for each in targets)
        counts = Counter(each.logged for each in listed if each.logged is not None)
        repeated = {name: count for name, count in counts.items() if count > 1}
        parts = tuple(listed), tuple(targets), tuple(logged_metrics), shaped, repeated
        return Resolved(*parts, eager, self.given)


def _order(outputs: Sequence[Info], given: Any, nest: Any) -> list[int]:
    """Outputs in the order of their losses: Keras goes by a dict of losses for one of outputs."""
    if not isinstance(nest, dict) or not isinstance(given, Mapping):
        return list(range(len(outputs)))
    numbers = {info.name: i for i, info in enumerate(outputs)}
    keys = [*(key for key in given if key in nest), *(key for key in nest if key not in given)]
    return [numbers[name] for key in keys for name in tree.flatten(nest[key])]


def _logged_metrics(
    specs: Sequence[OutputSpec],
    outputs: Sequence[Info],
    shapes: Sequence[tuple[Shape, Shape]],
    eager: bool,
) -> list[Logged]:
    """All metrics in Keras's order: the unweighted ones of all outputs, then the weighted."""
    found: list[Logged] = []
    names = FreeNames("loss")
    for weighted in (False, True):
        for i, each in enumerate(specs):
            front = outputs[i].of_metrics
            if front is None:
                front = outputs[i].name if len(outputs) > 1 and outputs[i].has_name else ""
            front = f"{front}_" if front else ""
            for identifier in each.weighted if weighted else each.metrics:
                metric = metrics.resolve(identifier, *shapes[i], not eager)
                other = f"{front}weighted_{metric.name}" if weighted else ""
                name = names.take(f"{front}{metric.name}", other)
                held = isinstance(identifier, metrics.Metric)
                nothing = None, None
                traced, untraced = nothing if eager else metrics.with_states(metric, *shapes[i])
                untraced = untraced or getattr(metric, "untraced", None)
                found.append(Logged(name, metric, weighted, held, i, traced, untraced))
    return found


def _reader(kind: str, name: str, thing: Any, module: Any) -> tuple[str, str]:
    return f"{kind} {name!r}", thing.wants if module.is_compiled(thing) else RAW


def _by_shape(identifier: Any) -> bool:
    """Whether a name's meaning depends on shapes."""
    return isinstance(identifier, str) and identifier.lower() in (
        "accuracy",
        "acc",
        "crossentropy",
        "ce",
    )
