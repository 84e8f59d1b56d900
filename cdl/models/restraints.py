"""restraints.py - what holds the weights of a model back: regularizers and constraints.

The core knows L1 and L2 penalties, non-negative weights and norms of columns. What else there is, a
user's own above all, is Python code that runs around every step: a penalty's slope is handed to the
core before it, a constraint is applied after it.
"""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from cdl import constraints, regularizers
from cdl._core import Parameter
from cdl._untraced import Untraced
from cdl._variable import Variable


class Restraints:
    """The regularizers and constraints of the weights that are trained.

    Args:
        variables: the weights.
        training: whether they are trained now, or a loss is only measured.
        compiled: ids of those whose penalties are left to the program.
        constrains: whether constraints are kept here, and not by an optimizer in Python.

    Attributes:
        rules: of an Executor: what the core knows of them.
        in_python: whether something has to be done around every step.
    """

    def __init__(
        self,
        variables: Iterable[Variable],
        training: bool,
        compiled: Collection[int] = (),
        constrains: bool = True,
    ) -> None:
        penalties: dict[Variable, tuple[float, float]] = {}
        limits: dict[Variable, Any] = {}
        self._penalized: dict[Variable, Parameter] = {}
        self._constrained: list[Variable] = []
        for variable in variables:
            factors = regularizers.compiled(variable.regularizer)
            if id(variable) in compiled:
                pass
            elif factors is not None:
                penalties[variable] = factors
            elif variable.regularizer is not None:
                storage = variable.storage
                self._penalized[variable] = Parameter(storage.shape, storage.matrix)
            if not constrains:
                continue
            limit = constraints.compiled(
                variable.constraint, len(variable.shape), variable.storage.matrix
            )
            if limit is not None:
                limits[variable] = limit
            elif variable.constraint is not None:
                self._constrained.append(variable)
        self.rules: dict[str, Any] = {"penalties": penalties}
        if training:
            self.rules.update(constraints=limits, pulls=self._penalized)
        self.in_python = training and bool(self._penalized or self._constrained)

    @property
    def untraced(self) -> list[Untraced]:
        """The constraints that are Python code."""
        return [
            Untraced(
                f"constraint {type(each.constraint).__name__!r} of {each.path!r}",
                each.constraint,
                "constraints of one's own are called on arrays after each step",
            )
            for each in self._constrained
        ]

    def penalty(self) -> float:
        """What the regularizers that are Python code give for the weights as they are now."""
        return sum(float(each.regularizer(each.numpy())) for each in self._penalized)

    def before_step(self) -> float:
        """The same, and the core knows its slopes for the coming step."""
        total = 0.0
        for variable, pull in self._penalized.items():
            value, slope = regularizers.slope(variable.regularizer, variable.numpy())
            total += value
            pull.set(slope)
        return total

    def after_step(self) -> None:
        """Bring the weights back to where constraints that are Python code want them."""
        for variable in self._constrained:
            variable.assign(np.asarray(variable.constraint(variable.numpy())))
