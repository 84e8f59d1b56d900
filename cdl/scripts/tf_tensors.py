"""Patches of cdl that make layers, losses and variables return tensors instead of arrays.

`have_tensors` installs them once in a process that imports TensorFlow.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import KerasTensor
from cdl._variables import stepping
from cdl._variables.stepping import StepArray
from cdl.scripts import tf_functions as functions
from cdl.scripts.tensor import Tensor, TensorShape, tensors
from cdl.scripts.tf_data import Dataset, as_dataset
from cdl.scripts.tf_elements import element_of
from cdl.taping.recorded import Taped


class _Attribute:
    """A descriptor that returns an array attribute as a tensor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, thing: Any, cls: type) -> Any:
        return self if thing is None else tensors(vars(thing).get(self.name))

    def __set__(self, thing: Any, value: Any) -> None:
        vars(thing)[self.name] = value


def _giving_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return tensors(function(*args, **kwargs))

    return call


def _giving_elements(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any) -> Any:
        return map(_element, function(self))

    return call


def _element(given: Any) -> Any:
    """Convert an element of a dataset to tensors, single texts and Python numbers included."""
    return tensors(element_of(given))


def _of_data_set(self: Any, name: str) -> Any:
    """`__getattr__` of datasets of files and series: the attribute of an equal `Dataset`."""
    if name.startswith("_"):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    return getattr(as_dataset("a data set", self), name)


def _mapping_tensors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method `map` to pass tensors to the function and convert its result."""

    @functools.wraps(method)
    def call(self: Any, map_func: Any, *args: Any, **kwargs: Any) -> Any:
        def mapped(*parts: Any) -> Any:
            return element_of(map_func(*map(_element, parts)))

        return method(self, mapped if callable(map_func) else map_func, *args, **kwargs)

    return call


@functools.cache
def have_data_sets() -> None:
    """Give datasets of files and time series the interface of `tf.data.Dataset`."""
    from cdl.utils.directory_files import DirectoryFiles
    from cdl.utils.timeseries import Windows

    data_sets: tuple[Any, ...] = (Windows, DirectoryFiles)
    for each in data_sets:
        Dataset.register(each)
        each.__iter__ = _giving_elements(each.__iter__)
        each.__getattr__ = _of_data_set
    files: Any = DirectoryFiles
    files.map = _mapping_tensors(files.map)


def _given_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method to convert its arguments to tensors."""

    @functools.wraps(function)
    def call(self: Any, *args: Any) -> Any:
        return function(self, *map(tensors, args))

    return call


def _giving_tensors_outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what evaluates functions of `cdl.ops` to return tensors, but to one another."""
    local = threading.local()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(local, "is_within", False):
            return function(*args, **kwargs)
        local.is_within = True
        try:
            return tensors(function(*args, **kwargs))
        finally:
            local.is_within = False

    return call


def _taking_lists(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `call` of losses to take lists of tensors, as the outputs of a model are."""

    @functools.wraps(method)
    def call(self: Any, y_true: Any, y_pred: Any) -> Any:
        return method(self, functions.stacked(y_true), functions.stacked(y_pred))

    return call


class _Shape:
    """A descriptor that returns the shape of a symbolic tensor as a `TensorShape`."""

    def __get__(self, thing: Any, cls: type) -> Any:
        if thing is None:
            raise AttributeError("shape")
        return vars(thing)["shape"]

    def __set__(self, thing: Any, sizes: Any) -> None:
        vars(thing)["shape"] = TensorShape(sizes)


@functools.cache
def have_tensors() -> None:
    """Patch cdl to pass tensors to and from a script for the rest of the process.

    Results of layers, models, losses and metrics, and the arguments of custom losses and training
    steps, are tensors. Shapes of symbolic tensors are `TensorShape`.
    """
    from cdl._tracing import operation
    from cdl._tracing.variable import Variable as TracedVariable
    from cdl._variables.state import State
    from cdl.layers import Layer, Normalization
    from cdl.layers.preprocessing.host_layer import HostLayer
    from cdl.losses import Loss
    from cdl.losses.core_loss import CompiledLoss
    from cdl.losses.python_loss import LossFunctionWrapper
    from cdl.metrics import Metric
    from cdl.models import Model
    from cdl.optimizers import Optimizer
    from cdl.scripts.tape import minimize
    from cdl.taping import hooks
    from cdl.trainers.chains.predict_steps import PredictSteps
    from cdl.trainers.custom.steps import CustomSteps
    from cdl.trainers.trainer import Trainer

    have_data_sets()
    symbolic: Any = KerasTensor
    symbolic.shape = _Shape()
    symbolic.get_shape = lambda self: self.shape
    symbolic.set_shape = lambda self, shape: None
    of_users: tuple[tuple[Any, str], ...] = (
        (LossFunctionWrapper, "call"),
        (CustomSteps, "step"),
        (PredictSteps, "__call__"),
    )
    for cls, name in of_users:
        setattr(cls, name, _given_tensors(getattr(cls, name)))
    hooks.install()
    CompiledLoss.call = _taking_lists(CompiledLoss.call)  # type: ignore[method-assign]
    rows: Any = operation
    rows.call = _giving_tensors_outside(rows.call)
    called: tuple[Any, ...] = (Layer, HostLayer, Model, Loss)
    for cls in called:
        cls.__call__ = _giving_tensors(cls.__call__)
    Trainer.compute_loss = _giving_tensors(Trainer.compute_loss)  # type: ignore[method-assign]
    stepping.options.update(("name", "read_value", "use_locking"))
    variables: tuple[Any, ...] = (TracedVariable, State)
    optimizers: Any = Optimizer
    optimizers.minimize = minimize
    for cls in variables:
        cls.read_value = functions.function("convert_to_tensor")
        cls.__getitem__ = _giving_slices(cls.__getitem__)
        cls.get_shape = lambda self: TensorShape(self.shape)
    for name in ("__array_ufunc__", "__array_function__"):
        setattr(TracedVariable, name, _giving_tensors(getattr(TracedVariable, name)))
    for name in ("mean", "variance"):
        setattr(Normalization, name, _Attribute(name))
    bases: tuple[Any, ...] = (Loss, Metric)
    for each in bases:
        for sub in _below(each):
            for name in {"__call__", "result"} & vars(sub).keys():
                setattr(sub, name, _giving_tensors(vars(sub)[name]))


def _below(cls: Any) -> list[Any]:
    return [each for sub in cls.__subclasses__() for each in (sub, *_below(sub))]


class Slice(Tensor):
    """A slice of a variable that can be assigned to."""

    def _assigned(self, value: Any) -> Any:
        variable, key = self.__dict__["of"]
        whole = variable.numpy()
        whole[key] = value
        variable.assign(whole)
        return variable

    def assign(self, value: Any) -> Any:
        """Assign the slice, and return the variable."""
        return self._assigned(value)

    def assign_add(self, delta: Any) -> Any:
        """Add to the slice, and return the variable."""
        return self._assigned(np.asarray(self) + np.asarray(delta))

    def assign_sub(self, delta: Any) -> Any:
        """Subtract from the slice, and return the variable."""
        return self._assigned(np.asarray(self) - np.asarray(delta))


def _giving_slices(get: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get)
    def call(self: Any, key: Any) -> Any:
        given = get(self, key)
        found = given.array if isinstance(given, StepArray) else given
        if isinstance(found, Taped) or not isinstance(found, (np.ndarray, np.generic)):
            return given
        part = np.asarray(found).view(Slice)
        part.__dict__["of"] = (self, key)
        return given.seen_as(part) if isinstance(given, StepArray) else part

    return call
