"""A Sequential whose first layer takes several inputs: a graph, as of `Model(inputs, outputs)`."""

from __future__ import annotations

import inspect
from typing import Any

from cdl import tree
from cdl._configs import serialization
from cdl.layers import Attention, Input
from cdl.layers.calling import is_scripted, undone_on_failure
from cdl.layers.merging.merge import Merge
from cdl.models.model import Model
from cdl.models.sequential import Sequential

# Members that a Sequential of one input has of its own; here they are those of a model of a graph.
_OF_GRAPHS = (
    *("_structure_of", "_flat_inputs", "_flat_given", "_flat_targets", "_in_order", "append_all"),
    *("_input_names", "_output_names", "_input_infos", "_output_infos", "_output_rows", "lower"),
    *("_takes_sizes", "_widens", "_takes_any_size", "_outputs_for", "_build_for", "check_input"),
    *("input_shape", "output_shape", "compute_output_shape", "_shapes_after_layers"),
    "_symbolic_dtype",
)


class SequentialOfSeveral(Sequential):
    """Sequential that was built for a list or dict of inputs.

    A Sequential becomes one when it is built, since only then its inputs are known.
    """

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the layers have their weights."""

    def _rebuild(self) -> None:
        model: Any = self
        model.__class__ = Sequential  # another first layer may take one input
        Sequential._rebuild(model)

    def get_config(self) -> dict[str, Any]:
        """Name and configs of all layers, and the shapes of the inputs, as a dict."""
        return {**super().get_config(), "build_input_shape": self._build_shape}


for _name in _OF_GRAPHS:
    setattr(SequentialOfSeveral, _name, inspect.getattr_static(Model, _name))
SequentialOfSeveral.__name__ = "Sequential"  # in configs and errors
serialization.register_public("keras", SequentialOfSeveral)


def is_built_for(model: Sequential, shapes: Any) -> bool:
    """Build a Sequential for several inputs; False if its first layer takes one.

    Args:
        model: without an Input.
        shapes: of the inputs, batch axes included, nested as data are handed in.
    """
    first = model.layers[0]
    if not isinstance(first, (Merge, Attention, Model)) and not is_scripted(type(first)):
        return False
    with undone_on_failure(model):
        inputs = _inputs(shapes)
        outputs = inputs
        for layer in model.layers:
            outputs = layer(outputs)
        model._wire(inputs, outputs)
    model._build_shape = shapes
    model.__class__ = SequentialOfSeveral
    model._forget_programs()
    return True


def _inputs(shapes: Any) -> Any:
    """Inputs of those shapes, named by the keys of a dict."""
    if isinstance(shapes, dict) and all(map(tree.is_shape, shapes.values())):
        return {key: Input(batch_shape=shape, name=key) for key, shape in shapes.items()}
    return tree.map_shape_structure(lambda shape: Input(batch_shape=shape), shapes)
