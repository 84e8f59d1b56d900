"""Pipeline: layers one after the other, as one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from cdl._common.validation import expected
from cdl._configs.serialization import deserialize, serialize
from cdl.layers.call_arguments import takes
from cdl.layers.calling import is_scripted
from cdl.layers.layer import Layer, registry
from cdl.layers.running import name_scope


@registry.add()
class Pipeline(Layer):
    """Chain of layers as one layer, such as random augmentations of images.

    A call that says nothing about training is one of training, unless what is around it says more.

    Args:
        layers: a list of layers.

    Raises:
        ValueError: something else than a list of layers.
    """

    training_by_default = True
    _file_parts = ("layers",)

    def __init__(self, layers: Sequence[Layer], name: str | None = None) -> None:
        super().__init__(name=name)
        fits = isinstance(layers, (list, tuple))
        if not fits or not all(isinstance(each, Layer) for each in layers):
            raise expected("Pipeline", "layers", "a list of layers", layers)
        self._pipeline_layers = list(layers)

    @property
    def layers(self) -> list[Layer]:
        """Layers of the chain, in order."""
        return self._pipeline_layers

    def _sublayers(self) -> list[Any]:
        more = [each for each in super()._sublayers() if each not in self._pipeline_layers]
        return [*self._pipeline_layers, *more]

    def build(self, input_shape: Any) -> None:
        """Build the layers for inputs of that shape."""
        shape = input_shape
        for layer in self._pipeline_layers:
            if not layer.built:
                with name_scope(layer):
                    layer.build(shape)
            shape = layer.compute_output_shape(shape)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = True, mask: Any = None) -> Any:
        """Output of the last layer.

        Args:
            inputs: of the first layer.
            training: for those that behave otherwise in training.
            mask: of the input; those of the layers between are handed on.
        """
        for layer in self._pipeline_layers:
            cls = type(layer)
            told = {}
            if training is not None and takes(cls, "training"):
                told["training"] = training
            if mask is not None and (layer.takes_mask or (is_scripted(cls) and takes(cls, "mask"))):
                told["mask"] = mask
            outputs = layer(inputs, **told)
            mask = None if mask is None else layer.compute_mask(inputs, mask)
            inputs = outputs
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Output shape of the last layer."""
        for layer in self._pipeline_layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {"layers": serialize(self._pipeline_layers), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a pipeline, with new layers, from its config.

        Raises:
            ValueError: the config has no list of layers.
        """
        given = config.get("layers")
        if not isinstance(given, (list, tuple)):
            raise expected("Pipeline", "`layers` of the config", "a list of configs", given)
        return cls(**{**config, "layers": [deserialize(each) for each in given]})
