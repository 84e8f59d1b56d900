"""Optimizer: the base of optimizers, with a row of the core's table, hyper-parameters and slots.

The core makes the steps. Here are the arguments that all optimizers share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl import _core
from cdl._common import html
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
from cdl._tracing.variable import Variable
from cdl._variables.assigning import assign_all
from cdl._variables.state import State
from cdl._variables.stepping import recorded, touched
from cdl.optimizers import rate_factors, schedules
from cdl.optimizers.apply import ForeignWeights, Steps, apply, stateless_apply
from cdl.optimizers.learning_rate import LearningRate, next_rate
from cdl.optimizers.python_optimizer import OwnOptimizer, PythonSteps, check_overridden
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import UNLISTED, Settings
from cdl.optimizers.slots import Slots

Groups = list[tuple[str, Mapping[str, float], Mapping[Variable, Sequence[_core.Parameter]]]]


def from_older_name(cls: type, learning_rate: Any, kwargs: dict[str, Any]) -> Any:
    """The learning rate of a constructor call that names it `lr`, as Keras 2 did."""
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


class Optimizer(Settings, OwnOptimizer, Hinting):
    """Base of optimizers; a subclass names its row of the core's table.

    Attributes of the names of arguments may be set at any time, and count from the next step on.
    One of your own has an `update_step` instead, in Python, and adds what it keeps in `build`: see
    `OwnOptimizer`.

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
            ``learning_rate / (1 + decay * step)``, with 0 for the first step. `rate_factors`, such
            as ``{"bias": 0.1, "embedding": 0.5}``: a weight whose path has such a pattern learns at
            that part of the rate, by the first that fits; weight decay goes on at the whole rate.

    Raises:
        ValueError: an argument that is not known or has a wrong value, or more than one of
            `clipnorm`, `clipvalue` and `global_clipnorm`.
    """

    _inner: tuple[str, ...] = (
        "averages", "begins_alike", "by_step", "changes", "converged", "counter", "decay_of",
        "decays", "first_values", "follow", "gathers", "groups", "has_one_rate", "hypers",
        "is_written", "late_slots", "extra_arguments", "rate", "rates", "reads_paths", "row",
        "row_of", "rules", "slots", "step", "whole_batch",
    )  # fmt: skip
    row = ""  # of the core's table; if weights do not all learn alike `row_of` is overridden
    # Slots that come after all the others in `variables`, one after the other, as Keras has them.
    late_slots: tuple[str, ...] = ()
    _lists_nothing = True  # whether `variables` has numbers for slots that a weight has none of

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float],
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
        decay, factors = kwargs.pop("decay", None), kwargs.pop("rate_factors", None)
        own = [(name, kwargs.pop(name)) for name in self._hypers if name in kwargs]
        if kwargs:
            raise not_recognized(type(self), kwargs)
        self.decay = 0.0 if decay is None else number(owner, "decay", decay, low=0.0)
        self.rate_factors = rate_factors.checked(owner, factors)
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
        self._rate = LearningRate(owner, self.name, learning_rate)
        self.built = False
        self._own_slots = Slots(self)
        self._python = PythonSteps()
        self._foreign = ForeignWeights(f"{owner} {self.name!r}")
        self._executors: dict[tuple[int, ...], Steps] = {}  # by ids of weights
        self._excluded: set[Variable] = set()
        self._excluded_names: re.Pattern[str] | None = None
        for argument, value in own:
            setattr(self, argument, self._hypers[argument].checked(owner, argument, value))

    def _check_shared(self, owner: str) -> None:
        """Check the shared arguments: numbers, and integers where they count steps."""
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
        """Learning rate of the next step: a variable, or the value of the schedule or function."""
        constant = self._rate.variables
        return constant[0] if constant else recorded(next_rate, self)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._rate.set(value)

    lr = learning_rate

    @property
    def has_one_rate(self) -> bool:
        """Whether the rate is constant until it is set."""
        return not self.decay and bool(self._rate.variables)

    def rates(self, first: int, n: int) -> NDArray[np.float32]:
        """Learning rates of steps `first` to `first + n - 1`: one each, or one for all."""
        return self._rate.rates(first, n, self.decay)

    def rate(self, step: int) -> float:
        """Learning rate of one step."""
        return self._rate.rate(step, self.decay)

    @property
    def iterations(self) -> State:
        """Number of updates made so far: an integer variable.

        With `gradient_accumulation_steps` it is a copy, so that assigning to it has no effect.
        """
        each = self.gradient_accumulation_steps
        if each:
            touched("iterations of an optimizer that accumulates gradients are read")
            return State(self.step // each, dtype="int64", name="iteration", owner=self.name)
        return self._iterations

    @iterations.setter
    def iterations(self, value: Any) -> None:
        self.step = int(value) * (self.gradient_accumulation_steps or 1)

    @property
    def step(self) -> int:
        """Number of batches trained on, which schedules and `rates` count."""
        return int(self._iterations)

    @step.setter
    def step(self, value: int) -> None:
        self._iterations.assign(value)

    @property
    def counter(self) -> NDArray[np.int64]:
        """Memory of `step`, an array of one number."""
        return self._iterations._array.reshape(1)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # Rows and arguments of weights that the core reads

    def row_of(self, variable: Variable) -> str:
        """The row of the core's table that updates a weight."""
        del variable
        return self.row

    def hypers(self, row: str) -> dict[str, float]:
        """Hyper-parameters of a row, from the attributes of their names."""
        return {name: float(getattr(self, name)) for name in _core.OPTIMIZERS[row].hypers}

    def groups(self, variables: Iterable[Variable], steps: bool = False) -> Groups:
        """The weights grouped by row and rate: row, hyper-parameters, and each weight's slots."""
        if self.gathers and not steps:  # `steps` for `apply`, which is no gathering
            return [("sgd", {}, {each: [] for each in variables})]
        found: dict[tuple[str, float], dict[Variable, list[_core.Parameter]]] = {}
        slots = self._slots
        for variable in variables:
            kind = self.row_of(variable), rate_factors.factor_of(self.rate_factors, variable)
            found.setdefault(kind, {})[variable] = slots.storages(variable)
        each = found.items()
        return [(row, {**self.hypers(row), "rate_factor": by}, of) for (row, by), of in each]

    def rules(self, variables: Iterable[Variable], steps: bool = False) -> dict[str, Any]:
        """Decay, clipping, averages and accumulation for those weights, as the core takes them."""
        variables = list(variables)
        if self.gathers and not steps:  # where the step is in Python, so is what stands around it
            return self._python.rules(variables)
        return {
            "weight_decay": {each: self.decay_of(each) for each in variables},
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency if self.use_ema else None,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            **self._slots.rules(variables),
        }

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exclude weights from weight decay; a second call replaces the first.

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
        self._excluded = {self._foreign.mirror_of(each) for each in var_list or ()}
        names = set(var_names or ())
        self._excluded_names = re.compile("|".join(names)) if names else None

    def decays(self, variable: Variable) -> bool:
        """Whether weight decay applies to a weight."""
        names = self._excluded_names
        return variable not in self._excluded and not (names and names.search(variable.name))

    def decay_of(self, variable: Variable) -> float:
        """The weight decay of a weight; 0 for none."""
        return (self.weight_decay or 0.0) if self.decays(variable) else 0.0

    # Variables

    @property
    def slots(self) -> dict[Variable, list[_core.Parameter]]:
        """Slots of each weight, in the order of its row."""
        return {each: self._slots.storages(each) for each in self._slots.of_weights}

    @property
    def averages(self) -> dict[Variable, Variable]:
        """Moving averages of the weights, with `use_ema` and once built."""
        return dict(self._slots.averages)

    def build(self, var_list: Sequence[Variable]) -> None:
        """Create the slots of the weights to train; a second call for the same ones does nothing.

        Raises:
            ValueError: a weight that was not there when this was called first.
        """
        if self.row not in _core.OPTIMIZERS and not self.is_written:
            raise NotImplementedError(
                f"{type(self).__name__} must have an update_step(gradient, variable, "
                "learning_rate) of its own"
            )
        variables = [self._foreign.mirror_of(each) for each in var_list]
        if not self.built:
            check_overridden(self)
            self._check_settings()
            if self.gathers:
                self._python.build(self, variables)
            self._own_slots = Slots(self, variables)
            self.built = True
        for variable in variables:
            if variable not in self._own_slots:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: variables must be those that it was "
                    f"built with, got {variable.path!r}; make a new optimizer for other variables"
                )

    def first_values(self, slot: str, variable: Variable) -> NDArray[np.float32] | None:
        """Initial values of a weight's slot; None for 0."""
        del slot, variable
        return None

    def _like(self, variable: Variable, name: str) -> Variable:
        """Create a variable with a weight's shape and layout, named after it."""
        full = f"{variable.path.replace('/', '_')}_{name}"
        matrix = variable.storage.matrix
        more: Any = {"matrix": matrix, "dtype": variable.kept_dtype}
        slot = Variable(variable.shape, None, name=full, trainable=False, **more)
        slot.path = f"{self.name}/{full}"
        return slot

    def _slots_as_listed(self, variable: Variable) -> list[tuple[str, State | Variable]]:
        """Name and value of each slot of a weight, as `variables` lists them."""
        slots = self._slots.of_weights[variable]
        names = _core.OPTIMIZERS[self.row_of(variable)].slots if slots else ()
        return list(zip(names, slots, strict=True))

    @property
    def variables(self) -> list[State | Variable]:
        """iteration, learning_rate (unless scheduled), averages, sums of gradients, slots.

        Then come those that a class of the user's has added.
        """
        shared = [self._iterations, *self._rate.variables]
        return [*shared, *self._slots.listed(self), *self._python.added]

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Replace the weights by their moving averages, with `use_ema`, after training."""
        if self.use_ema and int(self._iterations):
            for variable in var_list:
                average = self._slots.averages.get(self._foreign.mirror_of(variable))
                if average is not None:
                    variable.assign(average.numpy())

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign `variables`, in their order; all of them, or none.

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
        assign_all(zip(variables, map(np.asarray, weights), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy: all but the executors, which are made again."""
        return {**self.__dict__, "_executors": {}}

    # Steps

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> State:
        """Make one step from pairs of a gradient and a weight; returns `iterations`."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Make one step of the weights by gradients.

        Args:
            grads: arrays of the shapes of the weights; None for a weight that is to stay.
            trainable_variables: the weights; None for those that the optimizer was built with.

        Raises:
            ValueError: another number of gradients than weights, another shape, no gradient at all,
                or weights that the optimizer does not know.
        """
        recorded(apply, self, grads, trainable_variables)

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[Any], list[Any]]:
        """Make one step from values to values; weights and optimizer stay as they are.

        Args:
            optimizer_variables: a value for each of `variables`.
            grads: as in `apply`.
            trainable_variables: a value for each weight that the optimizer was built with.

        Returns:
            The new values of the weights, and of `variables`.

        Raises:
            ValueError: the optimizer is not built, or another number of values.
        """
        return stateless_apply(self, optimizer_variables, grads, trainable_variables)

    def follow(self, learned: bool) -> None:
        """Make the step in Python, where it is written in Python, after a training batch.

        Args:
            learned: whether the batch counts.
        """
        if self.gathers:
            self._python.follow(self, learned)

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        config = {
            "name": self.name,
            "learning_rate": self._rate.config(),
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
        # Keras has no such key any more, or none at all.
        config |= {each: getattr(self, each) for each in UNLISTED if getattr(self, each)}
        return config | {name: getattr(self, name) for name in self.extra_arguments}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Create an optimizer from the dict that `get_config` returned."""
        rate = config.get("learning_rate")
        if isinstance(rate, Mapping):
            rate = schedules.deserialize(rate, custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    _repr_html_ = html.of_optimizer

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, name)
        except AttributeError as error:
            if name not in ("minimize", "compute_gradients", "get_gradients"):
                raise
            text = (
                f"{error}: values, gradients = cdl.value_and_grad(loss, variables=weights)(x), and "
                "then apply(gradients, weights); or compile() and fit()"
            )
            raise AttributeError(text, name=name, obj=self) from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
