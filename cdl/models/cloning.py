"""clone_model: a copy of a model's layers with new weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from cdl import tree
from cdl._common.overriding import overrides
from cdl._configs import sharing
from cdl._configs.serialization import deserialize, serialize
from cdl._tracing.graph import KerasTensor
from cdl._tracing.operation import Operation
from cdl.layers import Input, InputLayer
from cdl.layers.layer import Layer
from cdl.models.functional import Functional
from cdl.models.model import Model, takes_tensors
from cdl.models.sequential import Sequential
from cdl.ops.core.loops import LoopOverSamples

M = TypeVar("M", bound=Model)


def clone_model(
    model: M,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> M:
    """Copy of `model` with new layers and new weights, compiled if `model` is.

    Args:
        model: the model. A layer that is in it twice, also within a wrapper, is cloned once.
        input_tensors: symbolic tensors that the clone begins at, nested as `model.input` is; None
            makes new ones.
        clone_function: gives the clone of a layer, which is not an Input; by default what the
            layer's config makes.
        call_function: for models of inputs and outputs: called with a layer's clone and the
            arguments of its call, it gives what the layer gives, or what is made of that.
        recursive: whether models in the model are cloned layer by layer too, and not as layers.

    Returns:
        A model of the same class; a `Functional` for inputs and outputs in a class whose
        constructor takes other arguments, which no config has.

    Raises:
        ValueError: not a model, or an argument that does not suit it.
    """
    if not isinstance(model, Model):
        raise ValueError(f"clone_model: model must be a Model, got {type(model).__name__}")
    if clone_function is not None and not callable(clone_function):
        raise ValueError(
            f"clone_model: clone_function must be a function of a layer, got {clone_function!r}"
        )
    if isinstance(model, Sequential) and call_function is not None:
        raise ValueError(
            "clone_model: call_function must be None for a Sequential, whose layers are not called "
            f"when it is made, got {call_function!r}"
        )
    if not isinstance(model, (Sequential, Functional)):
        if clone_function or input_tensors is not None or call_function:
            raise ValueError(
                "clone_model: clone_function, call_function and input_tensors are for Sequential "
                f"and for models of inputs and outputs, got a {type(model).__name__}, which has a "
                "call of its own"
            )
        try:
            with sharing.numbering(), sharing.reading():
                again: M = deserialize(serialize(model), {type(model).__name__: type(model)})
            return again
        except (TypeError, NotImplementedError):
            if model._model_graph is None or overrides(type(model), "get_config"):
                raise  # as its constructor alone can make one
    cloner = _Cloner(clone_function or _from_config, call_function, recursive)
    with sharing.numbering(), sharing.reading():
        clone: M = cloner.clone(model, input_tensors)
    return clone


class _Cloner:
    """Cloner of models and their parts, each once.

    Args:
        function: from a layer to its clone.
        call: calls a clone; None calls it as it is.
        recursive: whether models within are cloned by this, and not by `function`.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        call: Callable[..., Any] | None,
        recursive: bool,
    ) -> None:
        self.function = function
        self.call = call
        self.recursive = recursive
        self._clones: dict[int, Any] = {}

    def clone(self, model: Model, input_tensors: Any = None) -> Any:
        """Clone of a Sequential or functional model, compiled if that is."""
        clone: Model
        if isinstance(model, Sequential):
            clone = self._sequential(model, input_tensors)
        else:
            clone = self._functional(model, input_tensors)
        if model.compiled:
            clone.compile_from_config(model.get_compile_config())
        return clone

    def _clone_of(self, layer: Layer) -> Any:
        if id(layer) not in self._clones:
            made: Any
            if self.recursive and isinstance(layer, (Sequential, Functional)):
                made = self.clone(layer)
            elif isinstance(layer, Operation):
                made = Operation(layer.row, layer.name)
                made.statics = dict(layer.statics)
            elif isinstance(layer, LoopOverSamples):
                made = layer  # a call of it makes another one
            else:
                made = self.function(layer)
            self._clones[id(layer)] = made
        return self._clones[id(layer)]

    def _sequential(self, model: Sequential, input_tensors: Any) -> Sequential:
        first: list[Any] = []
        if input_tensors is not None:
            first = tree.flatten(input_tensors)
            if len(first) != 1 or not isinstance(first[0], KerasTensor):
                raise ValueError(
                    "clone_model: input_tensors must be one symbolic tensor for a Sequential, got "
                    f"{input_tensors!r}"
                )
            first = [Input(tensor=first[0])]
        elif model._input is not None:
            given = model._input
            first = [InputLayer(batch_shape=given.batch_shape, dtype=given.dtype, name=given.name)]
        layers = first + [self._clone_of(layer) for layer in model.layers]
        return Sequential(layers, trainable=model.trainable, name=model.name)

    def _functional(self, model: Model, input_tensors: Any) -> Model:
        assert model._model_graph is not None
        inputs = self._inputs(model, input_tensors)
        pairs = zip(tree.flatten(model.input), tree.flatten(inputs), strict=True)
        fresh = {id(old): new for old, new in pairs}

        def swap(leaf: Any) -> Any:
            return fresh[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in model._model_graph.graph.nodes:
            args = tree.map_structure(swap, node.args) if node.args else ()
            kwargs = tree.map_structure(swap, node.kwargs) if node.kwargs else {}
            operation = self._clone_of(node.operation)
            called = operation if self.call is None else functools.partial(self.call, operation)
            outputs = called(*args, **kwargs)
            given = zip(tree.flatten(node.outputs), tree.flatten(outputs), strict=True)
            fresh.update({id(old): new for old, new in given})
        outputs = tree.map_structure(swap, model.output)
        clone = (type(model) if takes_tensors(type(model)) else Functional)(
            inputs, outputs, name=model.name
        )
        if not model.trainable:
            clone.trainable = False
        return clone

    @staticmethod
    def _inputs(model: Model, input_tensors: Any) -> Any:
        if input_tensors is None:
            return tree.map_structure(
                lambda t: Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), model.input
            )
        try:
            tree.assert_same_structure(input_tensors, model.input)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "clone_model: `input_tensors` must have the same structure as model.input, "
                f"{model.input!r}, got {input_tensors!r}"
            ) from error
        for leaf in tree.flatten(input_tensors):
            if not isinstance(leaf, KerasTensor):
                raise ValueError(
                    f"clone_model: input_tensors must be symbolic tensors, got {leaf!r}"
                )
        return input_tensors


def _from_config(layer: Layer) -> Any:
    """New layer from the config of another one, or the copy that a wrapper's config has made."""
    numbered: dict[str, Any] = {}
    sharing.note_written(layer, numbered)
    made = sharing.found(numbered)
    if made is None:
        made = type(layer).from_config(layer.get_config())
        sharing.note_read(made, numbered)
    return made
