"""WeightRules: regularizers and constraints of trained weights, in the core or in Python."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from cdl import constraints, regularizers
from cdl._core import Executor, Parameter
from cdl._ir.lowering import Lowering
from cdl._tracing.graph import Graph
from cdl._tracing.untraced import Untraced
from cdl._tracing.variable import Variable


class WeightRules:
    """Regularizers and constraints of trained weights.

    Args:
        training: whether it is a training run; else a loss is only evaluated.
        compiled: ids of the weights whose penalties are in the program.
        constrains: whether constraints are applied here, and not by an optimizer in Python.
        traces: whether constraints of the user's are traced.

    Attributes:
        rules: argument of an Executor: the rules that the core applies.
        after: argument of an Executor: applies the traced constraints; None if there are none.
        in_python: whether `before_step` and `after_step` must be called.
        untraced: the constraints that are Python code.
    """

    def __init__(
        self,
        variables: Iterable[Variable],
        training: bool,
        compiled: Collection[int] = (),
        constrains: bool = True,
        traces: bool = True,
    ) -> None:
        penalties: dict[Variable, tuple[float, float]] = {}
        limits: dict[Variable, Any] = {}
        self._penalized: dict[Variable, Parameter] = {}
        self._constrained: list[Variable] = []
        self.untraced: list[Untraced] = []
        traced: list[tuple[Variable, Graph]] = []
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
            elif variable.constraint is not None and not traces:
                self._constrained.append(variable)
            elif variable.constraint is not None and (graph := self._traced(variable)):
                traced.append((variable, graph))
        self.after = _after(traced) if traced else None
        self.rules: dict[str, Any] = {"penalties": penalties}
        if training:
            self.rules.update(constraints=limits, added_gradients=self._penalized)
        self.in_python = training and bool(self._penalized or self._constrained)

    def _traced(self, variable: Variable) -> Graph | None:
        """Trace the constraint of a weight; None if it is Python code to call."""
        constraint = variable.constraint
        graph, reason = constraints.traced(constraint, variable.shape)
        if graph is None:
            function = constraint if hasattr(constraint, "__code__") else type(constraint).__call__
            name = getattr(constraint, "__name__", type(constraint).__name__)
            what = f"constraint {name!r} of {variable.path!r}"
            self.untraced.append(Untraced(what, function, reason))
            self._constrained.append(variable)
        return graph

    def penalty(self) -> float:
        """Penalties of the Python regularizers for the current weights."""
        return sum(float(each.regularizer(each.numpy())) for each in self._penalized)

    def before_step(self) -> float:
        """Penalties before a step, with their derivatives loaded into the core."""
        total = 0.0
        for variable, added in self._penalized.items():
            value, derivative = regularizers.gradient(variable.regularizer, variable.numpy())
            total += value
            added.set(derivative)
        return total

    def after_step(self) -> None:
        """Apply the Python constraints to the weights."""
        for variable in self._constrained:
            variable.assign(np.asarray(variable.constraint(variable.numpy())))


def _after(constrained: Iterable[tuple[Variable, Graph]]) -> Executor:
    """Executor that assigns the constrained values to the weights."""
    program = Lowering()
    for variable, graph in constrained:
        program.assign(variable, graph.lower(program, [program.param(variable)]))
    return Executor(program.fused(training=False), 1)
