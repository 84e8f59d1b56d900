"""Softmax: scores to probabilities, along any axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import activations
from cdl._common.dtypes import is_float
from cdl._common.validation import axes
from cdl._ir import emit
from cdl._ir.elementwise import Expression, apply, argument
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, Lowering, NDArray, Unpack, Value
from cdl.layers.axes import along
from cdl.layers.layer import registry
from cdl.layers.running import in_dtype
from cdl.layers.same_shape import AlongLines
from cdl.layers.shapes import lines_within

_MASKED = -1e9  # a score whose exponential is 0 beside any that counts


@registry.add()
class Softmax(AlongLines):
    """Softmax layer: ``exp(x) / sum(exp(x))``, the sum over `axis`.

    Args:
        axis: an axis, or several, over all of which together the probabilities sum to 1.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        axes("Softmax", "axis", axis)
        self.axis = axis
        self._build_at_init()

    def _on_arrays(
        self, inputs: Any, training: bool | None = False, mask: Any = None
    ) -> NDArray[Any]:
        """Probabilities of an array.

        Args:
            inputs: scores, an array whose first axis are the samples.
            mask: which scores count (true, or above 0.5), of a shape that broadcasts to that of the
                inputs; the others get probability 0. None for all.

        Raises:
            ValueError: a mask that does not broadcast.
        """
        owner = f"Softmax {self.name!r}"
        x = as_numeric(inputs, f"{owner}: inputs")
        if mask is None:
            return super()._on_arrays(x)
        counts = np.asarray(mask)
        counts = counts if counts.dtype == bool else counts > 0.5
        try:
            whole = np.broadcast_shapes(counts.shape, x.shape)
        except ValueError:
            whole = ()
        if whole != x.shape:
            raise ValueError(
                f"{owner}: mask must broadcast to the inputs, got shape {counts.shape} for inputs "
                f"of shape {x.shape}"
            )
        (read,) = in_dtype([x], self._input_dtype())
        shown = np.where(counts, np.asarray(read, np.float32), np.float32(_MASKED))
        y = np.where(counts, np.asarray(super()._on_arrays(shown), np.float32), np.float32(0))
        (found,) = in_dtype([y], str(read.dtype) if is_float(str(read.dtype)) else None)
        return found  # type: ignore[no-any-return]

    def lower(self, program: Lowering, x: Value, mask: Any = None) -> Value:
        """Append the softmax of lines that have the axis as their last; `mask` as on arrays."""
        owner, shape = f"Softmax {self.name!r}", (None, *x.shape)
        axes = lines_within(owner, self.axis, shape)
        if x.shape == (1,):
            activations.softmax.warn_of_one(shape, -1)
        if mask is not None:
            mask = _broadcast(program, owner, mask, x)
            x = program.map(_shown(_MASKED), [x, mask])
        y = along(program, x, axes, lambda lines: program.emit("softmax", (lines,), lines.shape))
        return y if mask is None else program.map(_shown(0.0), [y, mask])


def _broadcast(program: Lowering, owner: str, mask: Any, x: Value) -> Value:
    if isinstance(mask, np.ndarray):
        mask = program.constant(mask.astype(np.float32))
    if mask.shared and mask.shape[0] == 1 and len(mask.shape) == len(x.shape) + 1:
        mask = emit.reshape(program, mask, mask.shape[1:])  # the same for all samples
    fits = len(mask.shape) == len(x.shape) and all(
        n in (1, m) for n, m in zip(mask.shape, x.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{owner}: mask must broadcast to the inputs, got shape {(None, *mask.shape)} for "
            f"inputs of shape {(None, *x.shape)}"
        )
    mask = emit.broadcast(program, mask, x.shape)
    return program.broadcast_batch(mask) if mask.shared else mask


def _shown(other: float) -> Expression:
    """Argument 0 where the mask, argument 1, is above 0.5, else a number."""
    return apply("where", apply("greater", argument(1), 0.5), argument(0), other)
