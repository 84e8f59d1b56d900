"""Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import given, per_axis, positive_int
from cdl._ir import windows
from cdl._ir.windows import Transposed
from cdl.layers import rules
from cdl.layers.arguments import CommonArguments, Identifier, Lowering, Shape, Unpack, Value
from cdl.layers.convolution.base_conv import BaseConv
from cdl.layers.layer import registry


class ConvTranspose(BaseConv):
    """Base of the transposed convolutions.

    Args:
        filters: how many channels the output has.
        strides: how far apart the windows of neighbouring numbers of the input are, likewise.
        padding: "valid" or "same".
        output_padding: how much is added to each size, less than the strides, where sizes are
            counted as (size - 1) * strides + reach with "valid" and as (size - 1) * strides plus 1
            for an odd reach with "same"; None for the sizes above.
        dilation_rate: how far apart the places are that a window sees, as `strides`.
        kernel_initializer: initial values of the kernel, of shape (window..., filters, channels).
    """

    _matrix_by_default = True
    kernel_initializer: Any
    kernel_regularizer: Any
    kernel_constraint: Any

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Any = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**given(locals(), "filters", "output_padding"))
        owner = type(self).__name__
        self.filters = positive_int(owner, "filters", filters)
        self.output_padding = None
        if output_padding is not None:
            sizes = per_axis(owner, "output_padding", output_padding, self.rank, least=0)
            self.output_padding = sizes
            if any(n >= stride for n, stride in zip(sizes, self.strides, strict=True)):
                raise ValueError(
                    f"{owner}: output_padding must be less than strides, got "
                    f"output_padding={sizes} and strides={self.strides}"
                )
        self._refuse_gaps_and_strides()

    @property
    def _transposed(self) -> Transposed:
        return Transposed(self._window, self.output_padding)

    def _add_kernels(self, channels: int) -> int:
        shape = (*self.kernel_size, self.filters, channels)
        self.kernel = rules.add(self, "kernel", shape, matrix=True)
        return self.filters

    def _filters(self, channels: int | None) -> int:
        return self.filters

    def _sizes(self, sizes: Shape) -> Shape:
        return self._transposed.map(sizes)

    def _unfit(self, shape: Shape) -> ValueError:
        return ValueError(
            f"{type(self).__name__} {self.name!r}: output_padding must leave an output, got "
            f"{self.output_padding} with kernel_size {self.kernel_size} and strides "
            f"{self.strides} for an input of shape {shape}"
        )

    def _convolve(self, program: Lowering, x: Value) -> Value:
        return windows.conv_transpose(program, x, self.kernel, self.bias, self._transposed)


@registry.add("Convolution1DTranspose")
class Conv1DTranspose(ConvTranspose):
    """1D transposed convolution: (n, steps, channels) becomes (n, steps', filters).

    Sizes are those of `Conv2DTranspose`.
    """

    rank = 1


@registry.add("Convolution2DTranspose")
class Conv2DTranspose(ConvTranspose):
    """2D transposed convolution (deconvolution): the gradient of a convolution by its input.

    (n, height, width, channels) becomes (n, height', width', filters): each number of the input is
    given, times the kernel, to all places of the output that a window there would see. Strides
    widen: sizes become size * strides with "same", (size - 1) * strides + max(reach of the
    window, strides) with "valid".

    Raises:
        ValueError: an argument with a wrong value, strides together with dilation, or an
            `output_padding` that is not less than the strides.
    """

    rank = 2


@registry.add("Convolution3DTranspose")
class Conv3DTranspose(ConvTranspose):
    """3D transposed convolution: (n, a, b, c, channels) becomes (n, ..., filters).

    Sizes are those of `Conv2DTranspose`, and so are the arguments from `dilation_rate` on;
    `data_format` comes before `output_padding`.
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: int | Sequence[int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, *args, **kwargs
        )


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
