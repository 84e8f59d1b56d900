"""Keras 2's `ThresholdedReLU` and `losses.Reduction`."""

from __future__ import annotations

from typing import Any

from cdl import ops
from cdl._common.validation import number
from cdl._configs.serialization import register_public
from cdl.layers import Layer

__all__ = ["Reduction", "ThresholdedReLU"]


class ThresholdedReLU(Layer):
    """x where it is above a threshold, else 0.

    Args:
        theta: the threshold, at least 0.
        kwargs: arguments of `Layer`.

    Raises:
        ValueError: a threshold below 0.
    """

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = number("ThresholdedReLU", "theta", theta, 0.0)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The inputs above the threshold."""
        return inputs * ops.cast(ops.greater(inputs, self.theta), inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict."""
        return {**super().get_config(), "theta": float(self.theta)}


register_public("layers", ThresholdedReLU)


class Reduction:
    """`keras.losses.Reduction`: names of the reductions of a loss over a batch."""

    AUTO = "sum_over_batch_size"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """All names of reductions."""
        return (cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE)

    @classmethod
    def validate(cls, key: Any) -> None:
        """Raise ValueError for an unknown name."""
        if key not in cls.all():
            raise ValueError(f"Reduction: key must be one of {cls.all()}, got {key!r}")
