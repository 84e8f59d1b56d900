"""Masking: a mask of padded steps for the layers after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import ops
from cdl._common.validation import expected
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class Masking(SameShape):
    """Masking of padding: lines whose numbers all equal `mask_value` become 0 and masked.

    Those lines are masked: layers that support masking hand the mask on, and losses and metrics
    count the others only: the loss is the mean over the lines that are left. A layer that does not
    support it (`Flatten`, for example) drops the mask, and warns.

    Args:
        mask_value: the number.

    Raises:
        ValueError: a mask value that is no number.
    """

    _moves = True
    _takes_numbers = False  # since it works on lines

    def __init__(self, mask_value: Any = 0.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if np.ndim(mask_value) or np.asarray(mask_value).dtype.kind not in "fiub":
            raise expected("Masking", "mask_value", "a number", mask_value)
        self.mask_value = mask_value
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the zeros, and the mask of the result."""
        y = program.emit("mask", (x,), x.shape, value=float(self.mask_value))
        y.mask = program.add_output(y, (*x.shape[:-1], 1))
        return y

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Whether each line counts, as an array of bools."""
        del previous_mask
        return ops.any(ops.not_equal(inputs, self.mask_value), -1)
