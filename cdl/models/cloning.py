"""cloning.py - clone_model: the same layers again, with weights of their own."""

from collections.abc import Callable
from typing import Any

from cdl._serial import deserialize, serialize
from cdl.layers import InputLayer
from cdl.models.model import Model
from cdl.models.sequential import Sequential


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model of new layers like those of `model`, with new weights, compiled if `model` is.

    Args:
        model: the model. A layer that is in it twice is cloned once.
        input_tensors: not supported: the clone has the same input as the model.
        clone_function: gives the clone of a layer, which is not an Input; by default what the
            layer's config makes.
        call_function: not for a Sequential.
        recursive: whether models in the model are cloned layer by layer too, and not as layers.

    Raises:
        ValueError: not a model, or an argument that does not suit it.
    """
    if not isinstance(model, Model):
        raise ValueError(f"clone_model: model must be a Model, got {type(model).__name__}")
    if input_tensors is not None:
        raise ValueError("clone_model: input_tensors must be None for a Sequential")
    if call_function is not None:
        raise ValueError("clone_model: call_function must be None, it is not for a Sequential")
    if clone_function is not None and not callable(clone_function):
        raise ValueError(
            f"clone_model: clone_function must be a function of a layer, got {clone_function!r}"
        )
    if not isinstance(model, Sequential):
        return deserialize(serialize(model), {type(model).__name__: type(model)})
    return _clone(model, clone_function or _from_config, recursive, {})


def _clone(
    model: Sequential, function: Callable[[Any], Any], recursive: bool, clones: dict[int, Any]
) -> Sequential:
    layers: list[Any] = []
    if model._input is not None:
        given = model._input
        layers.append(InputLayer(batch_shape=given.batch_shape, dtype=given.dtype, name=given.name))
    for layer in model.layers:
        if id(layer) not in clones:
            inner = recursive and isinstance(layer, Sequential)
            clones[id(layer)] = (
                _clone(layer, function, recursive, clones) if inner else function(layer)
            )
        layers.append(clones[id(layer)])
    clone = Sequential(layers, trainable=model.trainable, name=model.name)
    if model.compiled:
        clone.compile_from_config(model.get_compile_config())
    return clone


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())
