"""Increasing numbers along an axis, such as quantiles."""

from __future__ import annotations

from typing import Any

from cdl import ops
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import Layer, registry


@registry.add()
class Increasing(Layer):
    """Increasing outputs: ``x_0, x_0 + softplus(x_1), ...``, sums along the last axis.

    Behind a `Dense` of one unit for each quantile: its outputs do not cross, whatever the inputs
    are. For `losses.Quantile`, whose quantiles should be given from low to high, and for thresholds
    of ordinal classes.
    """

    def __init__(self, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs: Any) -> Any:
        """The sums, of the shape of the inputs."""
        if inputs.shape[-1] == 1:
            return inputs
        first, steps = inputs[..., :1], ops.softplus(inputs[..., 1:])
        return ops.cumsum(ops.concatenate([first, steps], axis=-1), axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape
