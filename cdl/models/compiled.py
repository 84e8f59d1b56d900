"""compiled.py - Compiled: what `compile` was given, and what it comes to once shapes are known.

Keras decides by the shapes of targets and output which accuracy 'accuracy' means, and which
crossentropy 'crossentropy' means. So `compile` checks all that needs no shapes, and the first data
settle the rest, once.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cdl import losses, metrics, optimizers
from cdl.data import brief

Shape = tuple[int | None, ...]
AS_IT_IS = "as it is"


class Reported(NamedTuple):
    """A metric under the name by which it appears in the logs."""

    name: str
    metric: Any
    weighted: bool  # whether sample and class weights count
    held: bool  # whether the user has the object too, and may ask it for its result


class Settled(NamedTuple):
    """Loss and metrics, all known, and what they need."""

    loss: Any | None
    metrics: tuple[Reported, ...]
    readers: tuple[tuple[str, str], ...]  # who reads y, as what: "values", "classes", "labels" ...
    reads_y_as_it_is: bool  # whether the shape of a row of y matters: to Python code, or to labels


class Compiled:
    """The arguments of `compile`, checked.

    Args:
        given: the arguments by name, as they came.
        output_name: the name of the model's one output.

    Attributes:
        optimizer: the Optimizer.
        settled: loss and metrics as objects, None until the first data.
    """

    def __init__(self, given: dict[str, Any], output_name: str) -> None:
        self.given = given
        self.optimizer: Any = optimizers.get(given["optimizer"])
        if self.optimizer is None:
            raise ValueError("compile: optimizer must be a name, config or Optimizer, got None")
        self.loss = _only_one(given["loss"], "compile: loss", output_name, listed=True)
        self.scale = _scale(given["loss_weights"], output_name)
        self.metrics = _listed(given, "metrics", output_name)
        self.weighted_metrics = _listed(given, "weighted_metrics", output_name)
        self.settled: Settled | None = None
        self.variables: list[Any] | None = None  # what training changes, once it has begun
        self._check_names()

    def _check_names(self) -> None:
        """Find unknown names now and not at the first data."""
        if self.loss is not None and not _by_shape(self.loss):
            losses.get(self.loss)
        for identifier in (*self.metrics, *self.weighted_metrics):
            if isinstance(identifier, str) and not _by_shape(identifier):
                metrics.get(identifier)

    def settle(self, y_shape: Shape, output_shape: Shape) -> Settled:
        """Loss and metrics for these shapes; the first call's answer stays if it is kept."""
        if self.settled is not None:
            return self.settled
        loss = None
        if self.loss is not None:
            loss = losses.resolve(self.loss, y_shape, output_shape)
        reported: list[Reported] = []
        names = {"loss"}
        for weighted, identifiers in ((False, self.metrics), (True, self.weighted_metrics)):
            for identifier in identifiers:
                metric = metrics.resolve(identifier, y_shape, output_shape)
                name = _free_name(metric.name, names, "weighted_" if weighted else "")
                names.add(name)
                held = isinstance(identifier, metrics.Metric)
                reported.append(Reported(name, metric, weighted, held))
        readers = [_reader("loss", loss.name, loss, losses)] if loss is not None else []
        readers += [_reader("metric", each.name, each.metric, metrics) for each in reported]
        as_it_is = any(wants in (AS_IT_IS, "labels") for _, wants in readers)
        return Settled(loss, tuple(reported), tuple(readers), as_it_is)


def _reader(kind: str, name: str, thing: Any, module: Any) -> tuple[str, str]:
    return f"{kind} {name!r}", thing.wants if module.is_compiled(thing) else AS_IT_IS


def _by_shape(identifier: Any) -> bool:
    """Whether only shapes tell what a name means."""
    return isinstance(identifier, str) and identifier.lower() in (
        "accuracy",
        "acc",
        "crossentropy",
        "ce",
    )


def _free_name(name: str, taken: set[str], prefix: str) -> str:
    """`name`, with `prefix` if it is taken, then with `_1`, `_2` ... as long as that is taken."""
    if name in taken:
        name = prefix + name
    free, count = name, 0
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _listed(arguments: dict[str, Any], name: str, output_name: str) -> list[Any]:
    """Metrics as a flat list: from a list, a list of one list, or a dict of the one output."""
    given = arguments[name]
    name = f"compile: {name}"
    if given is None:
        return []
    if isinstance(given, Mapping):
        given = _only_one(given, name, output_name)
        if not isinstance(given, (list, tuple)):
            given = [given]
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    for metric in given:
        if not (isinstance(metric, (str, Mapping)) or callable(metric)):
            raise ValueError(f"{name} must hold names, functions or Metrics, got {brief(metric)}")
    return list(given)


def _only_one(given: Any, name: str, output_name: str, listed: bool = False) -> Any:
    """What is meant for the one output, out of a dict by output name or a list of one."""
    if listed and isinstance(given, (list, tuple)):
        if len(given) != 1:
            raise ValueError(f"{name} must be one, for the one output, got a list of {len(given)}")
        return given[0]
    if isinstance(given, Mapping) and "class_name" not in given:
        if list(given) != [output_name]:
            raise ValueError(
                f"{name} must have the output's name {output_name!r} as its only key, "
                f"got {list(given)}"
            )
        return given[output_name]
    return given


def _scale(loss_weights: Any, output_name: str) -> float:
    given = _only_one(loss_weights, "compile: loss_weights", output_name, listed=True)
    if given is None:
        return 1.0
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        hint = ": give metrics by name, metrics=[...]" if isinstance(given, str) else ""
        raise TypeError(f"compile: loss_weights must be a number, got {brief(given)}{hint}")
    return float(given)
