"""Weights, optimizers and metrics that a training step may change."""

from __future__ import annotations

from typing import Any

from cdl import tree
from cdl.metrics import Metric
from cdl.optimizers import Optimizer
from cdl.trainers.chains.shown_metrics import metrics_of
from cdl.trainers.chains.step_reads import StepReads, has_calls_of_users


class Held:
    """Objects that a step may change: parts of its model, and those that it reads.

    Args:
        model: whose method the step is, or None.
        reads: of the step.
        learns: whether it is a training step.

    Attributes:
        things: all these objects.
        optimizers: the built ones.
        begins: whether optimizers are there and none is built, as in a model's first step.
        learns: as given.
        metrics: those whose calls are recorded.
        has_calls_of_users: whether an optimizer or a metric has user code.
    """

    def __init__(self, model: Any, reads: StepReads, learns: bool = True) -> None:
        things = list(reads.found)
        if model is not None:
            things += [model, getattr(model, "optimizer", None), *model.metrics]
            things += tree.flatten(list(vars(model).values()))
        found = {id(each): each for each in things}
        self.things = list(found.values())
        optimizers = [e for e in found.values() if isinstance(e, Optimizer)]
        self.optimizers = [each for each in optimizers if each.built]
        self.begins = learns and bool(optimizers) and not self.optimizers
        self.learns = learns
        self.metrics = metrics_of(found.values())
        changing = [e for e in found.values() if isinstance(e, (Metric, Optimizer))]
        self.has_calls_of_users = any(map(has_calls_of_users, changing))
