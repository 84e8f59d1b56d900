"""Layers of a Sequential, looked at one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdl.layers import Layer
    from cdl.layers.shapes import Shape


def holds(layer: Layer, model: Any) -> bool:
    """Whether a layer is the model, or has it among its own layers, at any depth."""
    return any(each is model for each in layer._flatten_layers())


def shape_through(layer: Layer, shape: Shape, builds: bool) -> Shape:
    """Output shape of a layer for an input shape; with `builds` the layer is built."""
    layer.check_input(shape)
    if builds and not layer.built:
        layer.build(shape)
    return tuple(layer.compute_output_shape(shape))


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
