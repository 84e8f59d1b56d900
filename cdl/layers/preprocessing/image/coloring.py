"""Random color layers: brightness, contrast, saturation, hue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.validation import number
from cdl.config import epsilon
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.random_image import (
    RandomImage,
    checked_range,
    checked_values,
    chosen,
    scaled,
)
from cdl.ops.image.colors import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import concatenate
from cdl.ops.numpy.reductions import mean
from cdl.ops.numpy.rounding import clip
from cdl.random import SeedGenerator


class Colored(RandomImage):
    """Base of color layers with a number per image, drawn from `factor`.

    Args:
        value_range: the lowest and the highest number of images.
    """

    factor: Any
    value_range: Any

    def __init__(
        self,
        value_range: float | Sequence[float],
        seed: int | None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self._values = checked_values(self, value_range)
        self.value_range = value_range

    def draws(self, images: Any) -> Any:
        """Random number of each image."""
        return self._uniform(*self.factor)

    def _within(self, images: ArrayLike) -> Any:
        """Images clipped to their range."""
        return clip(images, float(self._values[0]), float(self._values[1]))

    def _channels(self, images: Any) -> tuple[int, list[Any]]:
        """Axis of the channels, and these one by one."""
        axis = 3 if self.data_format == "channels_last" else 1
        found = []
        for channel in range(3):
            key = [slice(None)] * 4
            key[axis] = slice(channel, channel + 1)
            found.append(get_item(images, tuple(key)))
        return axis, found


class ColoredByFactor(Colored):
    """Base of color layers whose first argument is a factor within `_factor_bounds`."""

    _factor_bounds = (-1.0, 1.0)

    def __init__(
        self,
        factor: float,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, *self._factor_bounds)
        self.value_range = list(self._values)


@registry.add()
class RandomBrightness(Colored):
    """Random brightness of images, in training.

    Args:
        factor: what is added, as a part of the range of values: a number f for -f to f, or two.
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        ValueError: a factor beyond -1 to 1, or an invalid range.
    """

    def __init__(
        self,
        factor: float,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor = checked_range(self, "factor", factor, -1.0, 1.0)
        self.value_range = list(self._values)

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._within(images + drawn * float(self._values[1] - self._values[0]))


@registry.add()
class RandomContrast(Colored):
    """Random contrast of images, ``(x - mean) * q + mean`` by channel, in training.

    Args:
        factor: of a pair (a, b), q is drawn between 1 - a and 1 + b; a number f means (0, f), so
            that contrast only grows.
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    def __init__(
        self,
        factor: float,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)

    def draws(self, images: Any) -> Any:
        """Contrast factor of each image."""
        return self._uniform(1.0 - self.factor[0], 1.0 + self.factor[1])

    def transform(self, images: Any, drawn: Any) -> Any:
        places = (1, 2) if self.data_format == "channels_last" else (2, 3)
        middle = mean(images, places, keepdims=True)
        return self._within((images - middle) * drawn + middle)


@registry.add()
class RandomSaturation(ColoredByFactor):
    """Random saturation of images, times ``u / (1 - u)``, in training.

    Args:
        factor: u: 0 for grey, 0.5 for no change, towards 1 for stronger; two numbers, or one, f,
            for -f to f, where what is below 0 counts as 0.

    Raises:
        ValueError: a factor beyond -1 to 1, or an invalid range.
    """

    def transform(self, images: Any, drawn: Any) -> Any:
        times = drawn / (1.0 - drawn + epsilon())
        axis, (hue, saturation, value) = self._channels(rgb_to_hsv(images, self.data_format))
        saturation = self._within(saturation * times)
        return hsv_to_rgb(concatenate([hue, saturation, value], axis), self.data_format)


