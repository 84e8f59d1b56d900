"""Concatenate: several values side by side along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import whole
from cdl._tracing.graph import operator_of
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.layer import registry
from cdl.layers.merging.merge import Merge, joined


@registry.add()
class Concatenate(Merge):
    """Concatenation of the inputs along an axis.

    Args:
        axis: the axis; all others must agree. 0 puts samples behind samples, as contrastive losses
            of several views do.

    Raises:
        ValueError: when called on shapes that do not fit.
    """

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = whole("Concatenate", "axis", axis)

    def _merged(self, shapes: Sequence[Shape]) -> Shape:
        owner = f"Concatenate {self.name!r}"
        rank = len(shapes[0])
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"{owner}: axis must be one of the {rank} axes of the inputs, got {self.axis} for "
                f"shapes {list(shapes)}"
            )
        axis = self.axis % rank
        result = list(shapes[0])
        for shape in shapes[1:]:
            others = [
                pair
                for k, pair in enumerate(zip(shape, result, strict=False))
                if k not in (0, axis)
            ]
            if len(shape) != rank or any(
                None not in pair and pair[0] != pair[1] for pair in others
            ):
                raise ValueError(
                    f"{owner}: requires inputs with matching shapes except for the concatenation "
                    f"axis, got {list(shapes)}"
                )
            known, n = result[axis], shape[axis]
            result[axis] = None if known is None or n is None else known + n
        return (None, *result[1:])

    def _merge_function(self, inputs: list[Any]) -> Any:
        return operator_of("concatenate")(inputs, axis=self.axis)

    def call(self, inputs: Any) -> Any:
        """Inputs concatenated along the axis."""
        return self._merge_function(list(inputs))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Masks concatenated, where lines are; else joined.

        An input without a mask counts as a whole.
        """
        masks = self._masks(inputs, previous_mask)
        if all(mask is None for mask in masks):
            return None
        ones = operator_of("ones_like")
        whole = [
            ones(x[..., 0], dtype="bool") if mask is None else mask
            for x, mask in zip(inputs, masks, strict=True)
        ]
        rank = len(inputs[0].shape)
        if self.axis % rank == rank - 1:
            return joined(whole)
        return operator_of("concatenate")(whole, axis=self.axis)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Concatenate`: `Concatenate(axis, **kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        axis: the axis.
        kwargs: of the layer.
    """
    return Concatenate(axis=axis, **kwargs)(inputs)
