"""ColumnScaling: a learned factor for each column."""

from __future__ import annotations

from typing import Any

from cdl.layers import rules
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class ColumnScaling(SameShape):
    """Learned factor of each column, ``y = x * scale``: a soft choice of columns.

    At the front of a net for tables (RealMLP; Holzmüller, Grinsztajn and Steinwart, 2024), where it
    learns at a rate of its own: `rate_factors={"column_scaling": 6.0}` of an optimizer.

    Args:
        scale_initializer: initial values of the factors, one for each element of the last axis.
        scale_regularizer: a penalty on them.
        scale_constraint: what they must be after each update.
    """

    scale: Variable

    def __init__(
        self,
        scale_initializer: Identifier = "ones",
        scale_regularizer: Identifier | None = None,
        scale_constraint: Identifier | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        rules.keep(
            self,
            scale_initializer=scale_initializer,
            scale_regularizer=scale_regularizer,
            scale_constraint=scale_constraint,
        )

    def build(self, input_shape: Shape) -> None:
        """Create a factor for each element of the last axis."""
        self.scale = rules.add(self, "scale", (input_shape[-1],))
        self.input_spec = InputSpec(axes={-1: input_shape[-1]})
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The inputs times their factors."""
        return inputs * self.scale
