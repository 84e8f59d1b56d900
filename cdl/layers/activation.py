"""Activation: an activation function as a layer."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl.layers.activated import Activated
from cdl.layers.arguments import Identifier, LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class Activation(SameShape):
    """Activation function as a layer: ``y = activation(x)``.

    Args:
        activation: a name, one of `cdl.activations`, or None for none.
    """

    activation = Activated()
    by_lines = True

    def __init__(
        self,
        activation: Identifier,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activations.compiled("Activation", activation)
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        if self.activation is None:  # by who has set it so
            return x
        y: Value = self.activation.lower(program, x)
        return y

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        """The input's shape; glu halves its last axis."""
        shape = tuple(input_shape)
        changed = getattr(self.activation, "output_shape", None)
        return changed(shape) if changed is not None else shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}
