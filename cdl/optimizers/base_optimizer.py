"""What an optimizer is: a row of the core's table, its numbers, its slots.

The core makes the steps. Here stand the arguments that all optimizers share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.errors import Hinting
from cdl._common.naming import unique
from cdl._common.validation import (
    expected,
    flag,
    not_recognized,
    number,
    positive_int,
    whole,
)
from cdl._configs.identifiers import Registry
from cdl._variables.state import State
from cdl.optimizers import schedules
from cdl.optimizers.learning_rate import LearningRate
from cdl.optimizers.python_optimizer import Familiar

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


def from_older_name(cls: type, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
    """The learning rate of a class's constructor, which tutorials of ten years call `lr`."""
    if "lr" not in kwargs:
        return learning_rate
    import inspect

    owner = cls.__name__
    default = inspect.signature(cls).parameters["learning_rate"].default
    if learning_rate is not default and learning_rate != default:
        raise ValueError(f"{owner}: learning_rate and lr are the same argument, got both")
    lr = kwargs.pop("lr")
    return float(lr) if isinstance(lr, (int, np.number)) and not isinstance(lr, bool) else lr


registry = Registry(
    "optimizer",
    "keras.optimizers",
    "a name, a config or an Optimizer instance",
    key=str.lower,
    snake=False,
)


class Optimizer(Familiar, Hinting):
    """Base of optimizers; a subclass names its row of the core's table.

    One of your own has an `update_step` instead, in Python, and adds what it keeps in `build`: see
    `Written`.

    Args:
        learning_rate: a number >= 0, a LearningRateSchedule, or a function without
            arguments.
        weight_decay: before each update ``w -= w * weight_decay * rate``, for all weights but those
            that `exclude_from_weight_decay` names; at least 0, None for none.
        clipnorm: the largest norm of each weight's gradient, which is scaled down to it.
        clipvalue: the largest absolute value of an element of a gradient, which is cut off there.
        global_clipnorm: the largest norm of all gradients together.
        use_ema: whether to keep ``average = ema_momentum * average + (1 - ema_momentum) * w`` after
            each step, starting from the weights after the first; `fit` ends with ``w = average``.
        ema_momentum: from 0 to 1.
        ema_overwrite_frequency: after so many steps ``w = average`` each time; None: at the end.
        loss_scale_factor: what the loss is multiplied by before its gradient is taken, and the
            gradient divided by afterwards. That is nothing in float32, so `fit` leaves both out;
            `apply` divides the gradients that it is given.
        gradient_accumulation_steps: the mean gradient of so many batches makes one update; at least
            2, or None.
        name: of the optimizer; None makes one from the class.
        kwargs: `lr`, the older name of `learning_rate`, and `decay`: the rate of a step is then
            ``learning_rate / (1 + decay * step)``, with 0 for the first step.

    Raises:
        ValueError: an argument that is not known or has a wrong value, or more than one of
            `clipnorm`, `clipvalue` and `global_clipnorm`.
    """

    _inner: tuple[str, ...] = (
        "averages", "by_step", "counter", "decay_of", "decays", "first_values", "follow", "groups",
        "has_one_rate", "hypers", "is_written", "late_slots", "own_arguments", "rates", "row",
        "row_of", "rules", "slots", "step",
    )  # fmt: skip
    own_arguments: Sequence[str] = ()  # beside the shared ones; attributes have their names
    by_step = False  # whether `follow` is to be called after each batch

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
            raise not_recognized(type(self), kwargs)
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
        self._check_shared(owner)
        self.name = name or unique(type(self))
        self._iterations = State(0, dtype="int64", name="iteration", owner=self.name)
        self._learning_rate = LearningRate(owner, self.name, learning_rate)
        self._begin_keeping()

    def _check_shared(self, owner: str) -> None:
        """The numbers of the shared arguments are numbers, and whole where they count steps."""
        if self.weight_decay is not None:
            number(owner, "weight_decay", self.weight_decay, low=0.0)
        if self.loss_scale_factor is not None:
            number(owner, "loss_scale_factor", self.loss_scale_factor, above=0.0)
        clips = {name: getattr(self, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
        given = {name: value for name, value in clips.items() if value is not None}
        for argument, value in given.items():
            number(owner, argument, value, low=0.0)
        if len(given) > 1:
            raise ValueError(
                f"{owner}: only one of clipnorm, clipvalue and global_clipnorm can be given, "
                f"got {given}"
            )
        if self.ema_overwrite_frequency is not None:
            positive_int(owner, "ema_overwrite_frequency", self.ema_overwrite_frequency)
        steps = self.gradient_accumulation_steps
        if steps is not None and (whole(owner, "gradient_accumulation_steps", steps) < 2):
            raise expected(owner, "gradient_accumulation_steps", "an int >= 2", steps)

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step: a variable, or what the schedule or function gives."""
        return self._learning_rate.at(int(self._iterations))

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate.set(value)

    lr = learning_rate

    @property
    def has_one_rate(self) -> bool:
        """Whether the rate stays what it is until somebody sets it."""
        return not self.decay and bool(self._learning_rate.variables)

    def rates(self, first: int, n: int) -> NDArray[np.float32]:
        """The rates of steps `first` to `first + n - 1`: one each, or one for all."""
        return self._learning_rate.rates(first, n, self.decay)

    @property
    def iterations(self) -> State:
        """How many updates have been made: an integer variable.

        With `gradient_accumulation_steps` it is a copy, so that assigning to it has no effect.
        """
        each = self.gradient_accumulation_steps
        if each:
            return State(self.step // each, dtype="int64", name="iteration", owner=self.name)
        return self._iterations

    @iterations.setter
    def iterations(self, value: Any) -> None:
        self.step = int(value) * (self.gradient_accumulation_steps or 1)

    @property
    def step(self) -> int:
        """How many batches have been learned from: what schedules and `rates` count."""
        return int(self._iterations)

    @step.setter
    def step(self, value: int) -> None:
        self._iterations.assign(value)

    @property
    def counter(self) -> NDArray[np.int64]:
        """The memory of `step`, as an array of one number."""
        return self._iterations._array.reshape(1)

    def scale_loss(self, loss: Any) -> Any:
        """The loss as its gradient is to be taken: times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {
            "name": self.name,
            "learning_rate": self._learning_rate.config(),
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
        return config | {name: getattr(self, name) for name in self.own_arguments}

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
