"""Calls of a model without some of its optional inputs: `model([x, None])`.

Layers see None in the place of such an input. So there is another model of the same layers for each
choice of inputs, made by calling the layers once more.
"""

from __future__ import annotations

import weakref
from copy import copy
from typing import Any

from cdl import tree
from cdl._tracing.graph import KerasTensor
from cdl.layers.input import Input
from cdl.models.functional import Functional
from cdl.models.model import Model
from cdl.trainers.custom.steps import steps_itself
from cdl.trainers.executor_cache import ExecutorCache

# State that a run leaves on a model, and attributes that users set meanwhile.
_OF_THE_WHOLE = (
    *("history", "stop_training", "stop_evaluating", "stop_predicting"),
    *("_initial_epoch", "_last_fit", "_last_train_function", "_random_state"),
)


_STEPS = {
    "fit": "train",
    "train_on_batch": "train",
    "fit: validation_data": "test",
    "evaluate": "test",
    "test_on_batch": "test",
    "predict": "predict",
}


class Reduced(Functional):
    """Model without some optional inputs, which runs in place of the user's model.

    Args:
        whole: the model of all inputs: callbacks are handed it, and what runs leave is its own.
        inputs: those that are left.
        outputs: as of the whole model.
    """

    def __init__(self, whole: Model, inputs: Any, outputs: Any) -> None:
        self._whole = weakref.ref(whole)  # which holds this one
        super().__init__(inputs, outputs, name=whole.name)

    def _of_users(self) -> Model:
        whole = self._whole()
        assert whole is not None
        return whole


def _shared(name: str) -> property:
    def get(model: Reduced) -> Any:
        return getattr(model._of_users(), name)

    def put(model: Reduced, value: Any) -> None:
        setattr(model._of_users(), name, value)

    return property(get, put, doc=f"The whole model's `{name}`.")


for _name in _OF_THE_WHOLE:
    setattr(Reduced, _name, _shared(_name))


def without(model: Model, x: Any, call: str) -> tuple[Model, Any]:
    """Model of the inputs that are given, and these inputs; the same model if none is missing.

    Args:
        model: of inputs and outputs, some of which are optional.
        x: what was handed in as inputs.

    Raises:
        ValueError: one is left out that is not optional.
        NotImplementedError: the call goes by a step of the user's own.
    """
    if not isinstance(x, (list, tuple, dict)) or all(each is not None for each in tree.flatten(x)):
        return model, x
    given = model._graph_of_model.flat_given(x, call)
    missing = tuple(i for i, each in enumerate(given) if each is None)
    if not missing:
        return model, x
    kind = _STEPS.get(call)
    if kind is not None and steps_itself(type(model), kind):
        raise NotImplementedError(
            f"{call}: {type(model).__name__} has a {kind}_step of its own, for which all inputs "
            "must be there: give arrays for the optional ones, too"
        )
    if missing not in model._without_inputs:
        model._without_inputs[missing] = _made(model, missing)
    other = model._without_inputs[missing]
    compiled = model._compiled
    if compiled is not None and (
        other._compiled is None or other._compiled.given is not compiled.given
    ):
        compiled.optimizer.build(model.trainable_variables)
        other._compiled = copy(compiled)
        other._compiled.variables = None
        other._executors = ExecutorCache(other._compiled)
    other.steps_per_execution, other.jit_compile = model.steps_per_execution, model.jit_compile
    return other, [each for each in given if each is not None]


def _made(model: Model, missing: tuple[int, ...]) -> Model:
    assert model._model_graph is not None
    known: dict[int, Any] = {}
    inputs = []
    for i, tensor in enumerate(tree.flatten(model.input)):
        known[id(tensor)] = None
        if i not in missing:
            inputs.append(Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name))
            known[id(tensor)] = inputs[-1]

    def swap(leaf: Any) -> Any:
        return known[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

    for node in model._model_graph.graph.nodes:
        args, kwargs = tree.map_structure(swap, (list(node.args), node.kwargs))
        nodes = getattr(node.operation, "_inbound_nodes", [])
        before = len(nodes)
        outputs = node.operation(*args, **kwargs)
        del nodes[before:]  # the layer's calls are those of the model
        pairs = zip(tree.flatten(node.outputs), tree.flatten(outputs), strict=True)
        known.update({id(old): new for old, new in pairs})
    return Reduced(model, inputs, tree.map_structure(swap, model.output))
