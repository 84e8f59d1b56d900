"""What an optimizer keeps: slots, moving averages and sums of gradients, by weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._tracing.variable import Variable
from cdl._variables.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl.optimizers.learning_rate import LearningRate

    Slots = Mapping[Variable, Sequence[_core.Parameter]]
    Groups = list[tuple[str, Mapping[str, float], Slots]]


class Keeping:
    """The part of an optimizer that has variables of its own, and says how each weight learns.

    A subclass names its row of the core's table; one whose weights do not all learn alike overrides
    `row_of`.
    """

    row = ""
    is_written = False  # whether a class of the user's makes the steps: see written.py
    # Slots that come after all the others in `variables`, one after the other, as Keras has them.
    late_slots: tuple[str, ...] = ()

    name: str
    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    _iterations: State
    _learning_rate: LearningRate

    def _begin_keeping(self) -> None:
        self.built = False
        self._averages: dict[Variable, Variable] = {}
        self._accumulators: dict[Variable, Variable] = {}
        self._slots: dict[Variable, list[Variable]] = {}
        self._foreign: dict[Variable, Any] = {}  # weights of other kinds, see applying.py
        self._executors: dict[tuple[Variable, ...], _core.Executor] = {}
        self._excluded: set[Variable] = set()
        self._excluded_names: re.Pattern[str] | None = None

    # How the weights learn: what the core reads

    def row_of(self, variable: Variable) -> str:
        """The row of the core's table by which a weight learns."""
        del variable
        return self.row

    def hypers(self, row: str) -> dict[str, float]:
        """The row's hyper-parameters: attributes of their names."""
        return {name: float(getattr(self, name)) for name in _core.OPTIMIZERS[row].hypers}

    def groups(self, variables: Iterable[Variable]) -> Groups:
        """Those weights by row: the row, its hyper-parameters, and the slots of each weight."""
        found: dict[str, dict[Variable, list[_core.Parameter]]] = {}
        for variable in variables:
            slots = [slot.storage for slot in self._slots[variable]]
            found.setdefault(self.row_of(variable), {})[variable] = slots
        return [(row, self.hypers(row), slots) for row, slots in found.items()]

    def rules(self, variables: Iterable[Variable]) -> dict[str, Any]:
        """What stands around the update of those weights, as the core's Executor takes it."""
        variables = list(variables)
        return {
            "weight_decay": {each: self.decay_of(each) for each in variables},
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency if self.use_ema else None,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "averages": storages(self._averages, variables),
            "accumulators": storages(self._accumulators, variables),
        }

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave weights out of the weight decay; a second call forgets the first.

        Args:
            var_list: weights.
            var_names: patterns that are searched for in the weights' names, such as "bias".

        Raises:
            ValueError: the optimizer is built, so that it has begun to learn.
        """
        if self.built:
            raise ValueError(
                f"{type(self).__name__}: exclude_from_weight_decay must be called before the "
                "optimizer is built, which the first training does"
            )
        self._excluded = {self._own(each) for each in var_list or ()}
        names = set(var_names or ())
        self._excluded_names = re.compile("|".join(names)) if names else None

    def decays(self, variable: Variable) -> bool:
        """Whether a weight is not left out of the weight decay."""
        names = self._excluded_names
        return variable not in self._excluded and not (names and names.search(variable.name))

    def decay_of(self, variable: Variable) -> float:
        """The weight decay of a weight; 0 for none."""
        return (self.weight_decay or 0.0) if self.decays(variable) else 0.0

    # Variables

    @property
    def slots(self) -> dict[Variable, list[_core.Parameter]]:
        """What is kept for each weight, in the order of its row."""
        return {each: [slot.storage for slot in slots] for each, slots in self._slots.items()}

    @property
    def averages(self) -> dict[Variable, Variable]:
        """With `use_ema` the moving average of each weight, once this is built."""
        return dict(self._averages)

    def build(self, var_list: Sequence[Variable]) -> None:
        """Make what is kept for the weights that are to be trained; again for the same is nothing.

        Raises:
            ValueError: a weight that was not there when this was called first.
        """
        if self.row not in _core.OPTIMIZERS and not self.is_written:
            raise NotImplementedError(
                f"{type(self).__name__} must have an update_step(gradient, variable, "
                "learning_rate) of its own"
            )
        variables = [self._own(each) for each in var_list]
        if not self.built:
            if self.use_ema:
                self._averages = {each: self._like(each, "average") for each in variables}
            if self.gradient_accumulation_steps:
                name = "gradient_accumulator"
                self._accumulators = {each: self._like(each, name) for each in variables}
            self._slots = {each: self._new_slots(each) for each in variables}
            self.built = True
        for variable in variables:
            if variable not in self._slots:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: variables must be those that it was "
                    f"built with, got {variable.path!r}; make a new optimizer for other variables"
                )

    def _own(self, variable: Any) -> Variable:
        """The Variable that stands for a weight of any kind: see applying.py."""
        own: Variable = variable
        return own

    def _new_slots(self, variable: Variable) -> list[Variable]:
        names = _core.OPTIMIZERS[self.row_of(variable)].slots
        slots = [self._like(variable, name) for name in names]
        for name, slot in zip(names, slots, strict=True):
            first = self.first_values(name, variable)
            if first is not None:
                slot.assign(first)
        return slots

    def first_values(self, slot: str, variable: Variable) -> NDArray[np.float32] | None:
        """What a slot of a weight begins with; None is 0."""
        del slot, variable
        return None

    def _like(self, variable: Variable, name: str) -> Variable:
        """A variable of the shape and layout of a weight, and named after it."""
        full = f"{variable.path.replace('/', '_')}_{name}"
        matrix = variable.storage.matrix
        own = Variable(variable.shape, None, name=full, trainable=False, matrix=matrix)
        own.path = f"{self.name}/{full}"
        return own

    @property
    def variables(self) -> list[State | Variable]:
        """iteration, learning_rate (unless scheduled), averages, sums of gradients, slots."""
        scalars = [self._iterations, *self._learning_rate.variables]
        kept = [*self._averages.values(), *self._accumulators.values()]
        early: list[State | Variable] = []
        late: dict[str, list[State | Variable]] = {name: [] for name in self.late_slots}
        for variable in self._slots:
            for name, slot in self._slots_as_listed(variable):
                late.get(name, early).append(slot)
        return [*scalars, *kept, *early, *chain(*late.values())]

    def _slots_as_listed(self, variable: Variable) -> list[tuple[str, State | Variable]]:
        """Name and value of each slot of a weight, as `variables` lists them."""
        names = _core.OPTIMIZERS[self.row_of(variable)].slots
        return list(zip(names, self._slots[variable], strict=True))

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """The end of training: with `use_ema` the weights become their moving averages."""
        if self.use_ema and int(self._iterations):
            for variable in var_list:
                if self._own(variable) in self._averages:
                    variable.assign(self._averages[self._own(variable)].numpy())

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign `variables`, in their order.

        Raises:
            ValueError: the optimizer is not built, or another number or shape of arrays.
        """
        owner, variables = f"{type(self).__name__} {self.name!r}: set_weights", self.variables
        if not self.built:
            raise ValueError(f"{owner}: call build(variables) first")
        if len(weights) != len(variables):
            raise ValueError(
                f"{owner}: weights must be {len(variables)} arrays, got {len(weights)}"
            )
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(np.asarray(weight))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: all but what can be made anew."""
        return {**self.__dict__, "_executors": {}}


def storages(
    kept: dict[Variable, Variable], variables: Iterable[Variable]
) -> dict[Variable, _core.Parameter]:
    """What is kept for those weights, as the core has it."""
    return {each: kept[each].storage for each in variables if each in kept}
