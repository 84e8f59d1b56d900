"""Metrics updated by traced code: the core accumulates their values batch by batch."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import graph
from cdl._tracing.graph import KerasTensor, symbolic_error


class _Shown:
    """Node operation that reports values to a metric."""

    acts = True

    def __init__(self, metric: Any) -> None:
        self.name = metric.name
        self.metric = metric


class Observation(_Shown):
    """Node operation that adds values to a metric that is their mean."""

    def append_to(self, program: Lowering, values: Value, weight: Value | None = None) -> Value:
        """Append a report, if the program records metrics."""
        if program.recorder.observed is not None:
            inputs = [values] if weight is None or values.shared else [values, weight]
            report = program.score("observe", inputs)
            program.recorder.observed[id(report)] = self.metric
        return values


# Rows of class numbers, and those that say the same of one-hot targets.
_DENSE = {
    "sparse_categorical_accuracy": "categorical_accuracy",
    "sparse_top_k_categorical_accuracy": "top_k_categorical_accuracy",
}


class Scoring(_Shown):
    """Node operation that updates a metric of the core with targets and predictions."""

    def append_to(
        self, program: Lowering, target: Any, prediction: Value, weight: Value | None = None
    ) -> Value:
        """Append the metric, if the program records metrics."""
        if program.recorder.observed is None:
            return prediction
        metric, row = self.metric, _DENSE.get(self.metric.row)
        if not isinstance(target, type(prediction)):
            target = program.broadcast_batch(program.constant(target))
        wanted = prediction.shape
        if row is not None:
            wanted = (*prediction.shape[:-1], 1)
        if target.shape != wanted:
            target = program.emit("reshape", (target,), wanted)
        if row is not None:
            target = program.emit("encode", (target,), prediction.shape, one_hot=1, counts=0)
            names = [name for name in ("k",) if hasattr(metric, name)]
            options: Any = {name: float(getattr(metric, name)) for name in names}
            report = program.metric(row, target, prediction, weight, **options)
        else:
            report = metric.lower(program, target, prediction, weight)
        program.recorder.observed[id(report)] = metric
        return prediction


def score(metric: Any, y_true: ArrayLike, y_pred: KerasTensor, sample_weight: ArrayLike) -> None:
    """Record the update of a core metric with symbolic targets and predictions.

    Raises:
        TypeError: this is not within code that is traced, or a metric that cannot be had there.
    """
    known = metric.wants == "values" or metric.row in _DENSE
    if graph.current_scope() is None or not known or y_pred.rows_per_sample != 1:
        raise symbolic_error(
            f"{metric.name}: a {type(metric).__name__} cannot be shown symbolic values here",
            "show it arrays, or use a metric of one value a sample, such as Mean",
        )
    args = (y_true, y_pred) if sample_weight is None else (y_true, y_pred, sample_weight)
    graph.record(Scoring(metric), args, {}, y_pred.like())


def observe(metric: Any, values: KerasTensor, sample_weight: ArrayLike) -> None:
    """Record the update of a metric with symbolic values.

    Raises:
        TypeError: this is not within code that is traced.
    """
    if graph.current_scope() is None:
        raise symbolic_error(
            f"{metric.name}: a metric can be shown symbolic values only in the call() of a layer "
            "or in compute_loss()",
            "show it arrays elsewhere",
        )
    args = (values,) if sample_weight is None else (values, sample_weight)
    graph.record(Observation(metric), args, {}, values.like())
