"""softmax.py - Softmax: scores made into probabilities, along any axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._arguments import axes
from cdl.layers.axes import along
from cdl.layers.layer import family
from cdl.layers.same_shape import SameShape
from cdl.layers.shapes import axes_within, sizes_of

if TYPE_CHECKING:
    from cdl._program import Program, Value


@family.add()
class Softmax(SameShape):
    """``exp(x) / sum(exp(x))``, the sum over `axis`.

    Args:
        axis: an axis, or several, over all of which together the probabilities sum to 1.
        kwargs: see `Layer`.
    """

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes("Softmax", "axis", axis)
        self.axis = axis
        self.built = True

    def lower(self, program: Program, x: Value) -> Value:
        """Append the softmax of lines that have the axis as their last."""
        owner, shape = f"Softmax {self.name!r}", (None, *x.shape)
        own = axes_within(owner, self.axis, shape)
        sizes_of(owner, own, shape)
        return along(program, x, own, lambda lines: program.emit("softmax", (lines,), lines.shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
