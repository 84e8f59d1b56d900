"""Wrapper: base of layers around another layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from cdl import ops, tree
from cdl._common.validation import expected
from cdl._configs.serialization import deserialize, serialize
from cdl.layers.layer import Layer, registry


@registry.add()
class Wrapper(Layer):
    """Base of layers around another one; a subclass has a `call` that calls `self.layer`.

    Args:
        layer: the layer.

    Raises:
        ValueError: no layer.
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise expected(type(self).__name__, "layer", "a layer", layer)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the layer within."""
        if not self.layer.built:
            self.layer.build(input_shape)
        super().build(input_shape)

    def _sublayers(self) -> list[Any]:
        found = super()._sublayers()
        return found if self.layer in found else [self.layer, *found]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        layer = deserialize(config.pop("layer"), custom_objects)
        return cls(layer, **config)


def in_dtype_of(layer: Layer, within: Layer, outputs: Any) -> Any:
    """Output of the wrapped layer in the compute dtype of the layer around it."""
    dtype = layer._output_dtype()
    if dtype in (None, within._output_dtype()):
        return outputs
    return tree.map_structure(lambda y: ops.cast(y, dtype), outputs)
