"""RandomCrop: a random part of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.lowered_tensor import current_program
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.boxes import in_part, within
from cdl.layers.preprocessing.image.random_image import RandomImage
from cdl.layers.preprocessing.image.resizing import OfSize, part_of
from cdl.ops.image.resizing import resize
from cdl.ops.image.warping import grid, parts_at
from cdl.ops.numpy.rounding import floor
from cdl.ops.numpy.shapes import moveaxis


@registry.add()
class RandomCrop(RandomImage, OfSize):
    """Random crop of images, the same for all of a batch, in training; else the central one.

    Images that are not larger than the part, on both axes, are cut to its shape as far as they go
    and brought to its size (bilinear).
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self._set_size(height, width)

    _needs_draws = False  # without them it is the middle

    def _changes(self, training: bool) -> bool:
        return True

    def draws(self, images: Any) -> Any:
        """Rows and columns before the crop; None for the center."""
        program = current_program()
        left = [n - m for n, m in zip(self._plane(images), (self.height, self.width), strict=True)]
        if (program is not None and not program.is_noisy) or min(left) < 1:
            return None
        share = self._shared(2, 1)
        return floor(share * np.array([[n + 1.0] for n in left], np.float32))

    def _part(self, rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Start of the crop in images that are not larger, and its size."""
        kept = (
            min(rows, int(columns * self.height / self.width)),
            min(columns, int(rows * self.width / self.height)),
        )
        start = (rows - max(kept[0], 1)) // 2, (columns - max(kept[1], 1)) // 2
        return start, (min(self.height, rows - start[0]), min(self.width, columns - start[1]))

    def _fixed(self, images: ArrayLike) -> Any:
        """Central crop of images."""
        rows, columns = self._plane(images)
        if rows >= self.height and columns >= self.width:
            return self._middle(images)
        part = part_of(images, self.data_format, *self._part(rows, columns))
        return resize(part, (self.height, self.width), data_format=self.data_format)

    def transform(self, images: Any, drawn: Any) -> Any:
        if drawn is None:
            return self._fixed(images)
        at = (grid(self.height, self.width)[:2] + drawn)[None]
        channels = 3 if self.data_format == "channels_last" else 1
        last = moveaxis(images, channels, -1)
        return moveaxis(parts_at(last, at, (self.height, self.width)), -1, channels)

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        wanted = self.height, self.width
        if drawn is not None:
            moved = in_part(boxes, np.ravel(drawn), wanted, wanted)
        elif size[0] >= wanted[0] and size[1] >= wanted[1]:
            moved = self._middle_boxes(boxes, size)
        else:
            moved = in_part(boxes, *self._part(*size), wanted)
        return within(moved, labels, *wanted)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self.transform(masks, drawn)
