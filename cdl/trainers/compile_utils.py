"""Compiled: what `compile` was given, resolved once shapes are known.

Keras decides by the shapes of targets and output which accuracy 'accuracy' means, and which
crossentropy 'crossentropy' means. So `compile` checks all that needs no shapes, and the first data
settle the rest, once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cdl import losses, metrics, optimizers, tree
from cdl._common.naming import FreeNames
from cdl.data import brief
from cdl.trainers.signature import Info, Shape


class OutputSpec(NamedTuple):
    """What `compile` was told about one output; nothing is looked up yet."""

    loss: Any  # or None
    scale: float
    metrics: list[Any]
    weighted: list[Any]

    @property
    def reads_target(self) -> bool:
        """Whether something needs to know what the output should have been."""
        return self.loss is not None or bool(self.metrics or self.weighted)


def output_specs(given: dict[str, Any], names: Sequence[str], nest: Any) -> tuple[OutputSpec, ...]:
    """The arguments of `compile`, output by output.

    Args:
        given: the arguments by name.
        names: of the outputs.
        nest: the names, nested as the model puts out; if that is a dict, a dict of losses may leave
            some out.

    Raises:
        ValueError: a list of another length, a dict with other keys, or things that are neither.
        TypeError: a weight of a loss that is no number.
    """
    if len(names) == 1:
        loss = _alone(_only_one(given["loss"], "compile: loss", names[0]), "compile: loss")
        metrics, weighted = (_listed(given, name, names[0]) for name in _METRICS)
        return (OutputSpec(loss, _scale(given["loss_weights"], names[0]), metrics, weighted),)
    given = {key: _alike(nest, value) for key, value in given.items()}
    losses = _losses(given["loss"], names, isinstance(nest, dict))
    scales = _scales(given["loss_weights"], names)
    lists = [_lists(given[name], f"compile: {name}", names) for name in _METRICS]
    return tuple(map(OutputSpec, losses, scales, *lists))


_METRICS = ("metrics", "weighted_metrics")
BY_NAME = ": give metrics by name, metrics=[...]"  # they come after loss_weights, as in Keras 3


def _alike(nest: Any, given: Any) -> Any:
    """`given` as a list with one element an output if it is nested as the outputs are."""
    found = up_to(nest, given)
    return given if found is None else found


def up_to(nest: Any, given: Any) -> list[Any] | None:
    """The parts of `given` where `nest` has its leaves; None if they are not alike.

    None, too, if no part of `nest` is nested itself: names, and lists of other lengths, are checked
    elsewhere, with errors that say what is wrong.
    """
    parts = nest.values() if isinstance(nest, dict) else nest
    if not tree.is_nested(nest) or not any(map(tree.is_nested, parts)):
        return None
    return _walk(nest, given)


def _walk(nest: Any, given: Any) -> list[Any] | None:
    if not tree.is_nested(nest):
        return [given]
    if isinstance(nest, dict):
        if not isinstance(given, Mapping) or not set(given) <= set(nest):
            return None
        pairs = [(nest[key], given.get(key)) for key in sorted(nest)]
    elif isinstance(given, (list, tuple)) and len(given) == len(nest):
        pairs = list(zip(nest, given, strict=True))
    else:
        return None
    found: list[Any] = []
    for part, value in pairs:
        inner = [None] * len(tree.flatten(part)) if value is None else _walk(part, value)
        if inner is None:
            return None
        found += inner
    return found


def leaves(given: Any) -> list[Any]:
    """All identifiers in lists and dicts of them, at whatever depth."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        return [leaf for each in given for leaf in leaves(each)]
    return [] if given is None else [given]


# --- one output ---


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
    return _checked(given, name)


def _checked(metrics: Sequence[Any], name: str) -> list[Any]:
    for metric in metrics:
        if not (isinstance(metric, (str, Mapping)) or callable(metric)):
            raise ValueError(f"{name} must hold names, functions or Metrics, got {brief(metric)}")
    return list(metrics)


def _only_one(given: Any, name: str, output_name: str) -> Any:
    """What is meant for the one output, out of a dict by output name."""
    if isinstance(given, Mapping) and "class_name" not in given:
        if list(given) != [output_name]:
            raise ValueError(
                f"{name} must have the output's name {output_name!r} as its only key, "
                f"got {list(given)}"
            )
        return given[output_name]
    return given


def _scale(loss_weights: Any, output_name: str) -> float:
    name = "compile: loss_weights"
    given = _alone(_only_one(loss_weights, name, output_name), name)
    return 1.0 if given is None else _number(given, "compile: loss_weights")


