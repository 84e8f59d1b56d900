"""Custom optimizers, whose steps are written in Python: `update_step`.

The core gathers the gradient of each batch, as it does for many batches where gradients are
accumulated; the step is made between two batches, around it what Keras has around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import initializers
from cdl._common.dtypes import FLOATS, standardize_dtype
from cdl._common.errors import warn
from cdl._common.overriding import overrides
from cdl._common.validation import not_yet, one_of
from cdl._core import clear_all
from cdl._tracing.variable import Variable
from cdl._variables.assigning import assign_all
from cdl.optimizers.rate_factors import factor_of
from cdl.optimizers.slots import storages_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl.optimizers.apply import ForeignWeights
    from cdl.optimizers.base_optimizer import Optimizer
    from cdl.optimizers.slots import Slots

    Gradients = Mapping[Variable, NDArray[np.float32]]


_NEVER = 2**30  # batches before the core makes a step by itself
# Methods that `fit` calls in each step if a user has overridden them.
APPLYING = ("apply", "apply_gradients")
# Methods that Keras calls within a step, and the core does not.
_WITHIN = (
    "learning_rate", "_get_current_learning_rate", "_apply_weight_decay", "_backend_update_step",
    "_backend_apply_gradients", "_update_model_variables_moving_average",
    "_overwrite_model_variables_with_average_value",
)  # fmt: skip


def check_overridden(optimizer: Optimizer, *more: str) -> None:
    """NotImplementedError for methods of the user's that would be left out of each step."""
    cls = type(optimizer)
    clips = () if optimizer.is_written else ("_clip_gradients",)
    found = [name for name in (*_WITHIN, *clips, *more) if overrides(cls, name)]
    if found:
        raise NotImplementedError(
            f"{cls.__name__}: {' and '.join(found)} must not be overridden, since steps do not "
            "call it; override apply(grads, trainable_variables), or update_step, and for rates "
            "pass a LearningRateSchedule"
        )


class PythonSteps:
    """Gradients and variables of a custom optimizer, and its steps.

    Attributes:
        gathered: by weight, the gradients that the core has gathered since the last step.
        added: the variables that the class of the user's has added.
    """

    def __init__(self) -> None:
        self.gathered: dict[Variable, Variable] = {}
        self.added: list[Variable] = []

    def build(self, optimizer: Optimizer, weights: Iterable[Variable]) -> None:
        """Create the variables that accumulate the core's gradients."""
        self.gathered = {each: optimizer._like(each, "gathered") for each in weights}

    def rules(self, weights: Iterable[Variable]) -> dict[str, Any]:
        """Settings for the core: accumulate gradients, never make a step."""
        return {
            "gradient_accumulation_steps": _NEVER,
            "accumulators": storages_of(self.gathered, weights),
        }

    def taken(self) -> Gradients:
        """Gradients accumulated since the last call."""
        gradients = {each: mirror.numpy() for each, mirror in self.gathered.items()}
        clear_all([mirror.storage for mirror in self.gathered.values()])
        return gradients

    def follow(self, optimizer: Optimizer, learned: bool) -> None:
        """Make the step by the accumulated gradients, if the batch counts."""
        gradients = self.taken()
        if not learned:
            return
        optimizer.step -= 1  # as the step sees it
        cls = type(optimizer)
        if not overrides(cls, *APPLYING):
            _step(optimizer, gradients)
            optimizer.step += 1
            return
        scale = optimizer.loss_scale_factor  # which `apply` divides by
        given = [g if scale is None else g * np.float32(scale) for g in gradients.values()]
        if overrides(cls, "apply_gradients"):
            optimizer.apply_gradients(list(zip(given, gradients, strict=True)))
        else:
            optimizer.apply(given, list(gradients))

    @staticmethod
    def apply(optimizer: Optimizer, gradients: Gradients) -> None:
        """Make a step by gradients that the caller has computed."""
        foreign = optimizer._foreign
        foreign.read(foreign.given)
        before = {each: each.numpy() for each in foreign.given}
        _step(optimizer, gradients)
        optimizer.step += 1
        # A step of the user's own, or an average, may change weights without a gradient too.
        same = [each for each in before if np.array_equal(each.numpy(), before[each])]
        foreign.write(foreign.given.keys() - same)


