"""DepthwiseConv1D, DepthwiseConv2D: convolutions of each channel by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import given, positive_int
from cdl._ir import windows
from cdl.layers import rules
from cdl.layers.arguments import CommonArguments, Identifier, Lowering, Unpack, Value
from cdl.layers.convolution.base_conv import BaseConv
from cdl.layers.layer import registry


class DepthwiseConv(BaseConv):
    """Base of the depthwise convolutions.

    Args:
        depth_multiplier: m, how many outputs each channel has.
        depthwise_initializer: initial values of the kernel, of shape (window..., c, m).
        depthwise_regularizer: a penalty on the kernel.
        depthwise_constraint: what the kernel must be after each update.
    """

    _ruled_weights = ("depthwise", "bias")
    depthwise_initializer: Any
    depthwise_regularizer: Any
    depthwise_constraint: Any

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**given(locals(), "depth_multiplier"))
        owner = type(self).__name__
        self.depth_multiplier = positive_int(owner, "depth_multiplier", depth_multiplier)

    def _add_kernels(self, channels: int) -> int:
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = rules.add(self, "depthwise", shape, name="kernel")
        return channels * self.depth_multiplier

    def _filters(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier

    def _convolve(self, program: Lowering, x: Value) -> Value:
        return windows.depthwise_conv(program, x, self.kernel, self.bias, self._window)


@registry.add()
class DepthwiseConv1D(DepthwiseConv):
    """1D depthwise convolution of each channel: (n, steps, c) becomes (n, steps, c * m)."""

    rank = 1


@registry.add()
class DepthwiseConv2D(DepthwiseConv):
    """2D depthwise convolution: each channel has kernels of its own.

    (n, height, width, c) becomes (n, height, width, c * m), of which channel ``j * m + k`` is
    channel j of the input with kernel ``kernel[:, :, j, k]``. Strides and dilation may both be
    above 1.

    Raises:
        ValueError: an argument with a wrong value; when built, an input that is smaller than the
            window.
    """

    rank = 2
