"""Calls that tapes record: of layers, models, losses, activations, penalties and `cdl.ops`.

The methods are wrapped when the first tape of the process is made, so that a program without tapes
pays nothing for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from cdl import tree
from cdl._common.overriding import is_users
from cdl._tracing import graph, operation
from cdl._tracing.variable import Variable
from cdl._variables import stepping
from cdl.activations import ActivationFunction
from cdl.layers import Layer
from cdl.layers.call_arguments import parameters_of
from cdl.layers.preprocessing.host_layer import HostLayer
from cdl.losses import Loss
from cdl.losses.core_loss import CompiledLoss
from cdl.models import Model
from cdl.ops.core import custom_gradient
from cdl.ops.core.tensors import convert_to_tensor
from cdl.regularizers import Regularizer
from cdl.taping.recorded import Taped, is_recording, recorded, recorded_item, state
from cdl.trainers.trainer import Trainer

_OF_MODELS = ["inputs", "training", "mask"]  # arguments of the call of a model of layers


@functools.cache
def install() -> None:
    """Have open tapes record calls, for the rest of the process."""
    called: tuple[Any, ...] = (Layer, HostLayer, Model)
    for cls in (*called, *_with_below(Loss, ActivationFunction, Regularizer)):
        _wrap(cls, "__call__", "call")
    for cls in _with_below(Loss):
        _wrap(cls, "call", "loss")
    _wrap(Trainer, "compute_loss", "compute_loss")
    variable, rows = cast(Any, Variable), cast(Any, operation)
    item = variable.__getitem__
    variable.__getitem__ = functools.wraps(item)(lambda self, key: recorded_item(item, self, key))
    variable.value = _Value(variable.value.fget)
    stepping.getters.add(_Value.__get__.__code__)
    stepping.before_assigning.append(_keep_value)
    having: tuple[Any, ...] = (Layer, Trainer)
    for cls in having:
        cls.losses = _Penalties(cls.losses.fget)
    rows.computed = _recorded_rows(rows.computed)
    own = cast(Any, custom_gradient)
    own.called = _recorded_whole(own.called)
    for name in ("__array_ufunc__", "__array_function__"):
        setattr(Variable, name, _recorded_operator(getattr(Variable, name)))


def _keep_value(variable: Any) -> None:
    """Have open tapes keep the value of a variable that is no source and will be assigned."""
    if not state.tapes or state.busy or getattr(variable, "trainable", True):
        return
    nodes = {id(node): node for tape in state.tapes for node in tape._nodes.values()}.values()
    found = [(n.leaves, i) for n in nodes for i, e in enumerate(n.leaves) if e is variable]
    if found:
        value = stepping.plain(stepping.recorded(_value_of, variable))
        for leaves, i in found:
            leaves[i] = value


class _Value(property):
    """Property `value` of variables, recorded as a conversion while a tape is open."""

    def __get__(self, variable: Any, owner: type | None = None) -> Any:
        """Value of the variable."""
        if variable is not None and is_recording():
            return convert_to_tensor(variable)
        return super().__get__(variable, owner)


def _value_of(variable: Any) -> Any:
    return variable.numpy()


def _with_below(*classes: Any) -> Iterator[Any]:
    """Classes and all those derived from them."""
    for cls in classes:
        yield cls
        yield from _with_below(*cls.__subclasses__())


def _wrap(cls: Any, name: str, kind: str) -> None:
    """Have a method recorded where a class defines it."""
    if name not in vars(cls):
        return
    method = vars(cls)[name]

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return method(self, *args, **kwargs)
        if isinstance(self, Loss):
            args = tuple(map(_as_array, args))
        if kind == "call" and isinstance(self, Layer):
            kwargs = _with_mode(self, args, kwargs)
        key: tuple[Any, ...] = (kind, type(self))
        owner = self
        if isinstance(self, (CompiledLoss, Regularizer)) and not is_users(type(self)):
            # A new one in each step, as loss functions make it, is the same by its arguments.
            key, owner = (*key, repr({**self.get_config(), "name": None})), None
        return recorded(functools.partial(method, self), key, owner, args, kwargs)

    setattr(cls, name, call)


def _with_mode(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name with `training`, if the call has another default than None for it."""
    if "training" in kwargs or not (isinstance(layer, Model) or is_users(type(layer))):
        return kwargs
    names = list(parameters_of(type(layer).call)) if is_users(type(layer)) else _OF_MODELS
    mode = layer._mode() if isinstance(layer, Model) else layer.training_by_default
    if mode is None or "training" in names[: len(args)] or "training" not in names:
        return kwargs
    return {**kwargs, "training": mode}


def _as_array(given: Any) -> Any:
    """A list of numbers as an array, so that the tape sees its rows; any other value unchanged."""
    if not isinstance(given, list) or any(isinstance(e, Taped) for e in tree.flatten(given)):
        return given
    if len({np.shape(each) for each in given}) > 1:  # arrays of several layers
        return given
    return np.asarray(given)


def _recorded_rows(computed: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the evaluation of `cdl.ops` on arrays."""

    def call(row: Any, args: Any, kwargs: Any) -> Any:
        if not is_recording():
            return computed(row, args, kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            return operation.call(row, args, kwargs)

        return recorded(run, ("ops", row.name), None, args, kwargs)

    return call


def _recorded_whole(called: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap calls of functions with a gradient of their own."""

    def call(function: Any, args: Any, kwargs: Any) -> Any:
        if not is_recording() or graph.tensors_of(args, kwargs):
            return called(function, args, kwargs)
        return recorded(function, ("custom_gradient", function), None, args, kwargs)

    return call


def _recorded_operator(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap NumPy's protocol methods of variables, which run `w * x`."""

    @functools.wraps(method)
    def call(self: Any, function: Any, how: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_recording() or function is np.shape:
            return method(self, function, how, *args, **kwargs)
        if isinstance(how, str):  # a method of a ufunc
            run, given, named, kind = getattr(function, how), args, kwargs, how
        else:
            run, (given, named), kind = function, args, "function"
        return recorded(run, ("numpy", function.__name__, kind), None, given, named)

    return call


class _Penalties(property):
    """The property `losses`, which records the penalties of layers.

    In a replay, penalties of weights are symbolic, and others 0: the program counts these itself.
    """

    def __get__(self, thing: Any, cls: type | None = None) -> Any:
        if thing is None:
            return self
        if state.replays:
            return _of_weights(thing)
        if not is_recording():
            return super().__get__(thing, cls)
        step, stepping.state.recording = stepping.state.recording, None
        try:
            count = len(super().__get__(thing, cls))
        finally:
            stepping.state.recording = step
        of_arrays = super().__get__

        def run() -> Any:
            if not state.replays:
                return of_arrays(thing, cls)
            again = _of_weights(thing)
            return [0.0] * (count - len(again)) + again

        return recorded(run, ("penalties", count), thing, (), {}) if count else []


def _of_weights(layer: Any) -> list[Any]:
    """Penalties of the weights of a layer, symbolic in code that is traced."""
    weights = layer.trainable_weights
    return [each.regularizer(each) for each in weights if each.regularizer is not None]
