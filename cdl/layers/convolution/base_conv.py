"""BaseConv: common parts of all convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import activations
from cdl._common.validation import flag, one_of, per_axis
from cdl._ir.windows import Window, with_channels_last
from cdl.config import standardize_data_format
from cdl.layers import rules
from cdl.layers.activated import Activated
from cdl.layers.arguments import Identifier, Lowering, Shape, Value, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer
from cdl.layers.shapes import batch_of, image_of


class BaseConv(Layer):
    """Base of convolutions over `rank` axes of an image, with bias and activation.

    It takes initializers, regularizers and constraints of `_ruled_weights` by their names.

    Args:
        kernel_size: the size of the window, an int or one for each axis.
        strides: how far apart the windows of neighbouring outputs are, likewise.
        padding: "valid": all windows lie within the input; "same": there are size / stride of
            them, rounded up, and zeros around the input, one more behind it where they are odd.
        data_format: "channels_last", or "channels_first" for inputs and outputs of shape (n,
            channels, sizes...), for which the axes are moved; None is the configured one.
        dilation_rate: how far apart the numbers are that a window sees, as `strides`.
        activation: a name, one of `cdl.activations`, or None for none.
        use_bias: whether a bias is added.
        bias_initializer: initial values of the bias, a number for each channel of the output.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel must be after each update.
        bias_constraint: what the bias must be after each update.
    """

    activation = Activated()
    _ruled_weights: tuple[str, ...] = ("kernel", "bias")
    rank: int  # of the images, without the axes of samples and channels
    bias: Variable | None
    bias_initializer: Any
    bias_regularizer: Any
    bias_constraint: Any

    def __init__(
        self,
        *,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int],
        padding: str,
        data_format: str | None,
        dilation_rate: int | Sequence[int],
        activation: Identifier,
        use_bias: bool,
        activity_regularizer: Identifier,
        **kwargs: Any,
    ) -> None:
        ruled = {name: kwargs.pop(name) for name in rules.names(*self._ruled_weights)}
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        rules.keep(self, **ruled)
        owner = type(self).__name__
        self.kernel_size = per_axis(owner, "kernel_size", kernel_size, self.rank)
        self.strides = per_axis(owner, "strides", strides, self.rank)
        self.dilation_rate = per_axis(owner, "dilation_rate", dilation_rate, self.rank)
        self.padding = self._checked_padding(padding)
        self.data_format = standardize_data_format(data_format, owner)
        self.activation = activations.compiled(owner, activation)
        self.use_bias = flag(owner, "use_bias", use_bias)
        self.input_spec = InputSpec(min_ndim=self.rank + 2)

    def _checked_padding(self, padding: str) -> str:
        lower = padding.lower() if isinstance(padding, str) else padding
        one_of(type(self).__name__, "padding", lower, self._paddings())
        return str(lower)

    def _paddings(self) -> tuple[str, ...]:
        return ("valid", "same")

    def _refuse_gaps_and_strides(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__}: strides must be 1 if dilation_rate is not, got "
                f"strides={self.strides} and dilation_rate={self.dilation_rate}"
            )

    def build(self, input_shape: Shape) -> None:
        """Create kernels and bias for images with that shape's number of channels.

        Raises:
            ValueError: the number of channels is not known or does not fit, or the images are
                smaller than the window.
        """
        _, channels = image_of(tuple(input_shape), self.data_format)
        if channels is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the channels must have a size that is "
                f"known, got input shape {tuple(input_shape)}"
            )
        self.compute_output_shape(input_shape)
        filters = self._add_kernels(channels)
        self.bias = None
        if self.use_bias:
            self.bias = rules.add(self, "bias", (filters,))
        axis = -1 if self.data_format == "channels_last" else 1
        self.input_spec = InputSpec(min_ndim=self.rank + 2, axes={axis: channels})
        super().build(input_shape)

    def _add_kernels(self, channels: int) -> int:
        """Create kernels for a number of input channels; returns the number of output channels."""
        raise NotImplementedError

    def _filters(self, channels: int | None) -> int | None:
        """Number of channels of the output."""
        raise NotImplementedError

    @property
    def _window(self) -> Window:
        return Window(self.kernel_size, self.strides, self.dilation_rate, self.padding)

    def _sizes(self, sizes: Shape) -> Shape:
        """Sizes of the output for those of an image."""
        return self._window.map(sizes)

    def check_input(self, shape: Shape) -> None:
        """Refuse an input that has another number of axes, or of channels than the kernels."""
        if len(shape) != self.rank + 2:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the input must have {self.rank + 2} axes, "
                f"got shape {shape}"
            )
        super().check_input(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, in the layer's data format.

        Raises:
            ValueError: the input has another number of axes, or windows that lie within it have
                no place there.
        """
        shape = tuple(input_shape)
        self.check_input(shape)
        image, channels = image_of(shape, self.data_format)
        sizes = self._sizes(image)
        if any(size is not None and size < 1 for size in sizes):
            raise self._unfit(shape)
        output = batch_of(shape[0], sizes, self._filters(channels), self.data_format)
        changed = getattr(self.activation, "output_shape", None)
        return changed(output) if changed is not None else output

    def _unfit(self, shape: Shape) -> ValueError:
        return ValueError(
            f"{type(self).__name__} {self.name!r}: kernel_size must fit into the input, got "
            f"{self.kernel_size} with dilation_rate {self.dilation_rate} and padding "
            f"{self.padding!r} for an input of shape {shape}"
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **rules.config(self, "activity_regularizer")}

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the convolution with the bias, then the activation."""
        activation = self.activation
        at_once = getattr(activation, "by_element", activation is None)

        def emit(image: Value) -> Value:
            y = self._convolve(program, image)
            return activation.lower(program, y) if at_once and activation is not None else y

        self.compute_output_shape((None, *x.shape))  # refuses images that are too small
        y = with_channels_last(program, x, self.data_format, emit)
        return y if at_once else activation.lower(program, y)

    def _convolve(self, program: Lowering, x: Value) -> Value:
        """Append the convolution of an image with channels last."""
        raise NotImplementedError
