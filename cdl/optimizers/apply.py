"""Single optimizer steps from gradients that the caller has computed.

The core makes it, by the same functions as in `fit`. A weight that is no `cdl.Variable` (an object
with `assign`, or a NumPy array) is copied into one before the step and out of it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._common.errors import warn
from cdl._common.locks import new_rlock
from cdl._ir.program import Program
from cdl._tracing.variable import Variable
from cdl._variables.program_caches import register_cache
from cdl._variables.state import scopes

if TYPE_CHECKING:
    from cdl.optimizers.base_optimizer import Optimizer


class ForeignWeights:
    """Weights of other kinds than Variable, each with a Variable that mirrors it."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.given: dict[Variable, Any] = {}

    def mirror_of(self, variable: Any) -> Variable:
        """The Variable that mirrors a weight of any kind; a Variable itself.

        Raises:
            TypeError: what is no weight.
        """
        if isinstance(variable, Variable):
            return variable
        for mirror, foreign in self.given.items():
            if foreign is variable:
                return mirror
        if not hasattr(variable, "assign") and not isinstance(variable, np.ndarray):
            raise TypeError(
                f"{self._owner}: a weight must be a Variable or an array, got {variable!r}"
            )
        values = np.asarray(variable, np.float32)
        name = str(getattr(variable, "name", "variable"))
        mirror = Variable(values.shape, lambda _: values, name=name)
        mirror.path = str(getattr(variable, "path", name))
        mirror._constraint = getattr(variable, "constraint", None)
        self.given[mirror] = variable
        return mirror

    def read(self, variables: Iterable[Variable]) -> None:
        """Copy the weights' values into their mirrors among `variables`."""
        for variable in variables:
            if variable in self.given:
                variable.assign(self.given[variable])

    def write(self, variables: Iterable[Variable]) -> None:
        """Copy changed values of the mirrors to the foreign weights."""
        for variable in variables:
            if variable in self.given:
                _write(self.given[variable], variable.numpy())


def apply(
    optimizer: Optimizer, grads: Sequence[Any], trainable_variables: Sequence[Any] | None
) -> None:
    """Make one step of an optimizer from gradients: all of `Optimizer.apply`."""
    grads = list(grads)
    if not grads:
        return
    if trainable_variables is not None:
        trainable_variables = list(trainable_variables)
        steps = optimizer._executors.get(tuple(map(id, trainable_variables)))
        if steps is not None and optimizer.loss_scale_factor is None and steps.takes(grads):
            steps.make(optimizer, grads)
            return
    owner = f"{type(optimizer).__name__} {optimizer.name!r}: apply"
    if trainable_variables is None:
        if not optimizer.built:
            raise ValueError(f"{owner}: trainable_variables must be given before build()")
        variables = list(optimizer._slots.of_weights)
    else:
        variables = [optimizer._foreign.mirror_of(variable) for variable in trainable_variables]
        optimizer.build(variables)
    if len(grads) != len(variables):
        raise ValueError(
            f"{owner}: grads must be one for each of {len(variables)} weights, got {len(grads)}"
        )
    given = {v: g for v, g in zip(variables, grads, strict=True) if g is not None}
    if not given:
        raise ValueError(f"{owner}: No gradients provided for any variable.")
    if len(given) < len(variables):
        names = [variable.path for variable in variables if variable not in given]
        warn(f"Gradients do not exist for variables {names}.")
    arrays = {each: _divided(optimizer, owner, each, g) for each, g in given.items()}
    if optimizer.is_written:
        optimizer._python.apply(optimizer, arrays)
    else:
        _apply_in_core(optimizer, arrays)


def _divided(optimizer: Optimizer, owner: str, variable: Variable, gradient: Any) -> Any:
    """A gradient as an array of the weight's shape, divided by `loss_scale_factor`."""
    array = np.asarray(gradient, np.float32)
    if array.shape != variable.shape:
        raise ValueError(
            f"{owner}: the gradient of {variable.path!r} must have shape {variable.shape}, "
            f"got {array.shape}"
        )
    factor = optimizer.loss_scale_factor
    return array if factor is None else array / np.float32(factor)


