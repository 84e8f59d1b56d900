"""Flatten: all axes but the batch as one."""

from __future__ import annotations

import math
from typing import Any

from cdl.config import standardize_data_format
from cdl.layers.arguments import LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.axes import permuted
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry


@registry.add()
class Flatten(Layer):
    """Flattening of each sample: ``(n, 3, 4)`` becomes ``(n, 12)``, ``(n,)`` ``(n, 1)``.

    Args:
        data_format: "channels_last", or "channels_first", with which the first axis of a sample is
            moved to the end before; None is the configured one.
    """

    _moves = True

    def __init__(self, data_format: str | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, "Flatten")
        self.input_spec = InputSpec(min_ndim=1)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the reshape, which moves nothing."""
        n = len(x.shape)
        if self.data_format == "channels_first" and n > 1:
            x = permuted(program, x, [*range(2, n + 1), 1])
        return program.emit("reshape", (x,), (math.prod(x.shape),))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Batch, and the product of all other sizes; None if one of them is."""
        sizes = tuple(input_shape[1:])
        return (input_shape[0], None if None in sizes else math.prod(sizes))
