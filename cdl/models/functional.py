"""Functional: what `Model(inputs, outputs)` makes."""

from collections.abc import Mapping
from typing import Any, Self

from cdl._configs import serialization
from cdl._tracing.graph import KerasTensor
from cdl.layers import InputSpec
from cdl.models.model import Model
from cdl.models.serialization import config_of, tensors_of


class Functional(Model):
    """A model of symbolic inputs and outputs; `Model(inputs, outputs)` makes one.

    Args:
        inputs: symbolic tensors of `Input`, alone or nested in lists and dicts; or tensors from
            within another model, which the new one then begins at.
        outputs: what calls of layers on them gave, alone or nested.
        name: of the model; `functional`, `functional_1` ... if None.
        kwargs: `trainable`: whether training changes the weights.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)

    @property
    def input_spec(self) -> Any:
        """One InputSpec an input, by its key where the inputs are a dict; or what has been set."""
        if self._spec is not None:
            return self._spec
        named = [(tensor.name, tensor) for tensor in self.inputs]
        if isinstance(self.input, dict):
            named = sorted(self.input.items())
        if not all(isinstance(tensor, KerasTensor) for _, tensor in named):
            return None
        return [
            InputSpec(shape=(None, *tensor.shape[1:]), allow_last_axis_squeeze=True, name=name)
            for name, tensor in named
        ]

    @input_spec.setter
    def input_spec(self, value: Any) -> None:
        self._spec = value

    def get_config(self) -> dict[str, Any]:
        """Name, layers, and how they are connected."""
        assert self._model_graph is not None
        return {"name": self.name, "trainable": self.trainable, **config_of(self._model_graph)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """A new model, with new weights, from what `get_config` gave.

        Args:
            config: the config.
            custom_objects: classes and functions of the user's own, by name.

        Raises:
            ValueError: the config does not fit together.
            TypeError: a layer is of a class that is not known.
        """
        inputs, outputs = tensors_of(config, custom_objects)
        model = cls(inputs, outputs, name=config.get("name"))
        if config.get("trainable") is False:
            model._trainable = False
        return model


serialization.register_public("keras", Functional)
serialization.register_public(
    "keras.src.models.functional", Functional
)  # where Keras says that it is
