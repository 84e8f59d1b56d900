"""Global pooling: the mean or maximum of each channel over all places."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from cdl._common.validation import flag
from cdl._tracing.graph import operator_of
from cdl.config import standardize_data_format
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry


class GlobalPooling(Layer):
    """Base of global pooling layers, over `places` axes of a sample.

    Args:
        data_format: "channels_last" for inputs of shape (n, ..., channels), "channels_first" for
            (n, channels, ...); None is the configured one.
        keepdims: whether the reduced axes stay, with size 1: (n, 1, channels) for (n, channels).
    """

    _inner: tuple[str, ...] = ("kind", "places")
    places: int  # axes beside those of the samples and of the channels
    kind: str  # what is taken over them: a function of cdl.ops

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.data_format = standardize_data_format(data_format, owner)
        self.keepdims = flag(owner, "keepdims", keepdims)
        self.input_spec = InputSpec(ndim=self.places + 2)
        self._build_at_init()

    def _axes(self) -> list[int]:
        first = 1 if self.data_format == "channels_last" else 2
        return list(range(first, first + self.places))

    def call(self, inputs: ArrayLike) -> Any:
        """The reduction over all places."""
        return operator_of(self.kind)(inputs, axis=self._axes(), keepdims=self.keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, channels), with `keepdims` with a 1 for each axis of places."""
        axes = self._axes()
        if self.keepdims:
            return tuple(1 if axis in axes else n for axis, n in enumerate(input_shape))
        return tuple(n for axis, n in enumerate(input_shape) if axis not in axes)


@registry.add("GlobalAvgPool1D")
class GlobalAveragePooling1D(GlobalPooling):
    """1D global average pooling: (n, steps, channels) becomes (n, channels).

    With a mask it is the mean over the steps that count, 0 where none does; the result has no
    mask.
    """

    places, kind = 1, "mean"

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Mean over the steps for which `mask`, of shape (n, steps), is true."""
        if mask is None:
            return super().call(inputs)
        where, total, cast, most = map(operator_of, ("where", "sum", "cast", "maximum"))
        channels = 2 if self.data_format == "channels_last" else 1
        counts = cast(operator_of("expand_dims")(mask, channels), "bool")
        over = {"axis": self._axes(), "keepdims": self.keepdims}
        number = total(cast(counts, "float32"), **over)
        shown = where(counts, cast(inputs, "float32"), 0.0)
        return cast(total(shown, **over) / most(number, 1.0), inputs.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: no steps are left."""


@registry.add("GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalPooling):
    """2D global average pooling: (n, height, width, channels) becomes (n, channels)."""

    places, kind = 2, "mean"


@registry.add("GlobalAvgPool3D")
class GlobalAveragePooling3D(GlobalPooling):
    """3D global average pooling: (n, a, b, c, channels) becomes (n, channels)."""

    places, kind = 3, "mean"


@registry.add("GlobalMaxPool1D")
class GlobalMaxPooling1D(GlobalPooling):
    """1D global max pooling: (n, steps, channels) becomes (n, channels).

    A mask is not looked at, and ends here with a warning, as in Keras.
    """

    places, kind = 1, "max"


@registry.add("GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalPooling):
    """2D global max pooling: (n, height, width, channels) becomes (n, channels)."""

    places, kind = 2, "max"


@registry.add("GlobalMaxPool3D")
class GlobalMaxPooling3D(GlobalPooling):
    """3D global max pooling: (n, a, b, c, channels) becomes (n, channels)."""

    places, kind = 3, "max"


GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
