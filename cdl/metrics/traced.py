"""traced.py - metrics that users write with `cdl.ops`: a function's mean, added up by the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdl._untraced import Untraced
from cdl.losses.traced import follow
from cdl.metrics.compiled import Compiled
from cdl.metrics.metric import MeanMetricWrapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdl._graph import Graph
    from cdl._program import Instruction, Program, Value


class TracedMean(MeanMetricWrapper, Compiled):
    """The mean of what a function gives, where that can be followed.

    Args:
        metric: the function's mean as Python code would keep it.
        graph: what the function does, from targets and predictions to values.
    """

    op = "observe"
    wants = "traced"

    def __init__(self, metric: MeanMetricWrapper, graph: Graph) -> None:
        super().__init__(metric.fn, metric.name, metric.dtype, **metric.kwargs)
        if hasattr(metric, "_direction"):
            self._direction = metric._direction
        self.graph = graph

    def lower(
        self, program: Program, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        """As in Compiled."""
        wanted = self.graph.inputs[0].sample_shape
        if target.shape != wanted:
            target = program.emit("reshape", (target,), wanted)
        values = self.graph.lower(program, [target, prediction])
        inputs = [values] if weight is None or values.shared else [values, weight]
        return program.score("observe", inputs)


def traced(
    metric: MeanMetricWrapper, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> MeanMetricWrapper:
    """The same as instructions, if what the function does can be followed; else itself.

    Args:
        metric: of a function of the user's.
        y_shape: shape of the targets, batch axis included.
        output_shape: shape of the predictions, batch axis included.
    """
    graph, reason = follow(lambda y, p: metric.fn(y, p, **metric.kwargs), y_shape, output_shape)
    if graph is not None and not graph.losses:
        return TracedMean(metric, graph)
    reason = reason or "it adds to the loss"
    metric.untraced = Untraced(f"metric {metric.name!r}", metric.fn, reason)
    return metric
