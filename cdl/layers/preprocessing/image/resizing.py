"""Resizing, CenterCrop: images of a given size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import flag, number, one_of, positive_int
from cdl.layers.arguments import LayerArguments, NDArray, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.boxes import in_part, within
from cdl.layers.preprocessing.image.image_layer import ImageLayer
from cdl.ops.image.resizing import KINDS, as_before, resize
from cdl.ops.numpy.indexing import get_item


class OfSize(ImageLayer):
    """Base of layers that output images of one size.

    Args:
        height: of the output.
        width: of the output.
    """

    height: int
    width: int

    def _set_size(self, height: Any, width: Any) -> None:
        owner = type(self).__name__
        self.height = positive_int(owner, "height", height)
        self.width = positive_int(owner, "width", width)

    def _size(self, height: int | None, width: int | None) -> tuple[int | None, int | None]:
        return self.height, self.width

    def _middle_boxes(self, boxes: Any, size: tuple[int, int]) -> Any:
        """Boxes in the central crop, or in the resized part of a smaller image."""
        wanted = self.height, self.width
        part = wanted
        if min(n - m for n, m in zip(size, wanted, strict=True)) < 0:
            part = (
                max(min(size[0], size[1] * self.height // self.width), 1),
                max(min(size[1], size[0] * self.width // self.height), 1),
            )
        start = [(n - m) // 2 for n, m in zip(size, part, strict=True)]
        return in_part(boxes, start, part, wanted)

    def _middle(self, images: ArrayLike) -> Any:
        """Central crop of images that are not smaller."""
        rows, columns = self._plane(images)
        start = (rows - self.height) // 2, (columns - self.width) // 2
        return part_of(images, self.data_format, start, (self.height, self.width))


@registry.add()
class Resizing(OfSize):
    """Resizing of images to a size, in training and outside.

    Whole numbers stay whole where the layer is called on arrays.

    Args:
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: whether the largest part in the middle that has the new shape is
            taken, so that nothing is distorted.
        pad_to_aspect_ratio: whether `fill_value` is put around for that.
        fill_mode: "constant".
        fill_value: what is put around.
        antialias: whether shrinking weighs all that a new place covers.

    Raises:
        ValueError: an invalid size or name, or both ways to keep the shape.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._set_size(height, width)
        self.interpolation = one_of("Resizing", "interpolation", interpolation, KINDS)
        self.crop_to_aspect_ratio = flag("Resizing", "crop_to_aspect_ratio", crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = flag("Resizing", "pad_to_aspect_ratio", pad_to_aspect_ratio)
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ValueError(
                "Resizing: pad_to_aspect_ratio must be False with crop_to_aspect_ratio"
            )
        self.fill_mode = one_of("Resizing", "fill_mode", fill_mode, ("constant",))
        number("Resizing", "fill_value", fill_value)
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def _resized(self, images: ArrayLike, interpolation: str) -> Any:
        return resize(
            images,
            (self.height, self.width),
            interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._resized(images, self.interpolation)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        """Class numbers of the nearest places."""
        return self._resized(masks, "nearest")

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        wanted = self.height, self.width
        ratios = [new / old for new, old in zip(wanted, size, strict=True)]
        if self.pad_to_aspect_ratio or self.crop_to_aspect_ratio:
            ratio = max(ratios) if self.crop_to_aspect_ratio else min(ratios)
            # Whole places of the output are left out or put around, as far as Keras counts them.
            gaps = [abs(new - old * ratio) // 2 for new, old in zip(wanted, size, strict=True)]
            top, left = gaps if self.crop_to_aspect_ratio else (-gap for gap in gaps)
            moved = boxes * ratio - np.array([left, top, left, top], np.float32)
        else:
            moved = in_part(boxes, (0, 0), size, wanted)
        return within(moved, labels, *wanted)

    def _finished(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = as_before(y, x)
        return found


@registry.add()
class CenterCrop(OfSize):
    """Central crop of images, in training and outside.

    Of images that are smaller, along either axis, the largest part in the middle that has the
    output's shape, in the output's size (bilinear).
    """

    def __init__(
        self,
        height: int,
        width: int,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._set_size(height, width)

    def transform(self, images: Any, drawn: Any) -> Any:
        rows, columns = self._plane(images)
        if rows < self.height or columns < self.width:
            return resize(
                images,
                (self.height, self.width),
                crop_to_aspect_ratio=True,
                data_format=self.data_format,
            )
        return self._middle(images)

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        return within(self._middle_boxes(boxes, size), labels, self.height, self.width)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self.transform(masks, drawn)


def part_of(
    images: ArrayLike, data_format: str, start: tuple[int, int], size: tuple[int, int]
) -> Any:
    """Part of a batch of images, from a place on."""
    places = [slice(first, first + n) for first, n in zip(start, size, strict=True)]
    every = slice(None)
    last = data_format == "channels_last"
    return get_item(images, (every, *places, every) if last else (every, every, *places))
