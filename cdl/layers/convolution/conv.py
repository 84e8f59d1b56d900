"""Conv1D, Conv2D, Conv3D: convolutions over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import ops
from cdl._common.validation import given, positive_int
from cdl._ir import emit, windows
from cdl.layers import rules
from cdl.layers.arguments import (
    CommonArguments,
    Identifier,
    Lowering,
    Shape,
    Unpack,
    Value,
    Variable,
)
from cdl.layers.calling import is_scripted
from cdl.layers.convolution.base_conv import BaseConv
from cdl.layers.kernel_layer import KernelLayer, weight_property
from cdl.layers.layer import registry
from cdl.layers.lora import LoraWeight
from cdl.layers.plain_weight import PlainWeight


class Conv(KernelLayer, BaseConv):
    """Base of the convolutions.

    Args:
        filters: how many channels the output has.
        groups: into how many runs the channels of the input and of the output fall, of which each
            sees its own alone.
        kernel_initializer: initial values of the kernel, of shape (window..., channels / groups,
            filters).
    """

    _matrix_by_default = True
    kernel = weight_property("kernel", "Kernel; with LoRA the sum with A B, a new array.")
    kernel_initializer: Any
    kernel_regularizer: Any
    kernel_constraint: Any

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Any = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**given(locals(), "filters", "groups", "lora_rank", "lora_alpha"))
        owner = type(self).__name__
        self._keep_schemes(lora_rank, lora_alpha)
        self.filters = positive_int(owner, "filters", filters)
        self.groups = positive_int(owner, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(
                f"{owner}: groups must divide filters, got groups={groups} and filters={filters}"
            )
        self._refuse_gaps_and_strides()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.convolution_op is not Conv.convolution_op and not is_scripted(cls):
            setattr(cls, "call", Conv.call)  # noqa: B010 - mypy takes no assignment to a method

    lower = BaseConv.lower  # beside `call`, which counts for what comes behind it alone

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Convolution of the inputs, by a subclass's `convolution_op` if it has one."""
        if type(self).convolution_op is Conv.convolution_op:
            return super().call(inputs, *args, **kwargs)
        outputs = self.convolution_op(inputs, self.kernel)
        if self.bias is not None:
            first = self.data_format == "channels_first"
            shape = (1, -1, *(1,) * self.rank) if first else (-1,)
            outputs = outputs + ops.reshape(self.bias, shape)
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolution by a kernel, without bias and activation.

        A subclass may have another one, in `cdl.ops`, which its calls then take.

        Args:
            inputs: images, or steps.
            kernel: of the shape of the layer's.
        """
        padding = self.padding
        if padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            steps = (0, 0) if self.data_format == "channels_first" else (before, 0)
            other = (before, 0) if self.data_format == "channels_first" else (0, 0)
            inputs, padding = ops.pad(inputs, [(0, 0), steps, other]), "valid"
        order = (self.data_format, self.dilation_rate)
        return ops.conv(inputs, kernel, list(self.strides), padding, *order)

    def _paddings(self) -> tuple[str, ...]:
        return ("valid", "same", "causal") if self.rank == 1 else ("valid", "same")

    def build(self, input_shape: Shape) -> None:
        """Create kernels and bias for images with that shape's number of channels."""
        super().build(input_shape)
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _add_kernels(self, channels: int) -> int:
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: groups must divide the channels of the "
                f"input, got groups={self.groups} and {channels} channels"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self._hold_scheme(PlainWeight(rules.add(self, "kernel", shape, matrix=True)))
        return self.filters

    def _filters(self, channels: int | None) -> int:
        return self.filters

    def _convolve(self, program: Lowering, x: Value) -> Value:
        def linear(program: Lowering, x: Value, kernel: Variable, bias: Variable | None) -> Value:
            return windows.conv(program, x, kernel, bias, self._window, self.groups)

        weight, groups = self._scheme_of_weight, self.groups
        if groups == 1 or not isinstance(weight, LoraWeight):
            return weight.product(program, x, linear, self.bias)
        width, columns = x.shape[-1] // groups, self.filters // groups

        def by_both(a: Variable, b: Variable) -> Value:
            parts = []
            for g in range(groups):  # each sees its own channels by all of A
                image = emit.pick(program, x, -1, range(g * width, (g + 1) * width))
                by_a = windows.conv(program, image, a, None, self._window)
                own = range(g * columns, (g + 1) * columns)
                factor = emit.pick(program, program.param(b), -1, own)
                parts.append(emit.product(program, by_a, factor))
            return emit.concat(program, parts, -1)

        return weight.product(program, x, linear, self.bias, by_both)


@registry.add("Convolution1D")
class Conv1D(Conv):
    """1D (temporal) convolution: (n, steps, channels) becomes (n, steps, filters).

    Args:
        padding: "valid" or "same", as of `Conv2D`, or "causal": no output sees steps after its own.
    """

    rank = 1


@registry.add("Convolution2D")
class Conv2D(Conv):
    """2D convolution of images: (n, height, width, channels) becomes (n, height, width, filters).

    ``y[i, j] = activation(sum(x[i s + k r, j s + l r] @ kernel[k, l]) + bias)``, over k and l,
    with strides s and dilation r.

    Raises:
        ValueError: an argument with a wrong value, strides together with dilation, or groups that
            do not divide the filters; when built, groups that do not divide the channels, or an
            input that is smaller than the window.

    Examples:
        >>> layer = cdl.layers.Conv2D(8, 3, padding="same", activation="relu")
        >>> layer(np.zeros((1, 28, 28, 1), "float32")).shape
        (1, 28, 28, 8)
    """

    rank = 2


@registry.add("Convolution3D")
class Conv3D(Conv):
    """3D convolution of volumes: (n, a, b, c, channels) becomes (n, a, b, c, filters)."""

    rank = 3


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