def _step(optimizer: Optimizer, gradients: Gradients) -> None:
    """Make one step in Python with clipping, decay and averages in the order of Keras."""
    rate = np.float32(optimizer.rate(optimizer.step))
    every, accumulators = optimizer.gradient_accumulation_steps, optimizer._slots.accumulators
    if every:
        for each, gradient in gradients.items():
            optimizer.assign_add(accumulators[each], gradient)
        if (optimizer.step + 1) % every == 0:
            sums = {each: accumulators[each] for each in gradients}
            mean = np.float32(1 / every)
            _update(optimizer, {each: mirror.numpy() * mean for each, mirror in sums.items()}, rate)
            for mirror in sums.values():
                mirror.assign(np.zeros(mirror.shape, np.float32))
    else:
        _update(optimizer, gradients, rate)
    if optimizer.use_ema:
        _average(optimizer)
    for variable in gradients:
        if variable.constraint is not None:
            variable.assign(np.asarray(variable.constraint(variable.numpy())))


def _update(optimizer: Optimizer, gradients: Gradients, rate: np.float32) -> None:
    clipped = _clipped(optimizer, gradients)
    for variable in clipped:
        if decay := optimizer.decay_of(variable):
            optimizer.assign_sub(variable, variable.numpy() * np.float32(decay) * rate)
    for variable, gradient in clipped.items():
        factor = factor_of(optimizer.rate_factors, variable)
        optimizer.update_step(gradient, variable, rate * np.float32(factor))


def _clipped(optimizer: Optimizer, gradients: Gradients) -> Gradients:
    if overrides(type(optimizer), "_clip_gradients"):
        clipped = optimizer._clip_gradients(list(gradients.values()))
        return dict(zip(gradients, clipped, strict=True))
    if optimizer.clipvalue is not None:
        bound = np.float32(optimizer.clipvalue)
        return {each: np.minimum(np.maximum(g, -bound), bound) for each, g in gradients.items()}
    if optimizer.clipnorm is not None:
        most = optimizer.clipnorm
        return {
            each: g * np.float32(most / max(float(np.linalg.norm(g)), most))
            for each, g in gradients.items()
        }
    if optimizer.global_clipnorm is not None:
        norm = float(np.sqrt(sum(float(np.sum(np.square(g))) for g in gradients.values())))
        factor = np.float32(optimizer.global_clipnorm / max(norm, optimizer.global_clipnorm))
        return {each: g * factor for each, g in gradients.items()}
    return gradients


def _average(optimizer: Optimizer) -> None:
    """Update the moving averages; the first step initializes them."""
    momentum = np.float32(optimizer.ema_momentum if optimizer.step else 0.0)
    for variable, average in optimizer._slots.averages.items():
        average.assign(momentum * average.numpy() + (1 - momentum) * variable.numpy())
        each = optimizer.ema_overwrite_frequency
        if each and (int(optimizer.iterations) + 1) % each == 0:
            variable.assign(average.numpy())


