"""Slots, moving averages and gradient sums of an optimizer, by weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from cdl import _core
from cdl._common.locks import new_lock
from cdl._tracing.variable import Variable
from cdl._variables.state import State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cdl.optimizers.base_optimizer import Optimizer


_LOCK = new_lock()


class Begun(NamedTuple):
    """Values of slots.

    Attributes:
        names: of the slots of each weight.
        stacks: arrays of all slots of several optimizers, in the order of their names.
        row: index in each array.
    """

    names: Sequence[Sequence[str]]
    stacks: Sequence[NDArray[np.float32]]
    row: int


class Slots:
    """Variables of an optimizer that belong to weights.

    Args:
        optimizer: it says which they are.
        weights: that are trained; none before the optimizer is built.
        begun: values of the slots of weights, which are made once they are asked for.

    Attributes:
        averages: with `use_ema` the moving average of each weight.
        accumulators: with `gradient_accumulation_steps` the sum of the gradients of each weight.
        of_weights: what the rows of the core's table keep of each weight, in their order.
    """

    def __init__(
        self, optimizer: Optimizer, weights: Sequence[Variable] = (), begun: Begun | None = None
    ) -> None:
        self.averages: dict[Variable, Variable] = {}
        self.accumulators: dict[Variable, Variable] = {}
        self._accumulated: int | None = None  # steps
        # Slots made so far, by name, including those of rows no longer used.
        self._made: dict[Variable, dict[str, Variable]] = {each: {} for each in weights}
        self._begun = begun
        if begun is None:
            self.follow(optimizer)

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy, without values of other optimizers."""
        begun = self._begun
        if begun is not None:
            row = slice(begun.row, begun.row + 1)
            begun = Begun(begun.names, [stack[row] for stack in begun.stacks], 0)
        return {**self.__dict__, "_begun": begun}

    def __contains__(self, weight: Variable) -> bool:
        """Whether it is one of the weights."""
        return weight in self._made

    def made(self, optimizer: Optimizer) -> Slots:
        """Itself, with all variables."""
        if self._begun is not None:
            with _LOCK:
                self._make(optimizer)
        return self

    def _make(self, optimizer: Optimizer) -> None:
        if self._begun is None:  # another thread has made them
            return
        stacks = iter(self._begun.stacks)
        for (weight, made), names in zip(self._made.items(), self._begun.names, strict=True):
            for name in names:
                made[name] = optimizer._like(weight, name)
                made[name].storage.set(next(stacks)[self._begun.row])
        self.follow(optimizer)
        self._begun = None

    def follow(self, optimizer: Optimizer) -> None:
        """Create or drop variables as the optimizer's attributes ask; others keep their values."""
        like, steps = optimizer._like, optimizer.gradient_accumulation_steps
        if not optimizer.use_ema:
            self.averages = {}
        elif not self.averages:
            self.averages = {each: like(each, "average") for each in self._made}
            if optimizer.step:  # the first step begins them
                for weight, average in self.averages.items():
                    average.assign(weight.numpy())
        if steps != self._accumulated:
            weights = self._made if steps else ()
            self.accumulators = {each: like(each, "gradient_accumulator") for each in weights}
            self._accumulated = steps
        self.of_weights = {each: _slots(optimizer, each, had) for each, had in self._made.items()}

    def storages(self, weight: Variable) -> list[_core.Parameter]:
        """Slots of a weight in the core's memory, in the order of its row."""
        return [slot.storage for slot in self.of_weights[weight]]

    def rules(self, weights: Iterable[Variable]) -> dict[str, Any]:
        """Averages and gradient sums of those weights, for the core's Executor."""
        weights = list(weights)
        return {
            "averages": storages_of(self.averages, weights),
            "accumulators": storages_of(self.accumulators, weights),
        }

    def listed(self, optimizer: Optimizer) -> list[State | Variable]:
        """All variables in the order of `Optimizer.variables`."""
        early: list[State | Variable] = []
        late: dict[str, list[State | Variable]] = {name: [] for name in optimizer.late_slots}
        for weight in self.of_weights:
            for name, slot in optimizer._slots_as_listed(weight):
                late.get(name, early).append(slot)
        kept = [*self.averages.values(), *self.accumulators.values()]
        return [*kept, *early, *chain(*late.values())]


def _slots(optimizer: Optimizer, weight: Variable, made: dict[str, Variable]) -> list[Variable]:
    """The slots of the row by which a weight learns; new ones are added to those made so far."""
    if optimizer.is_written:
        return []
    names = _core.OPTIMIZERS[optimizer.row_of(weight)].slots
    for name in names:
        if name not in made:
            made[name] = optimizer._like(weight, name)
            first = optimizer.first_values(name, weight)
            if first is not None:
                made[name].assign(first)
    return [made[name] for name in names]


def storages_of(
    kept: dict[Variable, Variable], weights: Iterable[Variable]
) -> dict[Variable, _core.Parameter]:
    """Variables of those weights in the core's memory."""
    return {each: kept[each].storage for each in weights if each in kept}
