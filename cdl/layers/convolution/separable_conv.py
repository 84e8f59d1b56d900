"""SeparableConv1D, SeparableConv2D: depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import given, positive_int
from cdl._ir import windows
from cdl.layers import rules
from cdl.layers.arguments import CommonArguments, Identifier, Lowering, Unpack, Value, Variable
from cdl.layers.convolution.base_conv import BaseConv
from cdl.layers.layer import registry


class SeparableConv(BaseConv):
    """Base of the separable convolutions.

    Args:
        filters: how many channels the output has.
        depth_multiplier: m, how many channels between each channel of the input has.
        depthwise_initializer: initial values of the first kernel, of shape (window..., channels,
            m).
        pointwise_initializer: initial values of the second kernel, of shape (1, ..., channels * m,
            filters).
        depthwise_regularizer: a penalty on the first kernel.
        pointwise_regularizer: a penalty on the second kernel.
        depthwise_constraint: what the first kernel must be after each update.
        pointwise_constraint: what the second kernel must be after each update.
    """

    _ruled_weights = ("depthwise", "pointwise", "bias")
    depthwise_kernel: Variable
    pointwise_kernel: Variable
    depthwise_initializer: Any
    depthwise_regularizer: Any
    depthwise_constraint: Any
    pointwise_initializer: Any
    pointwise_regularizer: Any
    pointwise_constraint: Any

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "glorot_uniform",
        pointwise_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier | None = None,
        pointwise_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Identifier | None = None,
        pointwise_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**given(locals(), "filters", "depth_multiplier"))
        owner = type(self).__name__
        self.filters = positive_int(owner, "filters", filters)
        self.depth_multiplier = positive_int(owner, "depth_multiplier", depth_multiplier)

    def _add_kernels(self, channels: int) -> int:
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = rules.add(self, "depthwise", shape, name="depthwise_kernel")
        shape = (*(1,) * self.rank, channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = rules.add(
            self, "pointwise", shape, name="pointwise_kernel", matrix=True
        )
        return self.filters

    def _filters(self, channels: int | None) -> int:
        return self.filters

    def _convolve(self, program: Lowering, x: Value) -> Value:
        y = windows.depthwise_conv(program, x, self.depthwise_kernel, None, self._window)
        one = windows.pointwise(self.rank)
        return windows.conv(program, y, self.pointwise_kernel, self.bias, one)


@registry.add("SeparableConvolution1D")
class SeparableConv1D(SeparableConv):
    """1D depthwise separable convolution: (n, steps, channels) becomes (n, steps, filters)."""

    rank = 1


@registry.add("SeparableConvolution2D")
class SeparableConv2D(SeparableConv):
    """2D depthwise separable convolution: a `DepthwiseConv2D`, then a 1x1 convolution.

    (n, height, width, channels) becomes (n, height, width, filters). Bias and activation come
    behind both. Strides and dilation may both be above 1.

    Raises:
        ValueError: an argument with a wrong value; when built, an input that is smaller than the
            window.
    """

    rank = 2


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
