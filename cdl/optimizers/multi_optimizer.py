"""MultiOptimizer: several optimizers for one model, each weight's chosen by its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from cdl._configs import serialization
from cdl._configs.identifiers import serialize
from cdl._tracing.variable import Variable
from cdl._variables.stepping import recorded
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.loss_scale_optimizer import LossScaleOptimizer
from cdl.optimizers.settings import SHARED


class OptimizerMap(MutableMapping[str, Optimizer]):
    """Dict of optimizers by patterns of weight paths, with a default.

    A path is looked up as it stands, then as what one of the keys matches as a whole regular
    expression; what no key fits has the default optimizer. ::

        OptimizerMap(SGD(0.1), {"encoder/.*": Adam(0.001)})

    Args:
        default_optimizer: an Optimizer.
        optimizer_map: a dict from paths, or regular expressions, to Optimizers.

    Raises:
        TypeError: no Optimizer, or no dict.
    """

    def __init__(
        self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None
    ) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(
                f"OptimizerMap: default_optimizer must be an Optimizer, got {default_optimizer!r}"
            )
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(
                f"OptimizerMap: optimizer_map must be a dictionary, got {optimizer_map!r}"
            )
        self._default = default_optimizer
        self._map = optimizer_map or {}

    @property
    def default_optimizer(self) -> Optimizer:
        """Optimizer of weights that no key matches."""
        return self._default

    def __getitem__(self, key: str) -> Optimizer:
        """The optimizer of a path.

        Raises:
            ValueError: two keys match it.
        """
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(
                f"OptimizerMap: Multiple optimizers assigned to variable {key}: {found} match it"
            )
        return self._map[found[0]] if found else self._default

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        """Add a path.

        Raises:
            ValueError: it is there, is no str, or has no Optimizer or one of several.
        """
        if key in self._map:
            raise ValueError(
                f"OptimizerMap: {key!r} already exists in the map, with {self._map[key]!r}"
            )
        if not isinstance(key, str):
            raise ValueError(f"OptimizerMap: key must be a string, got {key!r}")
        self._map[key] = _checked("OptimizerMap: optimizer", optimizer)

    def __delitem__(self, key: str) -> None:
        del self._map[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def __len__(self) -> int:
        return len(self._map)

    def __call__(self, variable: Any) -> Optimizer:
        """The optimizer of a weight."""
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {
            "default_optimizer": serialize(self._default),
            "optimizer_map": {path: serialize(each) for path, each in self._map.items()},
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Create a map from the dict that `get_config` returned."""
        of_paths = config["optimizer_map"].items()
        return cls(
            registry.deserialize(config["default_optimizer"], custom_objects),
            {path: registry.deserialize(each, custom_objects) for path, each in of_paths},
        )


serialization.register_public("keras.optimizers", OptimizerMap)


def _checked(owner: str, optimizer: Any) -> Any:
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"{owner} must be an Optimizer instance, got {optimizer!r}")
    if optimizer.whole_batch or isinstance(optimizer, (LossScaleOptimizer, MultiOptimizer)):
        raise ValueError(f"{owner} cannot be {type(optimizer).__name__}.")
    return optimizer


