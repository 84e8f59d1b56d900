"""ParametricActivation: a learned mixture of an activation and the identity."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl.layers import rules
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class ParametricActivation(SameShape):
    """Activation f with a learned strength, ``y = x + alpha * (f(x) - x)``, for each unit.

    RealMLP has it behind each hidden layer, with SELU for classes and Mish for numbers (Holzmüller,
    Grinsztajn and Steinwart, 2024).

    Args:
        activation: f: a name, or one of `cdl.activations`.
        alpha_initializer: initial values of alpha, one for each element of the last axis: 1 is f
            itself, 0 the identity.
        alpha_regularizer: a penalty on alpha.
        alpha_constraint: what alpha must be after each update.
    """

    alpha: Variable

    def __init__(
        self,
        activation: Identifier,
        alpha_initializer: Identifier = "ones",
        alpha_regularizer: Identifier | None = None,
        alpha_constraint: Identifier | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        rules.keep(
            self,
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )

    def build(self, input_shape: Shape) -> None:
        """Create an alpha for each element of the last axis."""
        self.alpha = rules.add(self, "alpha", (input_shape[-1],))
        self.input_spec = InputSpec(axes={-1: input_shape[-1]})
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The mixture, of the shape of the inputs."""
        return inputs + self.alpha * (self.activation(inputs) - inputs)
