"""UpSampling1D, UpSampling2D, UpSampling3D: repeated places of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.validation import expected, is_int, one_of, per_axis
from cdl._ir import resizing
from cdl._ir.windows import with_channels_last
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.reshaping.places import Places


class UpSampling(Places):
    """Base of upsampling layers, which repeat each place along its axes."""

    _times: tuple[int, ...]

    @property
    def size(self) -> Any:
        """Number of repetitions of each place, for each axis."""
        return self._times

    def _size(self, axis: int, n: int) -> int:
        return n * self._times[axis]

    def _taken(self, axis: int, n: int) -> list[int]:
        return [place for place in range(n) for _ in range(self._times[axis])]


@registry.add()
class UpSampling1D(UpSampling):
    """1D upsampling: each step of (n, steps, channels) repeated.

    Args:
        size: how often.

    Raises:
        TypeError: `size` is no int.
        ValueError: it is below 1.
    """

    places = 1
    _not_in_config = ("data_format",)

    def __init__(self, size: int = 2, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__("channels_last", **kwargs)
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"UpSampling1D: size must be a positive int, got {size!r}")
        if not is_int(size, 1):
            raise expected("UpSampling1D", "size", "a positive int", size)
        self._times = (int(size),)

    @property
    def size(self) -> int:
        """Number of repetitions of each step."""
        return self._times[0]


@registry.add()
class UpSampling2D(UpSampling):
    """2D upsampling of (n, height, width, channels) by `size`, repeated or interpolated.

    Args:
        size: how many times as many, an int or two.
        interpolation: what stands at the new places: "nearest" repeats, "bilinear", "bicubic",
            "lanczos3" and "lanczos5" weigh the places around.
    """

    places = 2

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._times = per_axis("UpSampling2D", "size", size, 2)
        lower = interpolation.lower() if isinstance(interpolation, str) else interpolation
        kinds = ("nearest", *resizing.KERNELS)
        self.interpolation = one_of("UpSampling2D", "interpolation", lower, kinds)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the repetition of places, or the interpolation."""
        if self.interpolation == "nearest":
            return super().lower(program, x)

        def emit(image: Value) -> Value:
            sizes = [n * times for n, times in zip(image.shape, self._times, strict=False)]
            return resizing.resize(program, image, sizes, self.interpolation)

        return with_channels_last(program, x, self.data_format, emit)


@registry.add()
class UpSampling3D(UpSampling):
    """3D upsampling: each place of (n, a, b, c, channels) repeated along each axis.

    Args:
        size: how often, an int or three.
    """

    places = 3

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2, 2),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._times = per_axis("UpSampling3D", "size", size, 3)
