"""Weights, optimizers and metrics that a training step may change."""

from __future__ import annotations

from typing import Any

from cdl import tree
from cdl.metrics import Metric
from cdl.optimizers import Optimizer
from cdl.trainers.chains.shown_metrics import metrics_of
from cdl.trainers.chains.step_reads import StepReads, has_calls_of_users


class Held:
    """Parts that a step may change: of its model, and those that it reads.

    Args:
        model: whose method the step is, or None.
        reads: of the step.
        learns: whether it is to learn.

    Attributes:
        things: all of them.
        optimizers: that have begun.
        begins: whether there are others alone, as in the first step of a model that is not built.
        learns: as given.
        metrics: that a recording shows.
        has_calls_of_users: whether code of users is in an optimizer or in a metric.
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
