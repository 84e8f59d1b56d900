"""ReLU, LeakyReLU, ELU: rectifiers with arguments, as layers."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl._common.errors import warn
from cdl._common.validation import number
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class ReLU(SameShape):
    """Rectified linear unit (ReLU), with an upper bound, a threshold and a slope below it.

    ``min(x, max_value)`` where x is above `threshold`, ``negative_slope (x - threshold)`` below.

    Args:
        max_value: the largest output, None for no limit.
        negative_slope: at least 0.
        threshold: at least 0.

    Raises:
        ValueError: one of the three is negative or no number.
    """

    by_lines = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None:
            number("ReLU", "max_value", max_value, low=0.0)
        number("ReLU", "negative_slope", negative_slope, low=0.0)
        number("ReLU", "threshold", threshold, low=0.0)
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        options = {"max_value": self.max_value, "negative_slope": self.negative_slope}
        y: Value = activations.relu.lower(program, x, threshold=self.threshold, **options)
        return y


@registry.add()
class LeakyReLU(SameShape):
    """Leaky rectified linear unit: ``x`` where x is at least 0, ``negative_slope * x`` below.

    Args:
        negative_slope: at least 0. (The function `activations.leaky_relu` has 0.2.)
        kwargs: see `Layer`; also `alpha`, an older name of `negative_slope`.

    Raises:
        ValueError: the slope is negative or no number.
    """

    by_lines = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warn("LeakyReLU: alpha is now called negative_slope")
        super().__init__(**kwargs)
        number("LeakyReLU", "negative_slope", negative_slope, low=0.0)
        self.negative_slope = negative_slope
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        slope = self.negative_slope
        y: Value = activations.leaky_relu.lower(program, x, negative_slope=slope)
        return y


@registry.add()
class ELU(SameShape):
    """Exponential linear unit: ``x`` where x is above 0, ``alpha * (exp(x) - 1)`` below.

    Args:
        alpha: what the output tends to, with a minus, for large negative x.
    """

    by_lines = True

    def __init__(self, alpha: float = 1.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        number("ELU", "alpha", alpha)
        self.alpha = alpha
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        y: Value = activations.elu.lower(program, x, alpha=self.alpha)
        return y
