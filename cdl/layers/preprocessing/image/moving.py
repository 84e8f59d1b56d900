"""Random geometric layers: flip, rotation, translation, zoom, shear, perspective, elastic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import is_real, number, one_of
from cdl._tracing.keras_tensor import SymbolicBatch
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.boxes import around_places, through_places, within
from cdl.layers.preprocessing.image.random_image import (
    RandomImage,
    checked_range,
    checked_values,
    chosen,
)
from cdl.ops.image.warping import displaced_places, grid, homography, moved_places, warped
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import cos, sin
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import concatenate, flip
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.rounding import clip
from cdl.ops.random import random_normal

_MODES = ("horizontal", "vertical", "horizontal_and_vertical")
_FILLS = ("reflect", "wrap", "constant", "nearest")
_KINDS = ("nearest", "bilinear")


@registry.add()
class RandomFlip(RandomImage):
    """Random flip of images, with probability one half, in training.

    With "horizontal_and_vertical" an image is turned over both ways or not at all.

    Args:
        mode: "horizontal" (left becomes right), "vertical" or "horizontal_and_vertical".
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.mode = one_of("RandomFlip", "mode", mode, _MODES)

    def draws(self, images: Any) -> Any:
        """Choice of images to flip."""
        return self._uniform(0.0, 1.0) <= 0.5

    def transform(self, images: Any, drawn: Any) -> Any:
        rows = 1 if self.data_format == "channels_last" else 2
        axes = {"vertical": (rows,), "horizontal": (rows + 1,)}.get(self.mode, (rows, rows + 1))
        return chosen(drawn, flip(images, axes), images)

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        height, width = size
        a, b, c, d = (boxes[..., i] for i in range(4))
        if "horizontal" in self.mode:
            a, c = width - c, width - a
        if "vertical" in self.mode:
            b, d = height - d, height - b
        moved = np.where(np.reshape(drawn, (-1, 1, 1)), np.stack([a, b, c, d], -1), boxes)
        return within(moved, labels, height, width)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self.transform(masks, drawn)


class Moved(RandomImage):
    """Base of layers that resample images at other places.

    Args:
        fill_mode: what stands beyond their borders: "reflect" (the image turned round), "wrap"
            (the image again), "constant" or "nearest" (the last place).
        interpolation: "bilinear", or "nearest".
        fill_value: what stands there with "constant".

    Raises:
        NotImplementedError: another fill mode or interpolation.
    """

    _fills: tuple[str, ...] = _FILLS

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        fill_value: float,
        seed: int | None,
        data_format: str | None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        for name, value, known in (
            ("fill_mode", fill_mode, self._fills),
            ("interpolation", interpolation, _KINDS),
        ):
            if value not in known:
                raise NotImplementedError(
                    f"{type(self).__name__}: {name} must be one of {known}, got {value!r}"
                )
        number(type(self).__name__, "fill_value", fill_value)
        self.fill_mode = fill_mode
        self.interpolation = interpolation
        self.fill_value = fill_value

    def _places(self, height: int, width: int) -> Any:
        """Source places: rows and columns, (n, 2, height * width)."""
        raise NotImplementedError

    def draws(self, images: Any) -> Any:
        """Source of each place of each image."""
        return self._places(*self._plane(images))

    def _warped(self, images: ArrayLike, at: Any, interpolation: str) -> Any:
        name = type(self).__name__
        how = (interpolation, self.fill_mode, self.fill_value)
        return warped(images, at, self.data_format, name, *how)

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._warped(images, drawn, self.interpolation)

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        return within(through_places(boxes, drawn, *size), labels, *size)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        """Class numbers of the nearest places."""
        return self._warped(masks, drawn, "nearest")


