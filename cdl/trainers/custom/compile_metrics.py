"""LossAndMetrics: loss and metrics of a compiled model, on the user's arrays.

In `fit` they are part of the program. A model with a step of its own computes predictions itself,
and asks for them by `compute_loss` and `compute_metrics`.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import metrics, ops, tree
from cdl._tracing.graph import KerasTensor
from cdl.trainers.compile_utils import Compiled, OutputLoss, Resolved
from cdl.trainers.custom.losses import log_loss
from cdl.trainers.custom.steps import flat
from cdl.trainers.signature import Info, TrainableModel, output_names


class CompileMetrics(metrics.Metric):
    """Metrics of `compile` as one, under Keras's name for it.

    Args:
        owner: loss and metrics of the model.
    """

    def __init__(self, owner: "LossAndMetrics") -> None:
        super().__init__(name="compile_metrics")
        self._owner = owner

    @property
    def metrics(self) -> list[Any]:
        """The metrics; none before shapes are known."""
        resolved = self._owner.resolved
        return [] if resolved is None else [each.metric for each in resolved.metrics]

    @property
    def variables(self) -> list[Any]:
        return [variable for metric in self.metrics for variable in metric.variables]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update all metrics by a batch; only weighted_metrics see the weights."""
        given = (y_true, y_pred, sample_weight)
        resolved, ys, ps, weights = self._owner.flat(*given, "compute_metrics")
        for each in resolved.metrics:
            y, p, weight = ys[each.output], ps[each.output], weights[each.output]
            if each.weighted:
                each.metric.update_state(y, p, sample_weight=weight)
            else:
                each.metric.update_state(y, p)

    def result(self) -> dict[str, Any]:
        """Values of the metrics by name."""
        resolved = self._owner.resolved
        found = [] if resolved is None else resolved.metrics
        return flat({each.name: each.metric.result() for each in found})

    def reset_state(self) -> None:
        """Reset the states of all metrics."""
        for metric in self.metrics:
            metric.reset_state()


class LossAndMetrics:
    """Loss and metrics of a compiled model, on arrays.

    Args:
        compiled: arguments of `compile`.

    Attributes:
        compiled: as given.
        loss: mean of the losses of batches.
        losses: means of the single losses by number, if there are several.
        metrics: metrics of `compile`, as one metric.
    """

    def __init__(self, model: TrainableModel, compiled: Compiled) -> None:
        self._model = weakref.ref(model)
        self.compiled = compiled
        self.loss = metrics.Mean(name="loss")
        self.losses: dict[int, Any] = {}
        self.metrics = CompileMetrics(self)

    @property
    def has_metrics(self) -> bool:
        """Whether `compile` was given metrics."""
        return self.compiled.has_metrics

    @property
    def resolved(self) -> Resolved | None:
        """Losses and metrics as objects, resolved for given data."""
        return self.compiled.resolved

    def all(self) -> list[Any]:
        """Metrics in the order of Keras."""
        compile_metrics = [self.metrics] if self.compiled.has_metrics else []
        return [self.loss, *compile_metrics, *self.losses.values()]

    def load(self, results: dict[str, Any]) -> None:
        """Load the losses that a train function has measured."""
        if "loss" in results:
            self._set(self.loss, results["loss"])
        for number, entry in enumerate(() if self.resolved is None else self.resolved.losses):
            if entry.logged in results:
                self._set(self._mean(number, entry.logged), results[entry.logged])

    @staticmethod
    def _set(mean: Any, value: float) -> None:
        mean.total.assign(value)
        mean.count.assign(1.0)

    def _mean(self, number: int, name: str) -> Any:
        """Mean of one loss of several."""
        if number not in self.losses:
            self.losses[number] = metrics.Mean(name=name)
        return self.losses[number]

    def flat(
        self, y: Any, y_pred: Any, sample_weight: Any, call: str
    ) -> tuple[Resolved, list[Any], list[Any], list[Any]]:
        """Targets, predictions and weights by output, with the losses and metrics for them."""
        model = self._model()
        assert model is not None
        if model.built:
            outputs = model._graph_of_model.output_infos()
            flat_y = model._graph_of_model.flat_targets(y, f"{call}: y")
            predictions = model._graph_of_model.flat_targets(y_pred, f"{call}: y_pred")
        else:
            outputs = (Info("output", tuple(np.shape(y_pred))),)
            flat_y, predictions = [y], [y_pred]
        weights = [sample_weight] * len(outputs)
        if isinstance(sample_weight, (list, tuple, dict)):
            weights = model._graph_of_model.flat_targets(sample_weight, f"{call}: sample_weight")
        resolved = self.compiled.resolved
        if resolved is None:
            shapes = [(None,) if y is None else (None, *np.shape(y)[1:]) for y in flat_y]
            resolved = self.compiled.resolve(outputs, shapes, model._graph_of_model.output_nest())
            self.compiled.resolved = resolved
        return resolved, flat_y, predictions, weights

    def compute_loss(self, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Sum of the outputs' losses, each times its weight; None without a loss.

        Raises:
            ValueError: data that do not fit.
        """
        if not self.compiled.has_loss:
            return None
        resolved, ys, predictions, weights = self.flat(y, y_pred, sample_weight, "compute_loss")
        total: Any = None
        for number, entry in enumerate(resolved.losses):
            i = entry.output
            if entry.names is not None:
                value = _of_parts(entry, self._output_names(), ys, predictions, weights)
            elif ys[i] is None:
                raise ValueError(f"compute_loss: y must be given for the loss {entry.loss.name!r}")
            else:
                value = entry.loss(ys[i], predictions[i], weights[i])
            if isinstance(value, KerasTensor):
                if entry.logged is not None:
                    log_loss(number, value)
            elif entry.logged is not None and np.ndim(value) == 0:
                mean = self._mean(number, entry.logged)
                mean.update_state(value, sample_weight=len(predictions[i]))
            value = value if entry.scale == 1.0 else value * np.float32(entry.scale)
            total = value if total is None else total + value
        return total

    def _output_names(self) -> list[str]:
        model = self._model()
        assert model is not None
        return output_names(model._graph_of_model)


def _of_parts(
    entry: OutputLoss, names: Sequence[str], ys: list[Any], predictions: list[Any], weights: Any
) -> Any:
    """Mean of a function of several outputs, nested."""
    places = {name: i for i, name in enumerate(names)}

    def nested(parts: list[Any]) -> Any:
        return tree.map_structure(lambda name: parts[places[name]], entry.names)

    value = entry.loss(nested(ys), nested(predictions))
    weight = weights[entry.output]
    return ops.mean(value if weight is None else value * weight)
