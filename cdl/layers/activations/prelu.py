"""PReLU: a leaky rectifier with learned slopes."""

from __future__ import annotations

import math
from typing import Any

from cdl import constraints, initializers, regularizers
from cdl._common.validation import axes
from cdl.layers import rules
from cdl.layers.arguments import (
    Identifier,
    LayerArguments,
    Lowering,
    Shape,
    Unpack,
    Value,
    Variable,
)
from cdl.layers.axes import permuted, reshaped
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class PReLU(SameShape):
    """Parametric ReLU, ``max(x, 0) + alpha * min(x, 0)``, with a learned `alpha` per place.

    Args:
        alpha_initializer: initial values of alpha.
        alpha_regularizer: a penalty on alpha.
        alpha_constraint: what alpha must be after each update.
        shared_axes: axes, counted from 1, along which alpha is the same: `[1, 2]` for images whose
            channels come last. None for none.
    """

    alpha: Variable

    def __init__(
        self,
        alpha_initializer: Identifier = "Zeros",
        alpha_regularizer: Identifier | None = None,
        alpha_constraint: Identifier | None = None,
        shared_axes: Any = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes: list[int] | None = None
        if shared_axes is not None:
            given = axes("PReLU", "shared_axes", shared_axes)
            self.shared_axes = list(given) if isinstance(given, tuple) else [given]

    def _shared(self, n: int) -> set[int]:
        """The shared ones among axes 1 to n; Keras counts negative ones from the last."""
        for axis in self.shared_axes or ():
            if axis == 0 or not -n < axis - 1 < n:
                raise ValueError(
                    f"PReLU {self.name!r}: shared_axes must be within the {n} axes of a sample, "
                    f"counted from 1, got {self.shared_axes}"
                )
        return {(axis - 1) % n + 1 for axis in self.shared_axes or ()}

    def build(self, input_shape: Shape) -> None:
        """Create alpha, of the shape of a sample with 1 for the shared axes."""
        shared = self._shared(len(input_shape) - 1)
        shape = [1 if axis in shared else input_shape[axis] for axis in range(1, len(input_shape))]
        self.alpha = rules.add(self, "alpha", shape)
        sizes = {a: input_shape[a] for a in range(1, len(input_shape)) if a not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes if shared else None)
        super().build(input_shape)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the rectifier on lines that have an element for each alpha."""
        every = range(1, len(x.shape) + 1)
        shared = self._shared(len(x.shape))
        order = sorted(every, key=lambda axis: axis not in shared)
        moved = permuted(program, x, order)
        sizes = [x.shape[axis - 1] for axis in sorted(shared)]
        lines = reshaped(program, moved, (*sizes, math.prod(self.alpha.shape)))
        y = program.emit("prelu", (lines,), lines.shape, (self.alpha,))
        y = reshaped(program, y, moved.shape)
        return permuted(program, y, [order.index(axis) + 1 for axis in every])
