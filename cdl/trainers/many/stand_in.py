"""StandIn: a model that takes the place of one member after the other."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

Stacks = list[np.ndarray[Any, Any]]


def variables_of(model: Any) -> list[Any]:
    """Weights of a model, and what its optimizer keeps: all that members differ in."""
    optimizer = model.optimizer if model.compiled else None
    if optimizer is not None:
        optimizer.build(model.trainable_variables)
    return [*model.weights, *getattr(optimizer, "variables", ())]


def has_begun(model: Any) -> bool:
    """Whether a model has been trained or evaluated since `compile`, which settles its losses."""
    return model._compiled is not None and model._compiled.resolved is not None


class StandIn:
    """Copy of a model, with the programs that it has made.

    Args:
        model: it is copied.
    """

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)
        self._variables = variables_of(self.model)

    def put(self, stacks: Stacks, number: int) -> None:
        """Take over what a member has."""
        for variable, stack in zip(self._variables, stacks, strict=True):
            variable.assign(stack[number])

    def put_weights(self, stacks: Stacks, number: int) -> None:
        """Take over a member's weights alone."""
        for variable, stack in zip(self.model.weights, stacks, strict=False):
            variable.assign(stack[number])

    def take(self, stacks: Stacks, number: int) -> None:
        """Write a member's state back."""
        for variable, stack in zip(self._variables, stacks, strict=True):
            stack[number] = variable.numpy()


def stacked(variables: Sequence[Any], n: int) -> Stacks:
    """Arrays of n times the values of variables."""
    values = [np.asarray(each.numpy()) for each in variables]
    return [np.repeat(each[None], n, axis=0) for each in values]
