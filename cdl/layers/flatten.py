"""flatten.py - Flatten: all axes but the batch as one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cdl.config import standardize_data_format
from cdl.layers.layer import Layer, family

if TYPE_CHECKING:
    from cdl._program import Program, Value
    from cdl.layers.shapes import Shape


@family.add()
class Flatten(Layer):
    """The numbers of each sample in a row: ``(n, 3, 4)`` becomes ``(n, 12)``, ``(n,)`` ``(n, 1)``.

    Args:
        data_format: "channels_last", also what None means unless configured otherwise. With
            "channels_first" channels would come last; not supported yet for three axes or more.
        kwargs: see `Layer`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, "Flatten")
        self.built = True

    def lower(self, program: Program, x: Value) -> Value:
        """Append the reshape, which moves nothing."""
        if self.data_format == "channels_first" and len(x.shape) > 1:
            raise ValueError(
                "Flatten: data_format must be 'channels_last' for inputs of more than 2 axes, "
                "got 'channels_first', which is not supported yet"
            )
        return program.emit("reshape", (x,), (math.prod(x.shape),))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Batch, and the product of all other sizes; None if one of them is."""
        sizes = tuple(input_shape[1:])
        return (input_shape[0], None if None in sizes else math.prod(sizes))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}
