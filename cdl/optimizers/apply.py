"""One step of an optimizer from gradients that the caller has computed.

The core makes it, by the same functions as in `fit`. A weight that is no `cdl.Variable` (an object
with `assign`, or a NumPy array) is copied into one before the step and out of it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cdl import _core
from cdl._common.errors import warn
from cdl._ir.program import Program
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers.slots import Keeping


class Applying(Keeping):
    """The part of an optimizer that makes single steps."""

    loss_scale_factor: float | None
    step: int

    def rates(self, first: int, n: int) -> Any:
        """The rates of steps: see `Optimizer`."""
        raise NotImplementedError

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> State:
        """As `apply`, from pairs of a gradient and a weight; returns `iterations`."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """One step of the weights by gradients.

        Args:
            grads: arrays of the shapes of the weights; None for a weight that is to stay.
            trainable_variables: the weights; None for those that the optimizer was built with.

        Raises:
            ValueError: another number of gradients than weights, another shape, no gradient at all,
                or weights that the optimizer does not know.
        """
        owner = f"{type(self).__name__} {self.name!r}: apply"
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(f"{owner}: trainable_variables must be given before build()")
            variables = list(self._slots)
        else:
            variables = [self._own(variable) for variable in trainable_variables]
            self.build(variables)
        if len(grads) != len(variables):
            raise ValueError(
                f"{owner}: grads must be one for each of {len(variables)} weights, got {len(grads)}"
            )
        given = {v: g for v, g in zip(variables, grads, strict=True) if g is not None}
        if not given:
            raise ValueError(f"{owner}: grads must have an array, got nothing but None")
        if len(given) < len(variables):
            names = [variable.path for variable in variables if variable not in given]
            warn(f"Gradients do not exist for variables {names}.")
        self._step(owner, given)

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Any
    ) -> tuple[list[Any], list[Any]]:
        """One step from values and to values; weights and optimizer stay as they are.

        Args:
            optimizer_variables: a value for each of `variables`.
            grads: as in `apply`.
            trainable_variables: a value for each weight that the optimizer was built with.

        Returns:
            The new values of the weights, and of `variables`.

        Raises:
            ValueError: the optimizer is not built, or another number of values.
        """
        owner = f"{type(self).__name__} {self.name!r}: stateless_apply"
        if not self.built:
            raise ValueError(f"{owner}: call build(trainable_variables) first")
        weights, own = [self._foreign.get(each, each) for each in self._learning], self.variables
        for name, values, of in (
            ("optimizer_variables", optimizer_variables, own),
            ("trainable_variables", trainable_variables, weights),
        ):
            if len(values) != len(of):
                raise ValueError(f"{owner}: {name} must be {len(of)} arrays, got {len(values)}")
        kept = [np.array(each) for each in (*weights, *own)]
        try:
            for variable, value in zip(
                (*weights, *own), (*trainable_variables, *optimizer_variables), strict=True
            ):
                _write(variable, np.asarray(value))
            self.apply(grads, weights)
            return [np.array(each) for each in weights], [np.array(each) for each in own]
        finally:
            for variable, value in zip((*weights, *own), kept, strict=True):
                _write(variable, value)

    @property
    def _learning(self) -> list[Variable]:
        """The weights that the optimizer was built with."""
        return list(self._slots)

    def _step(self, owner: str, gradients: dict[Variable, Any]) -> None:
        for variable in gradients:
            if variable in self._foreign:
                variable.assign(self._foreign[variable])
        executor = self._executor_of(tuple(gradients))
        parameters = []
        for variable, gradient in gradients.items():
            array = np.asarray(gradient, np.float32)
            if array.shape != variable.shape:
                raise ValueError(
                    f"{owner}: the gradient of {variable.path!r} must have shape {variable.shape}, "
                    f"got {array.shape}"
                )
            if self.loss_scale_factor is not None:
                array = array / np.float32(self.loss_scale_factor)
            parameter = _core.Parameter(variable.shape, variable.storage.matrix)
            parameter.set(array)
            parameters.append(parameter)
        executor.apply(parameters, float(self.rates(self.step, 1)[0]), self.step)
        self.step += 1
        for variable in gradients:
            if variable.constraint is not None:
                variable.assign(np.asarray(variable.constraint(variable.numpy())))
        self._write_back(gradients)

    def _write_back(self, changed: Iterable[Variable]) -> None:
        """Give weights that have changed, and are no Variables, their values."""
        for variable in changed:
            if variable in self._foreign:
                _write(self._foreign[variable], variable.numpy())

    def _executor_of(self, variables: tuple[Variable, ...]) -> _core.Executor:
        """An executor of nothing but the steps of these weights."""
        if variables not in self._executors:
            program = _Weights(variables)
            self._executors[variables] = _core.Executor(
                program,
                1,
                training=True,
                optimizer=self.groups(variables),
                rules=self.rules(variables),
            )
        return self._executors[variables]

    def _own(self, variable: Any) -> Variable:
        """The Variable that stands for a weight of any kind."""
        if isinstance(variable, Variable):
            return variable
        for own, foreign in self._foreign.items():
            if foreign is variable:
                return own
        if not hasattr(variable, "assign") and not isinstance(variable, np.ndarray):
            raise TypeError(
                f"{type(self).__name__} {self.name!r}: a weight must be a Variable or an array, "
                f"got {variable!r}"
            )
        values = np.asarray(variable, np.float32)
        name = str(getattr(variable, "name", "variable"))
        own = Variable(values.shape, lambda _: values, name=name)
        own.path = str(getattr(variable, "path", name))
        own.constraint = getattr(variable, "constraint", None)
        self._foreign[own] = variable
        return own


class _Weights(Program):
    """A program without instructions."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        super().__init__()
        self._learning = list(variables)

    @property
    def variables(self) -> list[Variable]:
        """The weights."""
        return self._learning


def _write(variable: Any, values: Any) -> None:
    if hasattr(variable, "assign"):
        variable.assign(values)
    else:
        variable[...] = values