class OwnOptimizer:
    """Base of Optimizer with the methods that custom optimizers override and call::

        class Plain(cdl.optimizers.Optimizer):
            def build(self, variables):
                if not self.built:
                    super().build(variables)
                    self.sums = self.add_optimizer_variables(variables, "sum")

            def update_step(self, gradient, variable, learning_rate):
                sum = self.sums[self._get_variable_index(variable)]
                self.assign_add(sum, gradient)
                self.assign_sub(variable, learning_rate * sum)

    `fit` then comes back from the core after each batch.
    """

    is_written = False  # whether a class of the user's makes the steps
    gathers = False  # whether the core only gathers gradients in `fit`, for Python to go on
    by_step = False  # whether `follow` is to be called after each batch
    begins_alike = True  # whether slots begin with the same numbers whatever the weights are
    reads_paths = False  # whether the row of a weight, or its decay, depends on its path
    whole_batch = False  # whether it has an `iterate`, which computes the loss several times
    converged = False  # whether its last iteration was the last that changes anything

    name: str
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    _python: PythonSteps
    _own_slots: Slots
    _foreign: ForeignWeights

    @property
    def _slots(self: Any) -> Slots:
        """Slots, averages and sums, which are made where they have been waiting for that."""
        slots: Slots = self._own_slots
        return slots.made(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Record whether a subclass overrides `update_step`, or `apply` that calls it."""
        super().__init_subclass__(**kwargs)
        if overrides(cls, "update_step"):
            cls.is_written = True
        if overrides(cls, "update_step", *APPLYING):
            cls.gathers = cls.by_step = True

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Update a weight by its gradient; to be overridden in a custom optimizer.

        Args:
            gradient: an array.
            variable: the weight.
            learning_rate: of this step.
        """
        raise NotImplementedError(f"{type(self).__name__}: the core makes the steps")

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: str | Callable[..., Any] = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Create a variable of the optimizer.

        Args:
            shape: its shape.
            initializer: its initial values.
            dtype: "float32", "bfloat16" or "float16"; None is the first.
            aggregation: how it would be brought together from several processes; there is one.
            layout: only None.
            name: the last part of its path.
        """
        del aggregation
        owner = f"{type(self).__name__}.add_variable"
        not_yet(owner, layout=(layout, None))
        kept = "float32" if dtype is None else standardize_dtype(dtype)
        one_of(owner, "dtype", kept, FLOATS)
        first: Any = initializers.get(initializer)
        variable = Variable(
            tuple(shape),
            lambda sizes: first(sizes, dtype="float32"),
            name=name or f"variable_{len(self._python.added)}",
            trainable=False,
            dtype=kept,
        )
        variable.path = f"{self.name}/{variable.name}"
        self._python.added.append(variable)
        return variable

    def add_variable_from_reference(
        self,
        reference_variable: Any,
        name: str | None = None,
        initializer: str | Callable[..., Any] = "zeros",
    ) -> Variable:
        """Create a variable of a weight's shape.

        Args:
            reference_variable: the weight.
            name: what it is to the weight.
            initializer: its initial values.
        """
        path = str(getattr(reference_variable, "path", "variable")).replace("/", "_")
        return self.add_variable(
            reference_variable.shape, initializer, name=f"{path}_{name or 'variable'}"
        )

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Any], name: str, initializer: Any = "zeros"
    ) -> Any:
        """Create a variable per weight; for several names a tuple of lists of them.

        Args:
            trainable_variables: the weights.
            name: what it is to the weight, or several such names.
            initializer: its initial values, or one for each name.
        """
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, (list, tuple))
        firsts = list(initializer) if several else [initializer] * len(names)
        weights = list(trainable_variables)
        lists = tuple(
            [self.add_variable_from_reference(each, of, first) for each in weights]
            for of, first in zip(names, firsts, strict=True)
        )
        return lists[0] if isinstance(name, str) else lists

    def _get_variable_index(self, variable: Variable) -> int:
        """Index of a weight among those that the optimizer was built with."""
        mirror = self._foreign.mirror_of(variable)
        return next(place for place, each in enumerate(self._slots.of_weights) if each is mirror)

    @staticmethod
    def assign(variable: Variable, value: Any) -> None:
        """Assign a value to a variable."""
        variable.assign(np.asarray(value))

    @staticmethod
    def assign_add(variable: Variable, value: Any) -> None:
        """Add a value to a variable."""
        variable.assign(np.asarray(variable) + np.asarray(value))

    @staticmethod
    def assign_sub(variable: Variable, value: Any) -> None:
        """Subtract a value from a variable."""
        variable.assign(np.asarray(variable) - np.asarray(value))

    def save_own_variables(self: Any, store: Any) -> None:
        """Save `variables` to a store, by "0", "1" ...

        A subclass may override this, and `load_own_variables` with it.

        Args:
            store: a mapping from names to arrays.
        """
        for i, variable in enumerate(self.variables):
            store[str(i)] = np.array(variable)

    def load_own_variables(self: Any, store: Any) -> None:
        """Load the store that `save_own_variables` filled.

        A store of another number of arrays is left out with a warning, as in Keras.

        Raises:
            ValueError: an array of another shape; nothing is loaded then.
        """
        variables = self.variables
        if len(store) != len(variables):
            warn(
                f"{type(self).__name__} {self.name!r}: load_own_variables: nothing is loaded, "
                f"since the store has {len(store)} arrays for {len(variables)} variables; an "
                "optimizer has its variables once it is built"
            )
            return
        arrays = [np.asarray(store[str(i)]) for i in range(len(variables))]
        assign_all(zip(variables, arrays, strict=True))

    # Private names of Keras's optimizers that classes of users read

    @property
    def _learning(self) -> list[Variable]:
        """Weights that the optimizer was built with."""
        return list(self._slots.of_weights)

    @property
    def _trainable_variables(self) -> list[Variable]:
        return self._learning

    @property
    def _model_variables_moving_average(self) -> list[Variable]:
        return list(self._slots.averages.values())

    @property
    def _accumulated_gradients(self) -> list[Variable]:
        return list(self._slots.accumulators.values())

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Gradients clipped by `clipnorm`, `global_clipnorm` or `clipvalue`; None stays."""
        arrays = [None if each is None else np.asarray(each, np.float32) for each in grads]
        given = [each for each in arrays if each is not None]
        total = np.sqrt(np.float32(sum(float(np.square(each).sum()) for each in given)))

        def clipped(array: Any) -> Any:
            if self.clipnorm:
                norm = np.sqrt(np.square(array).sum())
                return array * np.float32(self.clipnorm) / max(norm, np.float32(self.clipnorm))
            if self.global_clipnorm:
                limit = np.float32(self.global_clipnorm)
                return array * (limit / max(total, limit))
            return np.clip(array, -self.clipvalue, self.clipvalue) if self.clipvalue else array

        return [None if array is None else clipped(array) for array in arrays]
