"""Optimizers whose steps a class of the user's makes, in Python: `update_step`.

The core gathers the gradient of each batch, as it does for many batches where gradients are
accumulated; the step is made between two batches, around it what Keras has around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import initializers
from cdl._common.overriding import overrides
from cdl._common.validation import float32, not_yet
from cdl._tracing.variable import Variable
from cdl.optimizers.apply import Applying
from cdl.optimizers.slots import storages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl._variables.state import State
    from cdl.optimizers.slots import Groups

    Gradients = Mapping[Variable, NDArray[np.float32]]


_NEVER = 2**30  # batches before the core makes a step by itself


class Written(Applying):
    """The part of an optimizer that lets a subclass of the user's make the steps::

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

    is_written = False
    by_step: bool
    iterations: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Notes an `update_step` of the user's own."""
        super().__init_subclass__(**kwargs)
        if overrides(cls, "update_step"):
            cls.is_written = True
            cls.by_step = True

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a weight by its gradient; for a subclass of the user's own.

        Args:
            gradient: an array.
            variable: the weight.
            learning_rate: of this step.
        """
        raise NotImplementedError(f"{type(self).__name__}: the core makes the steps")

    # What such a class keeps

    def build(self, var_list: Sequence[Variable]) -> None:
        """As `Keeping.build`; the slots are what the subclass adds."""
        if self.is_written and not self.built:
            variables = [self._own(each) for each in var_list]
            self._gathered = {each: self._like(each, "gathered") for each in variables}
            self._added: list[Variable] = []
        super().build(var_list)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new variable of the optimizer's own.

        Args:
            shape: its shape.
            initializer: its initial values.
            dtype: "float32" or None.
            aggregation: how it would be brought together from several processes; there is one.
            layout: only None.
            name: the last part of its path.
        """
        del aggregation
        owner = f"{type(self).__name__}.add_variable"
        not_yet(owner, layout=(layout, None))
        float32(owner, dtype)
        first: Any = initializers.get(initializer)
        variable = Variable(
            tuple(shape),
            lambda sizes: first(sizes, dtype="float32"),
            name=name or f"variable_{len(self._added)}",
            trainable=False,
        )
        variable.path = f"{self.name}/{variable.name}"
        self._added.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A new variable of the shape of a weight.

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
        self, trainable_variables: Iterable[Any], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """A new variable for each weight; a tuple of lists of them for several names.

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

    def _get_variable_index(self, variable: Any) -> int:
        """The place of a weight among those that the optimizer was built with."""
        own = self._own(variable)
        return next(place for place, each in enumerate(self._slots) if each is own)

    @staticmethod
    def assign(variable: Any, value: Any) -> None:
        """Give a variable a value."""
        variable.assign(np.asarray(value))

    @staticmethod
    def assign_add(variable: Any, value: Any) -> None:
        """Add to a variable."""
        variable.assign(np.asarray(variable) + np.asarray(value))

    @staticmethod
    def assign_sub(variable: Any, value: Any) -> None:
        """Take from a variable."""
        variable.assign(np.asarray(variable) - np.asarray(value))

    @property
    def variables(self) -> list[State | Variable]:
        """As `Keeping.variables`, then what the subclass has added."""
        return [*super().variables, *(self._added if self.is_written and self.built else ())]

    def _new_slots(self, variable: Variable) -> list[Variable]:
        return [] if self.is_written else super()._new_slots(variable)

    def _slots_as_listed(self, variable: Variable) -> list[tuple[str, State | Variable]]:
        return [] if self.is_written else super()._slots_as_listed(variable)

    # What the core reads: an optimizer that gathers and never makes its step

    def groups(self, variables: Iterable[Variable]) -> Groups:
        """As `Keeping.groups`."""
        if self.is_written:
            return [("sgd", {}, {each: [] for each in variables})]
        return super().groups(variables)

    def rules(self, variables: Iterable[Variable]) -> dict[str, Any]:
        """As `Keeping.rules`; where the step is in Python, so is what stands around it."""
        if not self.is_written:
            return super().rules(variables)
        return {
            "gradient_accumulation_steps": _NEVER,
            "accumulators": storages(self._gathered, list(variables)),
        }

    # The step

    def follow(self, learned: bool) -> None:
        """A batch of training is over: make the step of the gradients that the core has gathered.

        Args:
            learned: whether the batch counts.
        """
        if not self.is_written:
            return
        gradients = {each: own.numpy() for each, own in self._gathered.items()}
        for own in self._gathered.values():
            own.assign(np.zeros(own.shape, np.float32))
        if learned:
            self.step -= 1  # as the step sees it
            self._make_step(gradients)
            self.step += 1

    def _step(self, owner: str, gradients: dict[Variable, Any]) -> None:
        if not self.is_written:
            super()._step(owner, gradients)
            return
        for variable, foreign in self._foreign.items():
            variable.assign(foreign)
        scale = np.float32(self.loss_scale_factor or 1.0)
        arrays = {each: np.asarray(g, np.float32) / scale for each, g in gradients.items()}
        for each, array in arrays.items():
            if array.shape != each.shape:
                raise ValueError(
                    f"{owner}: the gradient of {each.path!r} must have shape {each.shape}, got "
                    f"{array.shape}"
                )
        before = {each: each.numpy() for each in self._foreign}
        self._make_step(arrays)
        self.step += 1
        # A step of the user's own, or an average, may change weights without a gradient too.
        same = [each for each in before if np.array_equal(each.numpy(), before[each])]
        self._write_back(self._foreign.keys() - same)

    def _make_step(self, gradients: Gradients) -> None:
        """One step in Python, and what Keras has around it, in its order."""
        rate = np.float32(self.rates(self.step, 1)[0])
        every = self.gradient_accumulation_steps
        if every:
            for each, gradient in gradients.items():
                self.assign_add(self._accumulators[each], gradient)
            if (self.step + 1) % every == 0:
                sums = {each: self._accumulators[each] for each in gradients}
                mean = np.float32(1 / every)
                self._update({each: own.numpy() * mean for each, own in sums.items()}, rate)
                for own in sums.values():
                    own.assign(np.zeros(own.shape, np.float32))
        else:
            self._update(gradients, rate)
        if self.use_ema:
            self._average()
        for variable in gradients:
            if variable.constraint is not None:
                variable.assign(np.asarray(variable.constraint(variable.numpy())))

    def _update(self, gradients: Gradients, rate: np.float32) -> None:
        clipped = self._clipped(gradients)
        for variable in clipped:
            if decay := self.decay_of(variable):
                self.assign_sub(variable, variable.numpy() * np.float32(decay) * rate)
        for variable, gradient in clipped.items():
            self.update_step(gradient, variable, rate)

    def _clipped(self, gradients: Gradients) -> Gradients:
        if self.clipvalue is not None:
            bound = np.float32(self.clipvalue)
            return {each: np.minimum(np.maximum(g, -bound), bound) for each, g in gradients.items()}
        if self.clipnorm is not None:
            most = self.clipnorm
            return {
                each: g * np.float32(most / max(float(np.linalg.norm(g)), most))
                for each, g in gradients.items()
            }
        if self.global_clipnorm is not None:
            norm = float(np.sqrt(sum(float(np.sum(np.square(g))) for g in gradients.values())))
            factor = np.float32(self.global_clipnorm / max(norm, self.global_clipnorm))
            return {each: g * factor for each, g in gradients.items()}
        return gradients

    def _average(self) -> None:
        """Move the averages on; the first step begins them."""
        momentum = np.float32(self.ema_momentum if self.step else 0.0)
        for variable, average in self._averages.items():
            average.assign(momentum * average.numpy() + (1 - momentum) * variable.numpy())
            each = self.ema_overwrite_frequency
            if each and (int(self.iterations) + 1) % each == 0:
                variable.assign(average.numpy())


class Familiar(Written):
    """Private names of Keras's optimizers that classes of users read."""

    @property
    def _trainable_variables(self) -> list[Variable]:
        return self._learning

    @property
    def _model_variables_moving_average(self) -> list[Variable]:
        return list(self._averages.values())

    @property
    def _accumulated_gradients(self) -> list[Variable]:
        return list(self._accumulators.values())

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Gradients as `clipnorm`, `global_clipnorm` or `clipvalue` leaves them; None stays."""
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