@registry.add()
class RandomRotation(Moved):
    """Random rotation of images about their center, in training.

    Args:
        factor: by how much of a whole turn, counter-clockwise: a number f for -f to f, or two.

    Raises:
        NotImplementedError: another fill mode or interpolation.
        ValueError: a factor beyond -1 to 1.
    """

    def __init__(
        self,
        factor: float,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, -1.0, 1.0)

    def _places(self, height: int, width: int) -> Any:
        low, high = (2.0 * math.pi * each for each in self.factor)
        angle = self._uniform(low, high, 1)
        c, s, (x, y) = cos(angle), sin(angle), ((width - 1) / 2, (height - 1) / 2)
        rows = [c, s, y - (s * x + c * y)]
        columns = [-s, c, x - (c * x - s * y)]
        return moved_places(rows, columns, height, width)


@registry.add()
class RandomTranslation(Moved):
    """Random translation of images, down and to the right, in training.

    Args:
        height_factor: how far down, as a part of the height: a number f for -f to f, or two.
        width_factor: how far to the right, likewise.

    Raises:
        NotImplementedError: another fill mode or interpolation.
        ValueError: a factor beyond -1 to 1.
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        limits: Any = {"low": -1.0, "high": 1.0, "strict": True}
        self._down = checked_range(self, "height_factor", height_factor, **limits)
        self._right = checked_range(self, "width_factor", width_factor, **limits)

    def _places(self, height: int, width: int) -> Any:
        down = self._uniform(*self._down, 1, 1) * float(height)
        right = self._uniform(*self._right, 1, 1) * float(width)
        return grid(height, width)[:2] - concatenate([down, right], 1)


@registry.add()
class RandomZoom(Moved):
    """Random zoom of images about their center, in training.

    Args:
        height_factor: by how much more of the image is seen from top to bottom: 0.2 shows a fifth
            more, so all is smaller, -0.2 less. A number f for -f to f, or two.
        width_factor: the same from left to right; None for the number drawn for the height.

    Raises:
        NotImplementedError: another fill mode or interpolation.
        ValueError: a factor of -1 or less, or above 1.
    """

    def __init__(
        self,
        height_factor: float | Sequence[float],
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        limits: Any = {"low": -1.0, "high": 1.0, "strict": True, "above": True}
        self._rows = checked_range(self, "height_factor", height_factor, **limits)
        if width_factor is not None:
            self._columns = checked_range(self, "width_factor", width_factor, **limits)

    def _places(self, height: int, width: int) -> Any:
        zoom = self._uniform(1.0 + self._rows[0], 1.0 + self._rows[1], 1, 1)
        across = zoom
        if self.width_factor is not None:
            across = self._uniform(1.0 + self._columns[0], 1.0 + self._columns[1], 1, 1)
        both = concatenate([zoom, across], 1)
        middle = np.array([[(height - 1) / 2], [(width - 1) / 2]], np.float32)
        return grid(height, width)[:2] * both + middle * (1.0 - both)


@registry.add()
class RandomShear(Moved):
    """Random shear of images, along rows and columns, in training.

    Args:
        x_factor: how far rows are moved for each row down, a number f for -f to f, or two; of
            both factors the sign is changed for half of the images.
        y_factor: how far columns are moved for each column to the right, likewise.

    Raises:
        NotImplementedError: another fill mode or interpolation.
        ValueError: a factor beyond 0 to 1.
    """

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.x_factor = self._both_ways("x_factor", x_factor)
        self.y_factor = self._both_ways("y_factor", y_factor)

    def _both_ways(self, name: str, factor: Any) -> tuple[float, float]:
        if isinstance(factor, (tuple, list)):
            of_number = len(factor) == 2 and is_real(factor[1]) and factor[0] == -factor[1]
            if not of_number:  # as a config has it
                return checked_range(self, name, factor, 0.0, 1.0, strict=True)
            factor = factor[1]
        _, high = checked_range(self, name, factor, 0.0, 1.0)
        return -high, high

    def _places(self, height: int, width: int) -> Any:
        sign = where(self._uniform(0.0, 1.0, 1) > 0.5, -1.0, 1.0)
        x, y = (self._uniform(*each, 1) * sign for each in (self.x_factor, self.y_factor))
        one, zero = x * 0.0 + 1.0, x * 0.0
        return moved_places([one, y, zero], [x, one, zero], height, width)


class _MovedByChance(Moved):
    """Base of layers that move the places of some images only.

    Args:
        factor: how probable that is: the probability is drawn between 0 and a number, or between
            two; (1, 1) means always.
    """

    factor: tuple[float, float]

    def draws(self, images: Any) -> Any:
        """Choice of images to warp, and the source of each place."""
        at = super().draws(images)
        return self._chance(self.factor), at

    def transform(self, images: Any, drawn: Any) -> Any:
        happens, at = drawn
        return chosen(happens, super().transform(images, at), images)

    def _boxes_through(self, boxes: Any, at: Any, height: int, width: int) -> Any:
        """Boxes of all images as if all were moved."""
        return through_places(boxes, at, height, width)

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        happens, at = drawn
        moved = self._boxes_through(boxes, at, *size)
        return within(np.where(np.reshape(happens, (-1, 1, 1)), moved, boxes), labels, *size)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        happens, at = drawn
        return chosen(happens, super().transform_masks(masks, at), masks)


@registry.add()
class RandomPerspective(_MovedByChance):
    """Random perspective of images, by moved corners, in training.

    Args:
        scale: how far corners are moved, from 0 to 1.
        fill_value: what stands beyond the borders.

    Raises:
        NotImplementedError: another interpolation.
        ValueError: a factor or a scale beyond 0 to 1.
    """

    _not_in_config = ("fill_mode",)

    def __init__(
        self,
        factor: float = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__("constant", interpolation, fill_value, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)
        number("RandomPerspective", "scale", scale, 0.0, 1.0)
        self.scale = scale

    def _places(self, height: int, width: int) -> Any:
        start = np.array(
            [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], np.float32
        )
        end = start + self._uniform(-0.5 * self.scale, 0.5 * self.scale, 4, 2) * start
        places = grid(height, width)[[1, 0, 2]]
        at = matmul(homography(start[None] + end * 0.0, end), places)
        columns, rows, depth = (get_item(at, (slice(None), slice(k, k + 1))) for k in range(3))
        return concatenate([rows / depth, columns / depth], 1)


@registry.add()
class RandomElasticTransform(_MovedByChance):
    """Random elastic distortion of images, by smoothed noise, in training.

    Each place is moved by normal noise that a Gaussian has blurred, as in
    `ops.image.elastic_transform`, with ``alpha = 0.1 * s * max(height, width)`` and
    ``sigma = 0.05 * s * min(height, width)``, where s is drawn once a batch.

    Args:
        scale: how far and how smoothly places are moved: a number f for 0 to f, or two.
        fill_mode: what stands beyond their borders: "reflect" (the image turned round), "mirror"
            (the same without the last place), "wrap" (the image again), "constant" or "nearest"
            (the last place).
        value_range: the lowest and the highest number of images; what is beyond is cut.

    Raises:
        NotImplementedError: another fill mode or interpolation.
        ValueError: a factor or a scale beyond 0 to 1, or an invalid range.
    """

    _fills = (*_FILLS, "mirror")

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)
        self.scale = checked_range(self, "scale", scale, 0.0, 1.0)
        self.value_range = checked_values(self, value_range)

    def _changes(self, training: bool) -> bool:
        return training and self.scale[1] > 0 and self.factor[1] > 0

    def _places(self, height: int, width: int) -> Any:
        low, high = self.scale
        scale = self._shared(1) * (high - low) + (low + 1e-6)
        sigma = get_item(scale, 0) * (0.05 * min(height, width))
        shape: tuple[Any, ...] = (SymbolicBatch(), height, width, 2)
        noise = random_normal(shape, seed=self.seed_generator) * sigma
        alpha = scale * (0.1 * max(height, width))
        size = int(0.3 * high * min(height, width)) | 1  # three sigma to both sides
        return displaced_places(noise, alpha, sigma, size)

    def _boxes_through(self, boxes: Any, at: Any, height: int, width: int) -> Any:
        return around_places(boxes, at, height, width)

    def transform(self, images: Any, drawn: Any) -> Any:
        return clip(super().transform(images, drawn), *self.value_range)
