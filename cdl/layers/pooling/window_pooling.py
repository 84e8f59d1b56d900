"""Max and average pooling of each channel over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import one_of, per_axis
from cdl._ir import windows
from cdl._ir.windows import Window, with_channels_last
from cdl.config import standardize_data_format
from cdl.layers.arguments import Lowering, Shape, Value
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry
from cdl.layers.shapes import batch_of, image_of


class WindowPooling(Layer):
    """Base of pooling layers over windows, channel by channel.

    Args:
        pool_size: the size of the window, an int or one for each axis.
        strides: how far apart windows are, likewise; None for `pool_size`.
        padding: "valid": all windows lie within the input; "same": there are size / stride of
            them, rounded up, of which what lies outside the input counts for nothing.
        data_format: "channels_last", or "channels_first" for inputs and outputs of shape (n,
            channels, sizes...), for which the axes are moved; None is the configured one.
    """

    _inner: tuple[str, ...] = ("kind", "places")
    places: int  # axes beside those of the samples and of the channels
    kind: str  # what is taken: a row of the core's reductions

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        owner = type(self).__name__
        self.pool_size = per_axis(owner, "pool_size", pool_size, self.places)
        strides = self.pool_size if strides is None else strides
        self.strides = per_axis(owner, "strides", strides, self.places)
        lower = padding.lower() if isinstance(padding, str) else padding
        self.padding = one_of(owner, "padding", lower, ("valid", "same"))
        self.data_format = standardize_data_format(data_format, owner)
        self.input_spec = InputSpec(ndim=self.places + 2)
        self._build_at_init()

    @property
    def _window(self) -> Window:
        return Window(self.pool_size, self.strides, (1,) * self.places, self.padding)

    def lower(self, program: Lowering, x: Value) -> Value:
        self.compute_output_shape((None, *x.shape))  # refuses images that are too small

        def emit(image: Value) -> Value:
            return windows.pool(program, self.kind, image, self._window)

        return with_channels_last(program, x, self.data_format, emit)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output, in the layer's data format.

        Raises:
            ValueError: the input has another number of axes, or windows that lie within it have
                no place there.
        """
        shape = tuple(input_shape)
        self.check_input(shape)
        image, channels = image_of(shape, self.data_format)
        sizes = self._window.map(image)
        if any(size is not None and size < 1 for size in sizes):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: pool_size must fit into the input, got "
                f"{self.pool_size} with padding {self.padding!r} for an input of shape {shape}"
            )
        return batch_of(shape[0], sizes, channels, self.data_format)


class MaxPooling(WindowPooling):
    """Base of max pooling layers, with windows of 2 by default."""

    kind = "max"

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class AveragePooling(WindowPooling):
    """Base of average pooling layers, of the places that a window sees."""

    kind = "mean"


@registry.add("MaxPool1D")
class MaxPooling1D(MaxPooling):
    """1D max pooling over windows of steps."""

    places = 1


@registry.add("MaxPool2D")
class MaxPooling2D(MaxPooling):
    """2D max pooling over windows of (n, height, width, channels).

    A gradient goes to the first of the numbers of a window that are equal.

    Raises:
        ValueError: an argument with a wrong value; when called, an input that is smaller than the
            window.
    """

    places = 2


@registry.add("MaxPool3D")
class MaxPooling3D(MaxPooling):
    """3D max pooling over windows of three axes."""

    places = 3


@registry.add("AvgPool1D")
class AveragePooling1D(AveragePooling):
    """1D average pooling over windows of steps."""

    places = 1


@registry.add("AvgPool2D")
class AveragePooling2D(AveragePooling):
    """2D average pooling over windows of (n, height, width, channels)."""

    places = 2


@registry.add("AvgPool3D")
class AveragePooling3D(AveragePooling):
    """3D average pooling over windows of three axes."""

    places = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
