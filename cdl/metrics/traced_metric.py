"""Custom metrics with states, whose `update_state` is traced for the core.

While `update_state` is traced, untrained weights replace the states in the metric's attributes;
assignments to them become part of the program. `result` and `reset_state` stay Python code on the
states, which are updated before.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from cdl._common.overriding import cdl_base, is_users
from cdl._ir.emit import split_batch
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import graph as graphs
from cdl._tracing.graph import Graph, KerasTensor
from cdl._tracing.joining import is_whole
from cdl._tracing.keras_tensor import knowing_samples, known_samples
from cdl._tracing.untraced import DRAWS, Untraced, reason_of, same_numbers
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.losses.traced_loss import SOME, follow
from cdl.metrics.core_metric import Compiled, is_compiled
from cdl.metrics.metric import Mean, MeanMetricWrapper, Metric

_MOST = 64  # graphs for predictions of several sizes


class NotFollowedError(TypeError):
    """Error of a metric that cannot be traced; the text says why."""


class TracedStates:
    """Custom metric as the core runs it: a graph for each set of shapes.

    Raises:
        NotFollowedError: its `update_state` cannot be traced.
    """

    wants = "traced"
    heeds_masks = False

    def __init__(
        self, metric: Metric, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
    ) -> None:
        self.metric = metric
        self.name = metric.name
        self._shapes: Any = tuple(y_shape[1:]), tuple(output_shape[1:])
        states = metric.variables
        if not states or not all(type(s) is State and s.dtype == "float32" for s in states):
            raise NotFollowedError("it must have states by add_weight, all of float32")
        # Each state and the weight in its place.
        self._pairs = [(s, Variable(s.shape, name=s.name, trainable=False)) for s in states]
        weighted = "sample_weight" in inspect.signature(metric.update_state).parameters
        usual: list[Any] = [None, ()] if weighted else [None]  # shapes of a sample's weights
        self._couples = False  # whether it compares samples, and needs a batch size
        try:
            self._graphs = self._followed(usual)
        except NotFollowedError:
            with knowing_samples(SOME + 1):
                more = self._followed(usual)
            with knowing_samples(SOME):
                self._graphs = self._followed(usual)
            pairs = zip(self._graphs.values(), more.values(), strict=True)
            if any(len(some.nodes) != len(others.nodes) for some, others in pairs):
                raise
            self._couples = True

    def _followed(self, usual: list[Any]) -> dict[Any, graphs.Graph]:
        """Graphs for weights of given shapes, at the known batch size."""
        keys = [(known_samples(), weight, *self._shapes) for weight in usual]
        return {key: self._follow(*key[1:]) for key in keys}

    def __getstate__(self) -> dict[str, Any]:
        """Attributes without the graphs, which a copy traces again with its own weights."""
        return {**vars(self), "_graphs": {}}

    def _follow(self, weight: tuple[int, ...] | None, *shapes: Any) -> graphs.Graph:
        """Trace `update_state`, with sample weights of shape `weight` or, for None, without.

        NotFollowedError if it cannot be told, or something else than a state has changed.
        """
        samples = known_samples()
        tensors = tuple(KerasTensor((samples, *shape)) for shape in shapes)
        metric, given = self.metric, dict[str, Any]()
        if weight is not None:
            given["sample_weight"] = KerasTensor((samples, *weight))
        kept = dict(vars(metric))
        try:
            vars(metric).update({name: self._swapped(value) for name, value in kept.items()})
            before = {name: _sizes(value) for name, value in vars(metric).items()}
            seen = dict(vars(metric))
            graph, again = (
                graphs.trace(metric.update_state, tensors, given, True) for _ in range(2)
            )
            now = vars(metric)
            same = list(now) == list(seen) and all(now[name] is seen[name] for name in seen)
            same = same and before == {name: _sizes(value) for name, value in now.items()}
        except Exception as error:  # any: it runs on arrays then, and raises its own
            raise NotFollowedError(reason_of(error)) from error
        finally:
            vars(metric).clear()
            vars(metric).update(kept)
        acts = [node.operation for node in graph.nodes if getattr(node.operation, "acts", False)]
        assigned = any(isinstance(node.operation, graphs.Assignment) for node in graph.nodes)
        if not same or acts or graph.losses:
            raise NotFollowedError("update_state must change nothing but states")
        if not assigned:
            raise NotFollowedError("update_state must assign to states")
        if not same_numbers(graph, again):
            raise NotFollowedError(DRAWS)
        return graph

    def _swapped(self, value: Any) -> Any:
        if isinstance(value, State):
            return next(weight for state, weight in self._pairs if state is value)
        if isinstance(value, Metric):
            raise NotFollowedError(f"it holds the metric {value.name!r}")
        if isinstance(value, (list, tuple)):
            return type(value)(self._swapped(part) for part in value)
        if isinstance(value, dict):
            return {key: self._swapped(part) for key, part in value.items()}
        return value

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        """Append the traced `update_state`, and a report that names the metric."""
        _check_samples(self._couples, self.name)
        shapes = self._shapes
        if prediction.shape != shapes[1]:  # of another size
            shapes = target.shape, prediction.shape
        if target.shape != shapes[0]:
            target = program.emit("reshape", (target,), shapes[0])
        values = [target, prediction]
        if weight is not None:
            if weight.shape:
                weight = program.emit("reshape", (weight,), weight.shape[:-1])
            values.append(weight)
        shape = None if weight is None else weight.shape
        key = known_samples() if self._couples else None, shape, *shapes
        if key not in self._graphs:
            if len(self._graphs) >= _MOST:
                self._graphs.clear()
            self._graphs[key] = self._follow(shape, *shapes)
        self._graphs[key].lower(program, values)
        return program.score("observe", [program.constant(0.0)])

    def reset(self) -> None:
        """Reset the states and the weights that mirror them."""
        self.metric.reset_state()
        for state, weight in self._pairs:
            weight.assign(state.value)

    def load(self, state: Sequence[float]) -> None:
        """Load the states of the core into the metric."""
        del state
        for each, weight in self._pairs:
            each.assign(weight.numpy())

    def value_of(self, state: Sequence[float]) -> Any:
        """The metric's value for a state of the core."""
        self.load(state)
        return self.metric.result()


