"""optimizer.py - what an optimizer is: a row of the core's table, its numbers, its slots.

The core makes the steps. Here stand the arguments that all optimizers share, the learning rate in
its three forms (a number, a schedule, a function), and the variables that belong to the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._arguments import flag, number
from cdl._named import Family, serialize
from cdl._state import State
from cdl._variable import Variable
from cdl.optimizers import schedules
from cdl.optimizers.rate import checked_rate, from_older_name, is_function
from cdl.optimizers.schedules import LearningRateSchedule
from cdl.optimizers.schedules.schedule import Formula
from cdl.utils.naming import unique

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

family = Family(
    "optimizer",
    "keras.optimizers",
    "a name, a config or an Optimizer instance",
    key=str.lower,
    snake=False,
)

# What the core does not do yet, and the values that ask for nothing. An argument that it learns to
# honour leaves this list, and nothing else changes here.
_NOT_YET: dict[str, tuple[Any, ...]] = {
    "weight_decay": (None,),
    "clipnorm": (None,),
    "clipvalue": (None,),
    "global_clipnorm": (None,),
    "use_ema": (False,),
    "ema_overwrite_frequency": (None,),
    "loss_scale_factor": (None,),
    "gradient_accumulation_steps": (None, 0),
}


class Optimizer:
    """Base of optimizers; a subclass names its row of the core's table.

    Args:
        learning_rate: a float, a LearningRateSchedule, or a function without arguments.
        weight_decay: not supported yet.
        clipnorm: not supported yet.
        clipvalue: not supported yet.
        global_clipnorm: not supported yet.
        use_ema: not supported yet.
        ema_momentum: of the moving average of the weights that `use_ema` asks for.
        ema_overwrite_frequency: not supported yet.
        loss_scale_factor: not supported yet.
        gradient_accumulation_steps: not supported yet.
        name: of the optimizer; None makes one from the class.
        kwargs: `lr`, the older name of `learning_rate`, and `decay`: the rate of a step is then
            ``learning_rate / (1 + decay * step)``, with 0 for the first step.

    Raises:
        ValueError: an argument that is not known, not supported, or has a wrong value.
    """

    row = ""
    # Slots that come after those of all variables in `variables`, as Keras has them.
    late_slots: tuple[str, ...] = ()

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        learning_rate = from_older_name(type(self), learning_rate, kwargs)
        decay = kwargs.pop("decay", None)
        if kwargs:
            raise ValueError(f"{owner}: arguments not recognized: {kwargs}")
        self.decay = 0.0 if decay is None else number(owner, "decay", decay, low=0.0)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = flag(owner, "use_ema", use_ema)
        self.ema_momentum = number(owner, "ema_momentum", ema_momentum, 0.0, 1.0)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        for argument, nothing in _NOT_YET.items():
            if not any(getattr(self, argument) is value for value in nothing):
                raise ValueError(
                    f"{owner}: {argument} is not supported yet, so it must be {nothing[0]}, "
                    f"got {getattr(self, argument)!r}"
                )
        rate = checked_rate(owner, learning_rate)

        self.name = name or unique(type(self))
        self._iterations = State(0, dtype="int64", name="iteration", owner=self.name)
        self._rate: State | LearningRateSchedule | Callable[[], Any]
        self._rate = self._rate_state(rate) if isinstance(rate, float) else rate
        self._slots: dict[Variable, list[Variable]] = {}

    # The learning rate

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step: a variable, or what the schedule or function gives."""
        if isinstance(self._rate, State):
            return self._rate
        if isinstance(self._rate, LearningRateSchedule):
            return self._rate(int(self._iterations))
        return self._rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, LearningRateSchedule) or is_function(value):
            self._rate = value
        elif isinstance(self._rate, LearningRateSchedule):
            raise TypeError(
                f"{type(self).__name__}: learning_rate cannot be set to {value!r}, since it was "
                "made with a LearningRateSchedule; give the optimizer a float to make it settable"
            )
        elif isinstance(self._rate, State):
            self._rate.assign(value)
        else:
            self._rate = self._rate_state(value)

    lr = learning_rate

    def rates(self, first: int, n: int) -> NDArray[np.float32]:
        """The rates of steps `first` to `first + n - 1`: one each, or one for all."""
        steps = np.arange(first, first + n)
        if isinstance(self._rate, State):
            rates = np.full(n if self.decay else 1, float(self._rate))
        elif isinstance(self._rate, Formula):
            rates = np.asarray(self._rate(steps), np.float64)
        elif isinstance(self._rate, LearningRateSchedule):
            rates = np.array([float(self._rate(int(step))) for step in steps])
        else:
            rates = np.array([float(self._rate()) for _ in steps])
        if self.decay:
            rates = rates / (1.0 + self.decay * steps)
        return rates.astype(np.float32)

    def _rate_state(self, value: Any) -> State:
        return State(value, name="learning_rate", owner=self.name)

    # What the core reads

    @property
    def iterations(self) -> State:
        """How many steps have been made: an integer variable."""
        return self._iterations

    @iterations.setter
    def iterations(self, value: Any) -> None:
        self._iterations.assign(int(value))

    def hypers(self) -> dict[str, float]:
        """The row's hyper-parameters: attributes of their names."""
        return {name: float(getattr(self, name)) for name in _core.OPTIMIZERS[self.row].hypers}

    @property
    def slots(self) -> dict[Variable, list[_core.Parameter]]:
        """What the optimizer keeps for each variable, in the order of the row."""
        return {
            variable: [slot.storage for slot in slots] for variable, slots in self._slots.items()
        }

    # Variables

    @property
    def built(self) -> bool:
        """Whether `build` was called."""
        return bool(self._slots)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots of the variables that are to be trained; again for the same is nothing.

        Raises:
            ValueError: a variable that was not there when slots were made first.
        """
        if self.row not in _core.OPTIMIZERS:
            raise NotImplementedError(
                f"{type(self).__name__}: row must name one of {', '.join(_core.OPTIMIZERS)}; "
                "optimizers written in Python are not supported"
            )
        if not self.built:
            self._slots = {variable: self._new_slots(variable) for variable in variables}
        for variable in variables:
            if variable not in self._slots:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: variables must be those that it was "
                    f"built with, got {variable.path!r}; make a new optimizer for other variables"
                )

    def _new_slots(self, variable: Variable) -> list[Variable]:
        slots = []
        for name in _core.OPTIMIZERS[self.row].slots:
            slot = Variable(
                variable.shape,
                None,
                name=f"{variable.path.replace('/', '_')}_{name}",
                trainable=False,
                matrix=variable.storage.matrix,
            )
            slot.path = f"{self.name}/{slot.name}"
            slots.append(slot)
        return slots

    @property
    def variables(self) -> list[State | Variable]:
        """iteration, learning_rate (unless scheduled), then the slots, weight by weight."""
        names = _core.OPTIMIZERS[self.row].slots
        early: list[State | Variable] = []
        late: list[State | Variable] = []
        for slots in self._slots.values():
            for name, slot in zip(names, slots, strict=True):
                (late if name in self.late_slots else early).append(slot)
        scalars = [self._rate] if isinstance(self._rate, State) else []
        return [self._iterations, *scalars, *early, *late]

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """The arguments that all optimizers share; a subclass adds its own."""
        rate: Any = self._rate
        config = {
            "name": self.name,
            "learning_rate": float(rate) if isinstance(rate, State) else serialize(rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        if self.decay:  # Keras has no such key any more
            config["decay"] = self.decay
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """A new one from what `get_config` gave."""
        rate = config.get("learning_rate")
        if isinstance(rate, Mapping):
            rate = schedules.deserialize(rate, custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
