"""LossScaleOptimizer: dynamic loss scaling around another optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, positive_int
from cdl._configs.identifiers import serialize
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers.base_optimizer import Groups, Optimizer, registry
from cdl.optimizers.settings import hyper

# Shared arguments in configs of older versions, with their defaults; they are dropped.
_SHARED = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
_OWNER = "LossScaleOptimizer"
_LARGEST = float(np.finfo(np.float32).max)


def _of_inner(argument: str, value: Any) -> ValueError:
    return ValueError(
        f"{_OWNER}: {argument} must be given to the inner optimizer: set it on the "
        f"`inner_optimizer`, got {value!r}"
    )


@registry.add()
class LossScaleOptimizer(Optimizer):
    """Dynamic loss scaling around an inner optimizer; nonfinite gradients change nothing.

    The loss is multiplied by the scale before its gradient is taken, and the gradient divided by it
    afterwards, so that small gradients are numbers of float16. For a model that has none `fit`
    leaves that out; `apply` divides the gradients that it is given. The scale is halved by each
    batch whose gradients are not finite, which those of float16 above 65504 are not, and doubled
    after every `dynamic_growth_steps` others in a row. `fit` comes back to Python after each batch
    for that. `compile` wraps the optimizer of a model of the policy "mixed_float16" in one.

    Args:
        inner_optimizer: an Optimizer; its own `loss_scale_factor` becomes None.
        initial_scale: the scale at first, above 0.
        dynamic_growth_steps: after how many good batches the scale is doubled.
        kwargs: the shared arguments of optimizers with their default values, which older configs
            have, and `dynamic=True`.

    Raises:
        ValueError: an argument that is not known or has a wrong value; a shared argument, which
            belongs to the inner optimizer.
    """

    by_step = True
    initial_scale: float = hyper(above=0.0)
    dynamic_growth_steps: int = hyper(check=positive_int)
    row = "sgd"  # of no use: the inner optimizer's rows count

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = _OWNER
        if not isinstance(inner_optimizer, Optimizer):
            raise expected(owner, "inner_optimizer", "an Optimizer", inner_optimizer)
        if inner_optimizer.whole_batch:
            raise ValueError(
                f"{owner}: inner_optimizer must not be {type(inner_optimizer).__name__}, which "
                "compares losses; compile with auto_scale_loss=False leaves the scale out"
            )
        if kwargs.pop("dynamic", True) is not True:
            raise ValueError(
                f"{owner}: dynamic must be True; for a scale that stays, set `loss_scale_factor` "
                "of the inner optimizer"
            )
        for argument, default in _SHARED.items():
            value = kwargs.pop(argument, default)
            if value != default:
                raise _of_inner(argument, value)
        if kwargs:
            unknown = "`, `".join(kwargs)
            raise ValueError(f"{owner}: there are no such arguments: `{unknown}`")
        self.inner_optimizer = inner_optimizer
        own: dict[str, Any] = {
            "initial_scale": initial_scale,
            "dynamic_growth_steps": dynamic_growth_steps,
        }
        super().__init__(0.0, name=name, **own)
        inner_optimizer.loss_scale_factor = None
        self.step_counter = State(0, dtype="int32", name="step_counter", owner=self.name)
        self.dynamic_scale = Variable(
            (), lambda _: initial_scale, name="dynamic_scale", trainable=False
        )
        self.dynamic_scale.path = f"{self.name}/dynamic_scale"

    def _check_settings(self, **changed: Any) -> None:
        """ValueError for a shared argument, which has no effect here, or a wrong own one."""
        names = (*_SHARED, *self.extra_arguments)
        settings = {**{name: getattr(self, name) for name in names}, **changed}
        for argument, default in _SHARED.items():
            if settings[argument] != default:
                raise _of_inner(argument, settings[argument])
        for argument, own in self._hypers.items():
            own.checked(_OWNER, argument, settings[argument])

    # Properties and methods of the inner optimizer

    @property
    def changes(self) -> int:
        """Number of attribute changes of both optimizers since they were built."""
        return super().changes + self.inner_optimizer.changes

    @property
    def has_one_rate(self) -> bool:
        """Whether the rate of the inner optimizer is constant until it is set."""
        return bool(self.inner_optimizer.has_one_rate)

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the inner optimizer."""
        return self.inner_optimizer.learning_rate if "inner_optimizer" in vars(self) else None

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    lr = learning_rate

    @property
    def iterations(self) -> State:
        """Number of updates of the inner optimizer."""
        return self.inner_optimizer.iterations

    @iterations.setter
    def iterations(self, value: Any) -> None:
        self.inner_optimizer.iterations = value

    @property
    def counter(self) -> NDArray[np.int64]:
        """Step counter of the inner optimizer."""
        return self.inner_optimizer.counter

    @property
    def step(self) -> int:
        """Number of batches that the inner optimizer was trained on."""
        return self.inner_optimizer.step

    @step.setter
    def step(self, value: int) -> None:
        self.inner_optimizer.step = value

    def rate(self, step: int) -> float:
        return self.inner_optimizer.rate(step)

    def rates(self, first: int, n: int) -> Any:
        """Learning rates of the inner optimizer."""
        return self.inner_optimizer.rates(first, n)

    def groups(self, variables: Iterable[Variable], steps: bool = False) -> Groups:
        """Groups of weights of the inner optimizer."""
        inner = self.inner_optimizer
        return super().groups(variables) if self.gathers else inner.groups(variables, steps)

    def rules(self, variables: Iterable[Variable], steps: bool = False) -> dict[str, Any]:
        """Settings of the inner optimizer, and the dynamic scale."""
        weights = list(variables)
        inner = self.inner_optimizer
        rules = super().rules(weights) if self.gathers else inner.rules(weights, steps)
        return {**rules, "finite_only": True}

    def build(self, var_list: Sequence[Variable]) -> None:
        """Build the inner optimizer."""
        inner = self.inner_optimizer
        inner._lists_nothing = inner._lists_nothing and inner.built  # as in Keras's files
        inner.build(var_list)
        if not self.built:
            self._check_settings()
            # Then the core gathers gradients, and the inner optimizer takes those of good batches.
            self.gathers = bool(inner.gathers or inner.gradient_accumulation_steps)
            inner._fixed = ("gradient_accumulation_steps",)
            if self.gathers:
                self._python.build(self, self._learning)
        self.built = True

    @property
    def variables(self) -> list[Any]:
        """Own ones that Keras has (step_counter and dynamic_scale once built), then the inner's."""
        variables: list[Any] = [self._iterations, *self._rate.variables]
        if self.built:
            variables += [self.step_counter, self.dynamic_scale]
        return variables + self.inner_optimizer.variables

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Finalize the weights by the inner optimizer."""
        self.inner_optimizer.finalize_variable_values(var_list)

    @property
    def _learning(self) -> list[Variable]:
        return list(self.inner_optimizer._learning)

    # The scale

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale."""
        scale = float(self.dynamic_scale) if self.built else self.initial_scale
        return loss * scale

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """One step by scaled gradients: divided by the scale, or ignored if one is not finite.

        Args:
            grads: as in `Optimizer.apply`.
            trainable_variables: likewise.
        """
        grads = list(grads)
        finite = all(np.isfinite(np.asarray(each)).all() for each in grads if each is not None)
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        if finite:
            scale = np.float32(self.dynamic_scale)
            given = [None if each is None else np.asarray(each, np.float32) for each in grads]
            divided = [None if each is None else each / scale for each in given]
            self.inner_optimizer.apply(divided, trainable_variables)
        self._scaled(finite)

    def follow(self, learned: bool) -> None:
        """Halve, keep or double the scale, once the inner optimizer has made a step in Python."""
        if self.gathers:
            gradients = self._python.taken()
            if learned:
                self.step -= 1  # the core has counted the batch, and looks at no sum of gradients
                learned = all(np.isfinite(each).all() for each in gradients.values())
            if learned:
                self.inner_optimizer.apply(list(gradients.values()), list(gradients))
        self._scaled(learned)

    def _scaled(self, learned: bool) -> None:
        scale, counter = float(self.dynamic_scale), int(self.step_counter) + 1
        if not learned:
            scale, counter = scale / 2, 0
        elif counter >= self.dynamic_growth_steps:
            scale, counter = min(2 * scale, _LARGEST), 0
        self.dynamic_scale.assign(scale)
        self.step_counter.assign(counter)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        inner = registry.deserialize(config["inner_optimizer"], custom_objects)
        return cls(**{**config, "inner_optimizer": inner})
