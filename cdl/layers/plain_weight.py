"""PlainWeight: the kernel or table of a layer as one variable, and base of the other schemes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from cdl._tracing.symbolic import operator_of
from cdl.layers.arguments import Lowering, Value, Variable

Linear = Callable[[Lowering, Value, Variable, Variable | None], Value]


class PlainWeight:
    """Kernel or table of a layer, which programs read as it is."""

    is_float = True  # whether `variable` has the numbers that programs compute with

    def __init__(self, variable: Variable) -> None:
        self.variable = variable

    def of(self, variable: Any, layer: Any) -> PlainWeight:
        """Scheme of another variable, with its other parts from the layer's attributes."""
        del layer
        return self if variable is self.variable else self._with(variable=variable)

    def _with(self, **parts: Any) -> Self:
        made = copy.copy(self)
        vars(made).update(parts)
        return made

    @property
    def base(self) -> PlainWeight:
        """Weight without low-rank matrices added to it."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight as the layer sees it."""
        return self.variable.shape

    def product(
        self, program: Lowering, x: Value, linear: Linear, bias: Variable | None = None
    ) -> Value:
        """Append the layer's product with the weight, and the bias."""
        return linear(program, x, self.variable, bias)

    def array(self) -> Any:
        """Weight for users and `call`: a variable, an array, or symbolic in traced code."""
        return self.variable

    def parts(self) -> list[Variable | None]:
        """Variables of the weight in files: its own, then its scales and zeros."""
        return [self.variable]

    def parts_of_sum(self, a: Variable, b: Variable, scale: float) -> Sequence[Any]:
        """Values of `parts` for the weight plus scale A B."""
        return [self.variable + operator_of("matmul")(a, b) * np.float32(scale)]

    def filed(self, variables: list[Any]) -> list[Any]:
        """Variables of the layer in the order of files."""
        return variables
