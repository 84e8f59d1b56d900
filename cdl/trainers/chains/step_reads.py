"""Reads of a training step: whether it can be recorded, and values to compare later."""

from __future__ import annotations

import functools
import types
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from cdl._common.overriding import is_users
from cdl._variables.array_like import Operators
from cdl.layers import Layer
from cdl.metrics import Metric
from cdl.optimizers import Optimizer
from cdl.random import SeedGenerator
from cdl.trainers.chains.given import Given
from cdl.trainers.chains.shown_metrics import is_metric_of_users
from cdl.trainers.custom.contents import UnknownError
from cdl.trainers.custom.reads import Reads

# Attributes that a step may use, since each repetition uses them again.
_CALLS = frozenset((
    "apply", "apply_gradients", "assign", "assign_add", "assign_sub", "compiled_loss",
    "compiled_metrics", "compute_loss", "compute_metrics", "gradient",
    "as_list", "get_shape", "losses", "metrics", "num_elements", "numpy", "optimizer", "rank",
    "result", "set_shape", "stop_recording", "update_state", "watch",
))  # fmt: skip
# Attributes of optimizers, metrics, variables and generators, whose reads and calls are recorded.
_RECORDED = frozenset((
    "iterations", "learning_rate", "lr", "minimize", "normal", "read_value", "reset_state",
    "reset_states", "truncated_normal", "uniform",
))  # fmt: skip
_STEPS = frozenset(("predict_step", "test_step", "train_step"))
_OF_TAPES = ("cdl.taping.gradient_tape", "cdl.scripts.tape")
# Functions, dtypes and shapes that scripts for TensorFlow name.
_OF_SCRIPTS = tuple(
    f"cdl.scripts.tf_{name}"
    for name in ("arranging", "functions", "gathering", "loops", "math", "nn", "random", "signal")
)
_CONSTANTS = ("DType", "TensorShape")
_ADDING = frozenset(("add", "append", "appendleft", "extend", "insert", "setdefault", "update"))


class StepReads(Reads):
    """Reads of a step; setting attributes, printing and adding to lists make it unknown.

    Args:
        step: a method of a model, or a function.

    Attributes:
        found: layers, weights, optimizers and metrics that it reads.
        is_ordinary: whether it may call the step of cdl.Model, which is compiled anyway.
    """

    _storing: Any = ()

    def __init__(self, step: Any) -> None:
        owner = getattr(step, "__self__", None)
        self._model: Any = owner if isinstance(owner, Layer) else None
        self.is_ordinary = False
        self.found: list[Any] = []
        super().__init__(step, is_strict=False)
        if not self.unseen and self.is_ordinary and any(map(self._has_steps, self.found)):
            self.unseen = f"{self._place}: a step of another model is called"

    def _look_at(self, value: Any) -> None:
        if isinstance(value, Given):
            for each in (value.function, *value.constants):
                self._look_at(each)
            return
        if has_calls_of_users(value) and value is not self._model:
            raise UnknownError
        if isinstance(value, (Layer, Metric, Optimizer, Operators, SeedGenerator)):
            self.found.append(value)
        if _is_of_scripts(value):
            return
        if getattr(value, "__module__", "") == "cdl.scripts.tensorflow" and callable(value):
            raise UnknownError(f"tf.{value.__name__.strip('_')}() is called")
        is_tape = isinstance(value, type) and value.__module__ in _OF_TAPES
        if not (
            is_tape
            or isinstance(value, (Metric, Optimizer))
            or value is np.ones
            or value is np.full
            or value is functools.partial  # what it is given is read by name too
        ):
            super()._look_at(value)

    def _has_steps(self, thing: Any) -> bool:
        """Whether another model than that of the step has code of users for its steps."""
        parts = thing._flatten_layers() if isinstance(thing, Layer) else ()
        return any(e is not self._model and _definitions(type(e), _STEPS) for e in parts)

    def _look_at_global(
        self, namespace: dict[str, Any], name: str, attributes: Sequence[str]
    ) -> None:
        if name in ("print", "type"):  # arrays of a recording have a type of their own
            raise UnknownError(f"{name}() is called")
        super()._look_at_global(namespace, name, attributes)

    def _follow(self, value: Any, attributes: Sequence[str]) -> None:
        if _ADDING.intersection(attributes[-1:]):
            raise UnknownError(f".{attributes[-1]}() changes what is not made in the step")
        super()._follow(value, attributes)

    def _check_attributes(self, names: Sequence[str]) -> None:
        self.is_ordinary |= not _STEPS.isdisjoint(names)
        known = _CALLS | _STEPS
        for each in _definitions(type(self._model), known.intersection(names)):
            if not isinstance(each, types.FunctionType):
                raise UnknownError
            self._look_at_function(each, self._model)  # which super() may reach
        known |= _RECORDED
        super()._check_attributes([name for name in names if name not in known])

    def _look_at_losses(self, model: Any) -> None:
        """Skip the losses of `compile`: their calls are recorded, or compared where traced."""

    def leave_out(self, variables: Sequence[Any]) -> None:
        """Exclude variables from the comparison, since the step assigns them."""
        known = set(map(id, variables))
        self._contents = [each for each in self._contents if id(each[0]) not in known]

    def note_optimizer(self) -> None:
        """Include the optimizer of `compile` in the comparison."""
        model = self._model
        if model is None or getattr(model, "_compiled", None) is None:
            return
        self._note(model._compiled, "optimizer", model._compiled.optimizer)
        self._note(model, "_compiled", model._compiled)


def _is_of_scripts(value: Any) -> bool:
    """Whether a value is a function or a constant that stands for one of TensorFlow."""
    kind = type(value)
    if kind is types.FunctionType:
        return value.__module__ in _OF_SCRIPTS
    if isinstance(value, type):
        return value.__module__ == "cdl.scripts.tensor"
    return kind.__module__.startswith("cdl.scripts.") and kind.__name__ in _CONSTANTS


def _definitions(kind: type, names: Collection[str]) -> list[Any]:
    """Methods of given names that users' classes in the MRO of a class define."""
    kinds = [each for each in kind.__mro__ if is_users(each)]
    found = [vars(each)[name] for each in kinds for name in names if name in vars(each)]
    return [getattr(each, "fget", each) for each in found]


def has_calls_of_users(value: Any) -> bool:
    """Whether user code is in a metric, or in a method that steps may call."""
    if isinstance(value, Metric):
        return is_metric_of_users(value)
    return not isinstance(value, type) and bool(_definitions(type(value), _CALLS))