def _check_samples(couples: bool, name: str) -> None:
    """Refuse to lower a metric that compares samples where their number is not known."""
    if couples and known_samples() is None:
        raise TypeError(f"metric {name!r} compares the samples of a batch")


def _sizes(value: Any) -> Any:
    return len(value) if isinstance(value, (list, dict, set)) else None


def with_states(
    metric: Metric, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> tuple[TracedStates | None, Untraced | None]:
    """Trace a custom metric; the reason if that fails, and neither for a metric of cdl."""
    cls = type(metric)
    if is_compiled(metric) or isinstance(metric, MeanMetricWrapper) or not is_users(cls):
        return None, None
    try:
        if isinstance(metric, (Compiled, Mean)):
            base = cdl_base(cls).__name__
            raise NotFollowedError(
                f"its class is derived from {base}: derive it from Metric instead"
            )
        if None in (*y_shape[1:], *output_shape[1:]):
            raise NotFollowedError("sizes of a sample are not known")
        return TracedStates(metric, y_shape, output_shape), None
    except NotFollowedError as error:
        return None, Untraced(f"metric {metric.name!r}", cls.update_state, str(error))


class TracedMean(MeanMetricWrapper, Compiled):
    """Mean of a function's values, where the function can be traced.

    Args:
        metric: the function's mean as Python code would keep it.
        graph: the traced function, from targets and predictions to values.
        couples: whether it compares samples, so that it has a graph for each batch size.
    """

    op = "observe"
    wants = "traced"

    def __init__(self, metric: MeanMetricWrapper, graph: Graph, couples: bool = False) -> None:
        super().__init__(metric.fn, metric.name, metric.dtype, **metric.kwargs)
        if hasattr(metric, "_direction"):
            self._direction = metric._direction
        self.graph = graph
        self._couples = couples

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        _check_samples(self._couples, self.name)
        graph = self._graph_for(target.shape, prediction.shape)
        wanted = graph.inputs[0].sample_shape
        if target.shape != wanted:
            target = program.emit("reshape", (target,), wanted)
        values = graph.lower(program, [target, prediction])
        if values.shared and is_whole(values.shape):
            values = split_batch(program, values)
        inputs = [values] if weight is None or values.shared else [values, weight]
        return program.score("observe", inputs)

    def _graph_for(self, target: tuple[int, ...], prediction: tuple[int, ...]) -> Graph:
        """The function's graph for a sample's targets and predictions of those shapes."""
        if prediction == self.graph.inputs[1].sample_shape and not self._couples:
            return self.graph
        samples = known_samples() if self._couples else None
        graph, reason = _followed(self, (samples, *target), (samples, *prediction))
        if graph is None:
            raise ValueError(
                f"metric {self.name!r} could not be traced for predictions of shape {prediction}: "
                f"{reason}"
            )
        return graph


def traced(
    metric: MeanMetricWrapper, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> MeanMetricWrapper:
    """Trace a metric's function; the metric itself where that fails."""
    graph, reason = _followed(metric, y_shape, output_shape)
    if graph is not None and not graph.losses:
        return TracedMean(metric, graph)
    coupled = []
    for samples in (SOME, SOME + 1):
        with knowing_samples(samples):
            coupled.append(_followed(metric, (samples, *y_shape[1:]), (samples, *output_shape[1:])))
    few, more = (each for each, _ in coupled)
    # With other numbers of nodes, Python loops over samples.
    if few and more and not few.losses and len(few.nodes) == len(more.nodes):
        return TracedMean(metric, few, couples=True)
    reason = reason or "it adds to the loss"
    metric.untraced = Untraced(f"metric {metric.name!r}", metric.fn, reason)
    return metric


def _followed(
    metric: MeanMetricWrapper, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> tuple[Graph | None, str]:
    """Trace a metric's function: its graph, or None and the reason."""
    return follow(lambda y, p: metric.fn(y, p, **metric.kwargs), y_shape, output_shape)
