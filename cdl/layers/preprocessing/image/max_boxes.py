"""MaxNumBoundingBoxes: a fixed number of boxes for each image."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.validation import positive_int, whole
from cdl.layers.arguments import LayerArguments, NDArray, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.image_layer import ImageLayer


@registry.add()
class MaxNumBoundingBoxes(ImageLayer):
    """Fixed number of bounding boxes for each image: surplus ones are dropped, missing ones filled.

    It is called on a dict of arrays with "images", whose values do not change, and
    "bounding_boxes", whose "boxes" (n, boxes, 4) and "labels" (n, boxes) become
    (n, max_number, 4) and (n, max_number).

    Args:
        max_number: number of boxes of each image in the result, 1 or more.
        fill_value: an int, for all numbers of missing boxes and their labels.

    Raises:
        ValueError: an invalid number.
    """

    def __init__(
        self, max_number: int, fill_value: int = -1, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.max_number = positive_int("MaxNumBoundingBoxes", "max_number", max_number)
        self.fill_value = whole("MaxNumBoundingBoxes", "fill_value", fill_value)

    def transform(self, images: Any, drawn: Any) -> Any:
        """Images as they were before."""
        return images

    def _finished(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        return y

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        del transformation, training
        given = self._checked_boxes(f"{type(self).__name__} {self.name!r}", bounding_boxes)
        return {**given, **{name: self._filled(name, given[name]) for name in ("boxes", "labels")}}

    def _filled(self, part: str, x: NDArray[Any]) -> NDArray[Any]:
        """The first boxes or labels of each image, then filled ones."""
        try:
            found = np.full((len(x), self.max_number, *x.shape[2:]), self.fill_value, x.dtype)
        except OverflowError:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: bounding_boxes: {part} must have a dtype "
                f"that holds the fill_value {self.fill_value}, got {x.dtype}"
            ) from None
        kept = x[:, : self.max_number]
        found[:, : kept.shape[1]] = kept
        return found

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output: that of the input, but for boxes and their labels."""
        if not isinstance(input_shape, dict) or "bounding_boxes" not in input_shape:
            return super().compute_output_shape(input_shape)
        boxes = {
            name: (shape[0], self.max_number, *shape[2:])
            for name, shape in input_shape["bounding_boxes"].items()
        }
        return {**input_shape, "bounding_boxes": boxes}
