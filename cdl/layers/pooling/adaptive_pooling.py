"""Adaptive pooling: windows that divide the input into a given number of places."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.validation import per_axis
from cdl._ir import windows
from cdl._ir.windows import with_channels_last
from cdl.config import standardize_data_format
from cdl.layers.arguments import LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry
from cdl.layers.shapes import batch_of, image_of


class AdaptivePooling(Layer):
    """Base of adaptive pooling layers, with windows sized to fit the output.

    Args:
        output_size: how many windows there are along an axis, an int or one for each axis.
        data_format: "channels_last", or "channels_first" for inputs and outputs of shape (n,
            channels, sizes...), for which the axes are moved; None is the configured one.

    Raises:
        TypeError: an `output_size` that is neither an int nor a tuple.
        ValueError: one with another number of sizes, or with one below 1.
    """

    _inner: tuple[str, ...] = ("kind", "places")
    places: int  # axes beside those of the samples and of the channels
    kind: str  # what is taken: a row of the core's reductions

    def __init__(
        self, output_size: Any, data_format: str | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        several = isinstance(output_size, (tuple, list))
        one = isinstance(output_size, (int, np.integer)) and not isinstance(output_size, bool)
        if not (one or (several and (self.places == 1 or len(output_size) == self.places))):
            what = "an int" if self.places == 1 else f"an int or {self.places} of them"
            raise TypeError(f"{owner}: output_size must be {what}, got {output_size!r}")
        self.output_size = per_axis(owner, "output_size", output_size, self.places)
        self.data_format = standardize_data_format(data_format, owner)
        self.input_spec = InputSpec(ndim=self.places + 2)
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        def emit(image: Value) -> Value:
            return windows.adaptive_pool(program, self.kind, image, self.output_size)

        return with_channels_last(program, x, self.data_format, emit)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output, in the layer's data format."""
        shape = tuple(input_shape)
        self.check_input(shape)
        _, channels = image_of(shape, self.data_format)
        return batch_of(shape[0], self.output_size, channels, self.data_format)


class AdaptiveAveragePooling(AdaptivePooling):
    """Base of adaptive average pooling."""

    kind = "mean"


class AdaptiveMaxPooling(AdaptivePooling):
    """Base of adaptive max pooling."""

    kind = "max"


@registry.add()
class AdaptiveAveragePooling1D(AdaptiveAveragePooling):
    """1D adaptive average pooling over steps; see `AdaptiveAveragePooling2D`."""

    places = 1


@registry.add()
class AdaptiveAveragePooling2D(AdaptiveAveragePooling):
    """2D adaptive average pooling of (n, height, width, channels) to a given size.

    Window i of m along an axis of n places begins with place floor(i n / m) and ends before place
    ceil((i + 1) n / m): windows may overlap, and differ by one in size.

    Raises:
        TypeError: an `output_size` that is neither an int nor two of them.
        ValueError: one with a size below 1.
    """

    places = 2


@registry.add()
class AdaptiveAveragePooling3D(AdaptiveAveragePooling):
    """3D adaptive average pooling over three axes; see `AdaptiveAveragePooling2D`."""

    places = 3


@registry.add()
class AdaptiveMaxPooling1D(AdaptiveMaxPooling):
    """1D adaptive max pooling over steps; see `AdaptiveAveragePooling2D`."""

    places = 1


@registry.add()
class AdaptiveMaxPooling2D(AdaptiveMaxPooling):
    """2D adaptive max pooling over planes; see `AdaptiveAveragePooling2D`."""

    places = 2


@registry.add()
class AdaptiveMaxPooling3D(AdaptiveMaxPooling):
    """3D adaptive max pooling over three axes; see `AdaptiveAveragePooling2D`."""

    places = 3