@registry.add()
class RandomHue(Colored):
    """Random hue of images, shifted by up to half of the color circle, in training.

    Args:
        factor: how far, as a part of half of the circle, one way or the other: two numbers, or one,
            f, for 0 to f.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    def __init__(
        self,
        factor: float,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)

    def draws(self, images: Any) -> Any:
        """Hue shift of each image."""
        way = where(self._uniform(0.0, 1.0) > 0.5, -0.5, 0.5)
        return way * self._uniform(*self.factor)

    def transform(self, images: Any, drawn: Any) -> Any:
        images = scaled(images, self.value_range, (0, 1))
        axis, (hue, saturation, value) = self._channels(rgb_to_hsv(images, self.data_format))
        hue = hue + drawn
        hue = where(hue > 1.0, hue - 1.0, hue)
        hue = where(hue < 0.0, hue + 1.0, hue)
        found = hsv_to_rgb(concatenate([hue, saturation, value], axis), self.data_format)
        return scaled(clip(found, 0.0, 1.0), (0, 1), self.value_range)


@registry.add()
class RandomGrayscale(RandomImage):
    """Random grayscale of images, still of three channels, in training.

    Args:
        factor: how probable that is for an image, from 0 to 1.

    Raises:
        ValueError: a factor beyond 0 to 1.
    """

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        number("RandomGrayscale", "factor", factor, 0.0, 1.0)
        self.factor = factor

    def draws(self, images: Any) -> Any:
        """Choice of images to convert."""
        return self._uniform(0.0, 1.0) < float(self.factor)

    def transform(self, images: Any, drawn: Any) -> Any:
        return chosen(drawn, rgb_to_grayscale(images, self.data_format), images)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; as in Keras without a seed, unless one was given."""
        config = {**super().get_config(), "factor": self.factor}
        if self.seed is None:
            del config["seed"]
        return config


@registry.add()
class RandomInvert(Colored):
    """Random inversion of colors, the highest value less each number, in training.

    Args:
        factor: how probable that is: the probability is drawn between 0 and a number, or between
            two; (1, 1) means always.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    def __init__(
        self,
        factor: float = 1.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)

    def draws(self, images: Any) -> Any:
        """Choice of images to invert."""
        return self._chance(self.factor)

    def transform(self, images: Any, drawn: Any) -> Any:
        return chosen(drawn, float(self.value_range[1]) - images, images)


@registry.add()
class RandomColorDegeneration(ColoredByFactor):
    """Random blend of images with their grayscale, in training.

    Args:
        factor: how far: 0 for no change, 1 for grey; two numbers, or one, f, for -f to f.
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        ValueError: a factor beyond -1 to 1, or an invalid range.
    """

    def transform(self, images: Any, drawn: Any) -> Any:
        grey = rgb_to_grayscale(images, self.data_format)
        return self._within(images + drawn * (grey - images))


@registry.add()
class RandomColorJitter(RandomImage):
    """Random brightness, contrast, saturation and hue, in this order, in training.

    Args:
        value_range: the lowest and the highest number of images.
        brightness_factor: as of `RandomBrightness`; None for no change.
        contrast_factor: as of `RandomContrast`.
        saturation_factor: as of `RandomSaturation`.
        hue_factor: as of `RandomHue`.
    """

    def __init__(
        self,
        value_range: float | Sequence[float] = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        checked_values(self, value_range)
        self.value_range = value_range
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        each: Any = (
            (RandomBrightness, brightness_factor),
            (RandomContrast, contrast_factor),
            (RandomSaturation, saturation_factor),
            (RandomHue, hue_factor),
        )
        self._steps: list[Any] = [
            cls(factor, value_range=value_range, seed=seed, data_format=self.data_format)
            for cls, factor in each
            if factor is not None
        ]
        for step in self._steps:
            step.seed_generator = self.seed_generator  # one after the other draws from it

    def _drawing_from(self, generator: SeedGenerator) -> Any:
        view = super()._drawing_from(generator)
        vars(view)["_steps"] = [step._drawing_from(generator) for step in self._steps]
        return view

    def draws(self, images: Any) -> Any:
        return [step.draws(images) for step in self._steps]

    def transform(self, images: Any, drawn: Any) -> Any:
        for step, numbers in zip(self._steps, drawn, strict=True):
            images = step.transform(images, numbers)
        return images
