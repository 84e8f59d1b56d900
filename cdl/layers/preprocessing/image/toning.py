"""Tone layers: sharpness, posterization, solarization, contrast, blur, erasing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.validation import expected, is_real, per_axis
from cdl._tracing.keras_tensor import SymbolicBatch
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.coloring import Colored, ColoredByFactor
from cdl.layers.preprocessing.image.image_layer import ImageLayer
from cdl.layers.preprocessing.image.random_image import (
    RandomImage,
    checked_range,
    checked_values,
    chosen,
    scaled,
)
from cdl.layers.shapes import image_of
from cdl.ops.image.filters import blurred
from cdl.ops.image.planes import plane_of
from cdl.ops.nn.convolution import depthwise_conv
from cdl.ops.numpy.arithmetic import sqrt
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import exp2
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.reductions import min as smallest
from cdl.ops.numpy.rounding import clip, floor
from cdl.ops.numpy.rounding import round as to_whole
from cdl.ops.random import random_normal


@registry.add()
class RandomSharpness(ColoredByFactor):
    """Random sharpening or blurring of images, in training.

    Args:
        factor: 0 for the smooth version, 0.5 for no change, 1 for as far beyond; two numbers, or
            one, f, for 0 to f.
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    _factor_bounds = (0.0, 1.0)

    def transform(self, images: Any, drawn: Any) -> Any:
        _, channels = image_of(tuple(images.shape), self.data_format)
        window = np.full((3, 3, 1, 1), 1.0 / 13.0, np.float32)
        window[1, 1] = 5.0 / 13.0
        assert channels is not None
        kernel = np.repeat(window, channels, 2)
        smooth = depthwise_conv(images, kernel, 1, "same", self.data_format)
        return self._within(images + (1.0 - drawn * 2.0) * (smooth - images))


@registry.add()
class RandomPosterization(ColoredByFactor):
    """Random posterization: only the first of each number's eight bits are kept, in training.

    Args:
        factor: how many bits: a number f for 1 to f, or two; the higher one is drawn only where
            both are equal.

    Raises:
        ValueError: a factor beyond 1 to 8, or an invalid range.
    """

    _factor_bounds = (1.0, 8.0)

    def draws(self, images: Any) -> Any:
        """Number of kept bits of each image."""
        low, high = self.factor
        return floor(self._uniform(low, high)) if low != high else self._uniform(low, low)

    def transform(self, images: Any, drawn: Any) -> Any:
        step = to_whole(exp2(8.0 - drawn))
        bytes_ = floor(scaled(images, self.value_range, (0, 255)))
        return scaled(floor(bytes_ / step) * step, (0, 255), self.value_range)


