"""Layers of a Sequential, looked at one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdl import tree
from cdl._common.dtypes import floatx
from cdl._common.overriding import overrides
from cdl._tracing.graph import KerasTensor
from cdl.layers import Input, Lambda, Layer, masks
from cdl.layers.call_arguments import takes
from cdl.layers.calling import build_for, is_scripted
from cdl.layers.shapes import Shape
from cdl.models.model import Model


def holds(layer: Layer, model: Any) -> bool:
    """Whether a layer is the model, or has it among its own layers, at any depth."""
    return any(each is model for each in layer._flatten_layers())


def shape_through(stack: Sequence[Layer], shapes: Sequence[Shape], builds: bool) -> Shape:
    """Output shape of a layer of a stack; with `builds` the layer is built.

    Args:
        stack: the layers.
        shapes: of the input, and of the outputs of all layers ahead of it.
    """
    layer, shape = stack[len(shapes) - 1], shapes[-1]
    layer.check_input(shape)
    if builds and not layer.built:
        build_for(layer, shape)
    is_users = overrides(type(layer), "call") or isinstance(layer, Lambda)
    if is_users and takes(type(layer), "mask"):
        given = _tensor_behind(stack, shapes)
        if getattr(given, "mask", None) is not None:
            spec = layer.compute_output_spec(given)
            return tuple(tree.map_structure(lambda each: each.shape, spec))
    return tuple(layer.compute_output_shape(shape))


def _tensor_behind(stack: Sequence[Layer], shapes: Sequence[Shape]) -> Any:
    """Symbolic output of the layers whose output shapes are known, with its mask."""
    tensor: Any = KerasTensor(shapes[0])
    for layer, shape in zip(stack, shapes[1:], strict=False):
        if is_scripted(type(layer)) or isinstance(layer, Model):
            outputs = layer.compute_output_spec(tensor)
        else:
            outputs = KerasTensor(shape)
        masks.of_symbolic_outputs(layer, (tensor,), {}, outputs)
        tensor = outputs
    return tensor


def check_config(config: Any) -> None:
    """Refuse anything that is no config of a Sequential.

    Raises:
        ValueError: it has no name and layers, or one of these is no config.
    """
    if not isinstance(config, Mapping) or not {"name", "layers"} <= config.keys():
        raise ValueError(
            "A Sequential model configuration must be a dictionary containing the 'name' and "
            f"'layers' keys, got {sorted(config) if isinstance(config, Mapping) else config!r}"
        )
    for layer in config["layers"]:
        if not isinstance(layer, Mapping) or "config" not in layer:
            raise ValueError(
                f"Expected a dictionary containing a 'config' key. For a layer of "
                f"{config['name']!r} there is {layer!r}"
            )


def shapes_of(x: Any) -> Any:
    """Shapes of several arrays in a list or dict, with open batch axes; () of any other data."""
    many = isinstance(x, dict) or (isinstance(x, (list, tuple)) and len(x) > 1)
    if not many or not all(hasattr(leaf, "shape") for leaf in tree.flatten(x)):
        return ()
    return tree.map_structure(lambda leaf: (None, *leaf.shape[1:]), x)


def inputs_of(shapes: Any) -> Any:
    """Inputs of those shapes, named by the keys of a dict."""
    if isinstance(shapes, dict) and all(map(tree.is_shape, shapes.values())):
        return {key: Input(batch_shape=shape, name=key) for key, shape in shapes.items()}
    return tree.map_shape_structure(lambda shape: Input(batch_shape=shape), shapes)


def shape_of_first(layer: Any) -> Shape | None:
    """Input shape of the first layer: from `input_shape=`, or from a built model."""
    if layer.input_shape_argument is not None:
        return (None, *layer.input_shape_argument)
    if _is_wired(layer):
        shape: Any = layer.input_shape
        return shape if tree.is_shape(shape) else None
    return None


def dtype_of_first(layer: Any) -> str:
    """Input dtype of the first layer: that of a model's input, or its compute dtype."""
    if _is_wired(layer):
        whole = layer._graph_of_model
        return str(whole.signature().inputs[0].dtype) if whole.has_host_part() else "float32"
    return layer.compute_dtype if layer.autocast else floatx()


def _is_wired(layer: Layer) -> bool:
    """Whether a layer is a built model that has no `call` of its own."""
    from cdl.models.functional import Functional
    from cdl.models.sequential import Sequential

    return isinstance(layer, (Sequential, Functional)) and layer.built