@registry.add()
class MultiOptimizer(Optimizer):
    """Several optimizers in one, each with its own weights.

    Each has its own rate, clipping, decay, averages and number of updates. The core gathers the
    gradients of a batch; then each optimizer makes its step, so that `fit` comes back to Python
    after each batch, where a single optimizer stays within the core. ::

        model.compile(MultiOptimizer(OptimizerMap(SGD(0.1), {"encoder/.*": Adam(0.001)})), "mse")

    Args:
        optimizer_map: an OptimizerMap, or a function of a weight that gives its Optimizer, the
            same one for all weights that learn together.
        loss_scale_factor: becomes that of all the optimizers.

    Raises:
        ValueError: in `build`, if it gives no Optimizer, a LossScaleOptimizer or a MultiOptimizer.
    """

    _file_parts = ("optimizers",)
    is_written = gathers = True  # as of one written in Python: the core only gathers
    by_step = True

    def __init__(
        self,
        optimizer_map: OptimizerMap | Callable[[Any], Optimizer],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        self._optimizers: list[Optimizer] = []
        super().__init__(0.0, name=name)
        self._optimizer_map = optimizer_map
        if isinstance(optimizer_map, OptimizerMap):
            for each in (*optimizer_map.values(), optimizer_map.default_optimizer):
                if each not in self._optimizers:
                    self._optimizers.append(each)
        self._owner_of: dict[Variable, Optimizer] = {}
        self.loss_scale_factor = loss_scale_factor

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order in which they came."""
        return self._optimizers

    @property
    def learning_rate(self) -> NoReturn:
        """Not defined: AttributeError; ask the `optimizers`."""
        raise AttributeError(
            "Learning rate cannot be accessed on a MultiOptimizer: ask one of its `optimizers`"
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> NoReturn:
        raise AttributeError(
            "Learning rate cannot be set on a MultiOptimizer: set that of one of its `optimizers`"
        )

    lr = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        """Factor of the loss, and divisor of all gradients."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale_factor = value
        for each in self._optimizers:
            each.loss_scale_factor = value

    def _check_settings(self, **changed: Any) -> None:
        """ValueError for a shared argument, which has no effect here."""
        for name in set(SHARED) - {"loss_scale_factor", "ema_momentum"}:
            if value := changed.get(name, getattr(self, name)):
                raise ValueError(
                    f"MultiOptimizer: {name} must be set on one of its `optimizers`, got {value!r}"
                )

    def build(self, var_list: Sequence[Any]) -> None:
        """Assign each weight to its optimizer, and build these; a second call does nothing."""
        if not self.built:
            weights: dict[int, list[Any]] = {}
            for variable in var_list:
                mirror = self._foreign.mirror_of(variable)
                owner = f"{self.name}: the optimizer of {mirror.path!r}"
                optimizer = _checked(owner, self._optimizer_map(mirror))
                if optimizer not in self._optimizers:
                    self._optimizers.append(optimizer)
                    optimizer.loss_scale_factor = self.loss_scale_factor
                self._owner_of[mirror] = optimizer
                weights.setdefault(id(optimizer), []).append(variable)
            for optimizer in self._optimizers:
                if id(optimizer) in weights:
                    optimizer.build(weights[id(optimizer)])
        super().build(var_list)

    @property
    def variables(self) -> list[Any]:
        """The number of updates and an unused rate, then the variables of the optimizers."""
        own = super().variables
        return [*own, *(variable for each in self._optimizers for variable in each.variables)]

    @property
    def averages(self) -> dict[Variable, Variable]:
        """Moving averages of those optimizers that have some."""
        return {key: value for each in self._optimizers for key, value in each.averages.items()}

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Make one step of each optimizer by the gradients of its weights.

        Args:
            grads: as in `Optimizer.apply`.
            trainable_variables: likewise.

        Raises:
            ValueError: another number of gradients than weights.
        """
        recorded(type(self)._apply, self, grads, trainable_variables)

    def _apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None) -> None:
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(f"{self.name}: apply: trainable_variables must be given first")
            trainable_variables = [self._foreign.given.get(each, each) for each in self._learning]
        variables = list(trainable_variables)
        self.build(variables)
        if not len(grads) == len(variables) == len(self._owner_of):
            raise ValueError(
                f"{self.name}: apply: Gradients must match trainable variables one-to-one, got "
                f"{len(grads)} gradients for {len(self._owner_of)} variables"
            )
        self._make_steps(grads, variables)
        self.step += 1

    def _make_steps(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        pairs: dict[int, list[Any]] = {}
        for gradient, variable in zip(grads, variables, strict=True):
            owner = self._owner_of[self._foreign.mirror_of(variable)]
            pairs.setdefault(id(owner), []).append((gradient, variable))
        for optimizer in self._optimizers:
            if id(optimizer) in pairs:
                optimizer.apply_gradients(pairs[id(optimizer)])

    def follow(self, learned: bool) -> None:
        """Make the steps after a training batch, by the gradients that the core has accumulated."""
        gradients = self._python.taken()
        if learned:  # the core has counted the batch
            factor = self.loss_scale_factor
            given = list(gradients.values())
            if factor is not None:  # the loss was not multiplied by it
                given = [each * np.float32(factor) for each in given]
            self._make_steps(given, list(gradients))

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Finalize each optimizer's weights."""
        of_all = list(var_list)
        for optimizer in self._optimizers:
            optimizer.finalize_variable_values(
                [each for each in of_all if self._owner_of.get(each) is optimizer]
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer_map": serialize(self._optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        of_paths = serialization.deserialize(config["optimizer_map"], custom_objects)
        return cls(**{**config, "optimizer_map": of_paths})
