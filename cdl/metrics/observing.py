"""observing.py - metrics that traced code shows values to: the core adds them up batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl import _graph
from cdl._graph import KerasTensor, symbolic_error

if TYPE_CHECKING:
    from cdl._program import Program, Value


class Observation:
    """The operation of a node: values are shown to a metric that is their mean.

    Args:
        metric: it.
    """

    acts = True

    def __init__(self, metric: Any) -> None:
        self.name = metric.name
        self.metric = metric

    def append_to(self, program: Program, values: Value, weight: Value | None = None) -> Value:
        """Append a report, where somebody will look at it."""
        if program.observed is not None:
            inputs = [values] if weight is None or values.shared else [values, weight]
            report = program.score("observe", inputs)
            program.observed[id(report)] = self.metric
        return values


def observe(metric: Any, values: KerasTensor, sample_weight: Any) -> None:
    """Note that a metric is shown symbolic values.

    Raises:
        TypeError: this is not within code that is traced.
    """
    if _graph.current_scope() is None:
        raise symbolic_error(
            f"{metric.name}: a metric can be shown symbolic values only in the call() of a layer "
            "or in compute_loss()",
            "show it arrays elsewhere",
        )
    args = (values,) if sample_weight is None else (values, sample_weight)
    _graph.record(Observation(metric), args, {}, values.like())