def _number(given: Any, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        hint = BY_NAME if _is_metric(given) else ""
        raise TypeError(f"{name} must be a number, got {brief(given)}{hint}")
    return float(given)


def _is_metric(given: Any) -> bool:
    """Whether something looks like a metric: a name, a function or an object."""
    return isinstance(given, str) or callable(given)


# --- several outputs ---


def _for_each(given: Any, name: str, names: Sequence[str], partly: bool) -> list[Any]:
    """The elements of a list with one for each output, or of a dict by their names."""
    if isinstance(given, Mapping):
        known = set(names)
        unknown = [key for key in given if key not in known]
        missing = [] if partly else [key for key in names if key not in given]
        if unknown or missing:
            what = f"got {unknown}" if unknown else f"got none for {missing}"
            raise ValueError(
                f"{name} must have as keys the names of the outputs, {list(names)}, {what}"
            )
        return [given.get(key) for key in names]
    if len(given) != len(names):
        raise ValueError(
            f"{name} must have one element for each of the {len(names)} outputs {list(names)}, "
            f"got a {type(given).__name__} of {len(given)}"
        )
    return list(given)


def _losses(given: Any, names: Sequence[str], keyed: bool) -> list[Any]:
    """The loss of each output; one that is given alone is for all of them."""
    is_config = isinstance(given, Mapping) and "class_name" in given
    if is_config or not isinstance(given, (list, tuple, Mapping)):
        return [given] * len(names)
    found = _for_each(given, "compile: loss", names, keyed)
    return [_alone(each, "compile: loss") for each in found]


def _alone(given: Any, name: str) -> Any:
    """The loss of one output, which may be the only one of a list."""
    if not isinstance(given, (list, tuple)):
        return given
    if len(given) != 1:
        hint = BY_NAME if name.endswith("weights") and any(map(_is_metric, given)) else ""
        raise ValueError(
            f"{name} must be one for each output, got a list of {len(given)} for one of them{hint}"
        )
    return given[0]


def _scales(given: Any, names: Sequence[str]) -> list[float]:
    name = "compile: loss_weights"
    if not isinstance(given, (list, tuple, Mapping)):
        return [1.0 if given is None else _number(given, name)] * len(names)
    found = _for_each(given, name, names, partly=True)
    return [1.0 if each is None else _number(each, name) for each in found]


def _lists(given: Any, name: str, names: Sequence[str]) -> list[list[Any]]:
    """The metrics of each output, which may be one, a list or None."""
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return [[] for _ in names]
    if not isinstance(given, (list, tuple, Mapping)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    found = _for_each(given, name, names, partly=True)
    lists = [each if isinstance(each, (list, tuple)) else [each] for each in found]
    return [_checked([m for m in each if m is not None], name) for each in lists]


RAW = "raw"


class Logged(NamedTuple):
    """A metric under the name by which it appears in the logs."""

    name: str
    metric: Any
    weighted: bool  # whether sample and class weights count
    held: bool  # whether the user has the object too, and may ask it for its result
    output: int  # number of the output that it is about; negative if traced code shows it values
    traced: Any = None  # what the core runs instead of a metric of the user's, if it can
    untraced: Any = None  # why it cannot

    @property
    def runs(self) -> Any:
        """What adds it up: the metric, or what the core runs instead."""
        return self.metric if self.traced is None else self.traced

    @property
    def key(self) -> int | str:
        """What it is among the reports of a program."""
        return self.name if self.output >= 0 else self.output


class OutputLoss(NamedTuple):
    """The loss of an output, and what reads its targets."""

    loss: Any  # or None
    scale: float  # by which it counts in the whole loss
    logged: str | None  # the name of its own value in the logs, where there are several losses
    readers: tuple[tuple[str, str], ...]  # who reads y, as what: "values", "classes", "labels" ...
    in_python: bool  # whether some of them are the user's Python
    needs_raw_y: bool  # whether the shape of a row of y matters: to Python code, or to labels


class Resolved(NamedTuple):
    """Loss and metrics, all known, and what they need."""

    per_output: tuple[OutputLoss, ...]  # one an output
    metrics: tuple[Logged, ...]
    logged: tuple[int, ...]  # heads, in the order in which their losses are listed
    needs_raw_y: bool  # whether that is so of some head
    eager: bool = False  # whether code of the user's is to see the numbers of each batch


class Compiled:
    """The arguments of `compile`, checked.

    Args:
        given: the arguments by name, as they came.
        names: the names of the model's outputs, None if they are not known yet.
        nest: the names, nested as the model puts out.
        custom_loss: whether the model has a `compute_loss` of its own.
        scales: whether the optimizer is to scale the loss.

    Attributes:
        optimizer: the Optimizer.
        has_loss: whether there is a loss for some output.
        has_metrics: whether there are metrics for some output.
        reads_targets: whether there is either.
        resolved: loss and metrics as objects, None until the first data.
        told_not_finite: whether it has been said why the loss is not finite.
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
        self.custom_loss = custom_loss
        self.optimizer: Any = optimizers.get(given["optimizer"])
        if self.optimizer is None:
            raise ValueError("compile: optimizer must be a name, config or Optimizer, got None")
        one = isinstance(self.optimizer, optimizers.LossScaleOptimizer)
        if scales and not one and not self.optimizer.is_written:
            self.optimizer = optimizers.LossScaleOptimizer(
                self.optimizer, name="loss_scale_optimizer"
            )
        self._specs = None if names is None else output_specs(given, names, nest)
        self.resolved: Resolved | None = None
        self.told_not_finite = False
        self.variables: list[Any] | None = None  # what training changes, once it has begun
        self._check_names()

    def _check_names(self) -> None:
        """Find unknown names now and not at the first data."""
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
        """What was said about each output; ValueError if it does not fit their names."""
        if self._specs is None:
            self._specs = output_specs(self.given, names, nest)
        return self._specs

    def resolve(
        self, outputs: Sequence[Info], y_shapes: Sequence[Shape], nest: Any = None
    ) -> Resolved:
        """Loss and metrics for these shapes; the first call's answer stays if it is kept.

        Args:
            outputs: of the model.
            y_shapes: of the targets for each of them, batch axis included.
            nest: their names, nested as the model puts out.
        """
        if self.resolved is not None:
            return self.resolved
        specs = self.specs([info.name for info in outputs], nest)
        eager = self.given["run_eagerly"]
        shapes = list(zip(y_shapes, [info.shape for info in outputs], strict=True))
        found = [
            None if each.loss is None else losses.resolve(each.loss, *shapes[i], not eager)
            for i, each in enumerate(specs)
        ]
        logged_metrics = _logged_metrics(specs, outputs, shapes, eager)
        several = sum(loss is not None for loss in found) > 1
        by_output: list[list[Logged]] = [[] for _ in found]
        for each in logged_metrics:
            by_output[each.output].append(each)
        names = FreeNames()
        per_output: list[OutputLoss] = []
        for i, loss in enumerate(found):
            logged = _logged(loss, outputs[i], names) if several and loss is not None else None
            readers = [_reader("loss", loss.name, loss, losses)] if loss is not None else []
            readers += [_reader("metric", each.name, each.runs, metrics) for each in by_output[i]]
            wants = {want for _, want in readers}
            shaped = not wants.isdisjoint((RAW, "labels", "traced"))
            scale = specs[i].scale
            per_output.append(OutputLoss(loss, scale, logged, tuple(readers), RAW in wants, shaped))
        order = _order(outputs, self.given["loss"], nest)
        shaped = any(entry.needs_raw_y for entry in per_output)
        return Resolved(tuple(per_output), tuple(logged_metrics), tuple(order), shaped, eager)


def _order(outputs: Sequence[Info], given: Any, nest: Any) -> list[int]:
    """The outputs as their losses are listed: Keras goes by a dict of losses for one of outputs."""
    if not isinstance(nest, dict) or not isinstance(given, Mapping):
        return list(range(len(outputs)))
    numbers = {info.name: i for i, info in enumerate(outputs)}
    keys = [*(key for key in given if key in nest), *(key for key in nest if key not in given)]
    return [numbers[name] for key in keys for name in tree.flatten(nest[key])]


def _logged(loss: Any, output: Info, names: FreeNames) -> str:
    """The name of the loss of one output among several."""
    return f"{output.name}_loss" if output.has_name else names.take(f"{loss.name}_loss")


def _logged_metrics(
    specs: Sequence[OutputSpec],
    outputs: Sequence[Info],
    shapes: Sequence[tuple[Shape, Shape]],
    eager: bool,
) -> list[Logged]:
    """All metrics, in Keras's order: those without weights of all outputs, then those with."""
    found: list[Logged] = []
    names = FreeNames("loss")
    for weighted in (False, True):
        for i, each in enumerate(specs):
            front = f"{outputs[i].name}_" if len(outputs) > 1 and outputs[i].has_name else ""
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
    """Whether only shapes tell what a name means."""
    return isinstance(identifier, str) and identifier.lower() in (
        "accuracy",
        "acc",
        "crossentropy",
        "ce",
    )