def _apply_in_core(optimizer: Optimizer, gradients: dict[Variable, Any]) -> None:
    foreign = optimizer._foreign
    foreign.read(gradients)
    key = tuple(map(id, gradients))
    steps = optimizer._executors.get(key)
    if steps is None:
        steps = optimizer._executors[key] = Steps(optimizer, tuple(gradients))
    steps.make(optimizer, list(gradients.values()))
    foreign.write(gradients)


class Steps:
    """Steps of some weights alone, by gradients that are handed in.

    Args:
        optimizer: built for the weights.
        variables: the weights, which are held, so that their identities stay theirs.
    """

    def __init__(self, optimizer: Optimizer, variables: tuple[Variable, ...]) -> None:
        executor = executor_of(optimizer, variables)
        self._count = optimizer.counter
        self._variables = variables
        self._constrained: list[Variable] | None = None
        self._updates = _core.Updates(executor)
        self.takes = self._updates.takes
        self._lock = new_rlock()  # of gradients: what one thread has set, no other overwrites
        register_cache(self)

    def forget(self) -> None:
        """Forget which weights have constraints."""
        self._constrained = None

    def make(self, optimizer: Optimizer, gradients: list[Any]) -> None:
        """Make one step by the gradients."""
        constrained = self._constrained
        if constrained is None:
            constrained = [each for each in self._variables if each.constraint is not None]
            self._constrained = constrained
        with self._lock:
            for scope in scopes.open:
                scope.note(optimizer._iterations)
            step = self._count.item()
            self._updates.make(gradients, optimizer.rate(step), step)
        for variable in constrained:
            variable.assign(np.asarray(variable.constraint(variable.numpy())))


def executor_of(
    optimizer: Optimizer, variables: tuple[Variable, ...], after: _core.Executor | None = None
) -> _core.Executor:
    """Executor of steps of some weights from gradients, which the optimizer counts.

    Args:
        optimizer: built for the weights.
        variables: the weights.
        after: what runs behind each step.
    """
    executor = _core.Executor(
        _Weights(variables),
        1,
        training=True,
        optimizer=optimizer.groups(variables, steps=True),
        rules=optimizer.rules(variables, steps=True),
        after=after,
    )
    executor.count_in(optimizer.counter)
    return executor


class _Weights(Program):
    """A program without instructions."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        super().__init__()
        self._learning = list(variables)

    @property
    def variables(self) -> list[Variable]:
        return self._learning


def stateless_apply(
    optimizer: Optimizer,
    optimizer_variables: Sequence[Any],
    grads: Sequence[Any],
    trainable_variables: Sequence[Any],
) -> tuple[list[Any], list[Any]]:
    """Make one step from values to values: all of `Optimizer.stateless_apply`."""
    owner = f"{type(optimizer).__name__} {optimizer.name!r}: stateless_apply"
    if not optimizer.built:
        raise ValueError(f"{owner}: call build(trainable_variables) first")
    foreign, state = optimizer._foreign.given, optimizer.variables
    weights = [foreign.get(each, each) for each in optimizer._learning]
    for name, values, of in (
        ("optimizer_variables", optimizer_variables, state),
        ("trainable_variables", trainable_variables, weights),
    ):
        if len(values) != len(of):
            raise ValueError(f"{owner}: {name} must be {len(of)} arrays, got {len(values)}")
    kept = [np.array(each) for each in (*weights, *state)]
    try:
        for variable, value in zip(
            (*weights, *state), (*trainable_variables, *optimizer_variables), strict=True
        ):
            _write(variable, np.asarray(value))
        optimizer.apply(grads, weights)
        return [np.array(each) for each in weights], [np.array(each) for each in state]
    finally:
        for variable, value in zip((*weights, *state), kept, strict=True):
            _write(variable, value)


def _write(variable: Any, values: Any) -> None:
    if hasattr(variable, "assign"):
        variable.assign(values)
    else:
        variable[...] = values