@registry.add()
class Solarization(RandomImage):
    """Solarization: numbers above a threshold are inverted, in training.

    Args:
        addition_factor: what is added first, as a part of the range of values: a number f for 0 to
            f, or two.
        threshold_factor: the threshold, likewise.
        value_range: the lowest and the highest number of images.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, **kwargs)
        limits: Any = {"low": 0.0, "high": 1.0, "least": 0, "strict": True}
        self.addition_factor = checked_range(self, "addition_factor", addition_factor, **limits)
        self.threshold_factor = checked_range(self, "threshold_factor", threshold_factor, **limits)
        self.value_range = list(checked_values(self, value_range))

    def draws(self, images: Any) -> Any:
        """Addition to each image, and its threshold: from `low` to ``255 * high`` each."""
        both = (self.addition_factor, self.threshold_factor)
        return [self._uniform(low, high * 255.0) for low, high in both]

    def transform(self, images: Any, drawn: Any) -> Any:
        addition, threshold = drawn
        found = clip(scaled(images, self.value_range, (0, 255)) + addition, 0.0, 255.0)
        found = where(found < threshold, found, 255.0 - found)
        return scaled(found, (0, 255), self.value_range)


@registry.add()
class AutoContrast(ImageLayer):
    """Contrast stretching of images, by channel, to the whole range; in training and outside.

    Args:
        value_range: the lowest and the highest number of images.

    Raises:
        ValueError: an invalid range.
    """

    def __init__(
        self, value_range: float | Sequence[float] = (0, 255), **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.value_range = list(checked_values(self, value_range))

    def transform(self, images: Any, drawn: Any) -> Any:
        """Images stretched; a channel of one number stays."""
        x = scaled(images, self.value_range, (0, 255))
        low = smallest(x, (1, 2), keepdims=True)
        spread = largest(x, (1, 2), keepdims=True) - low
        factor = 255.0 / where(spread > 0.0, spread, 1.0)
        found = scaled(clip(x * factor - low * factor, 0.0, 255.0), (0, 255), self.value_range)
        return where(spread > 0.0, found, images)


@registry.add()
class RandomGaussianBlur(Colored):
    """Random Gaussian blur of images, of widths shared by a batch, in training.

    Args:
        factor: how probable that is: the probability is drawn between 0 and a number, or between
            two; (1, 1) means always.
        kernel_size: of the window, across and down: an odd number, or two.
        sigma: width of the Gaussian: a number s for 0 to s, or two.
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        ValueError: a factor or a sigma beyond 0 to 1, or a size that is not odd.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)
        sizes = per_axis("RandomGaussianBlur", "kernel_size", kernel_size, 2)
        if not all(size % 2 for size in sizes):
            raise expected("RandomGaussianBlur", "kernel_size", "odd", kernel_size)
        self.kernel_size = sizes
        self.sigma = checked_range(self, "sigma", sigma, 0.0, 1.0)

    def draws(self, images: Any) -> Any:
        """Choice of images to blur, and the widths."""
        low, high = self.sigma
        return self._chance(self.factor), self._shared(2) * (high - low) + (low + 1e-6)

    def transform(self, images: Any, drawn: Any) -> Any:
        happens, sigma = drawn
        plane = plane_of("RandomGaussianBlur", images, self.data_format)
        across, down = get_item(sigma, 0), get_item(sigma, 1)
        columns, rows = self.kernel_size
        found = blurred(images, plane, (rows, columns), (down, across), "same")
        return self._within(chosen(happens, found, images))


@registry.add()
class RandomErasing(Colored):
    """Random erasing of a rectangle of images, in training.

    Args:
        factor: how probable that is: the probability is drawn between 0 and a number, or between
            two; (1, 1) means always.
        scale: how large the rectangle is: each side is the root of a number between these, as a
            part of the image's side.
        fill_value: what is there then: a number, or three; None for normal noise.

    Raises:
        ValueError: a factor or a scale beyond 0 to 1, or an invalid fill.
    """

    def __init__(
        self,
        factor: float = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: float | Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)
        self.scale = checked_range(self, "scale", scale, 0.0, 1.0)
        several = fill_value if isinstance(fill_value, (tuple, list)) else [fill_value] * 3
        if fill_value is not None and not (len(several) == 3 and all(map(is_real, several))):
            raise ValueError(
                f"RandomErasing: fill_value must be a number, three or None, got {fill_value!r}"
            )
        self.fill_value = fill_value

    def draws(self, images: Any) -> Any:
        """Places to erase, and their fill."""
        first = 1 if self.data_format == "channels_last" else 2
        erased: Any = self._chance(self.factor)
        for axis, n in enumerate(self._plane(images), first):
            length = sqrt(self._uniform(*self.scale)) * float(n)
            start = self._uniform(0.0, 1.0) * (float(n) - length)
            shape = [1, 1, 1, 1]
            shape[axis] = n
            places = np.arange(n, dtype=np.float32).reshape(shape)
            inside = where(places >= start, 1.0, 0.0) * where(places < start + length, 1.0, 0.0)
            erased = where(erased, inside, 0.0)
        return erased, self._filling(images)

    def _filling(self, images: Any) -> Any:
        if self.fill_value is None:
            shape = (SymbolicBatch(), *images.shape[1:])
            noise = random_normal(shape, seed=self.seed_generator)
            return self._within(noise * float(self._values[1]))
        given = np.asarray(self.fill_value, np.float32).reshape(-1)
        if self.data_format == "channels_first" and len(given) > 1:
            given = given[:, None, None]
        return np.clip(given, self._values[0], self._values[1]).astype(np.float32)

    def transform(self, images: Any, drawn: Any) -> Any:
        erased, filling = drawn
        return chosen(erased > 0.5, filling, images)
