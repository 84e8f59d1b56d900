"""Bounding boxes that move with images: "xyxy", in pixels, (n, boxes, 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl.ops.image.warping import homography
from cdl.utils.bounding_boxes import crop


def within(boxes: Any, labels: Any, height: int, width: int) -> tuple[Any, Any]:
    """Boxes clipped to their images; the label of one without area becomes -1."""
    cut = crop(boxes, 0, 0, height, width)
    there = (cut[..., 2] > cut[..., 0]) & (cut[..., 3] > cut[..., 1])
    labels = np.asarray(labels)
    if labels.shape[: there.ndim] == there.shape:
        there = there.reshape(*there.shape, *(1,) * (labels.ndim - there.ndim))
    return cut, np.where(there, labels, np.array(-1, labels.dtype))


def in_part(boxes: Any, start: Any, size: tuple[float, float], to: tuple[int, int]) -> Any:
    """Boxes in a crop of their images, resized.

    Args:
        boxes: of the whole images.
        start: the first row and column of the part.
        size: of the part.
        to: height and width that it gets.
    """
    rows, columns = (new / old for new, old in zip(to, size, strict=True))
    top, left = start
    scale, offset = [columns, rows, columns, rows], [left, top, left, top]
    return (boxes - np.array(offset, np.float32)) * np.array(scale, np.float32)


def through_places(boxes: Any, at: Any, height: int, width: int) -> Any:
    """Bounding boxes of boxes in warped images.

    Args:
        boxes: of the images before.
        at: from where each place is taken, by a projective map: rows and columns (n, 2, h * w).
        height: of the images.
        width: of the images.

    Raises:
        ValueError: images of a single row or column, whose map is not known.
    """
    if min(height, width) < 2:
        raise ValueError(f"images with boxes must have 2 rows and columns, got {height, width}")
    ends = np.array([0, width - 1, (height - 1) * width, height * width - 1])
    rows, columns = np.moveaxis(np.asarray(at, np.float64)[..., ends], 1, 0)
    matrix = homography(np.stack([ends % width, ends // width], -1), np.stack([columns, rows], -1))
    a, b, c, d = (np.asarray(boxes, np.float64)[..., i] for i in range(4))
    corners = np.stack([[a, b], [c, b], [a, d], [c, d]]).transpose(2, 3, 1, 0)  # n, boxes, 2, 4
    full = np.concatenate([corners, np.ones_like(corners[:, :, :1])], 2)
    moved = matrix[:, None] @ full
    x, y = moved[:, :, 0] / moved[:, :, 2], moved[:, :, 1] / moved[:, :, 2]
    found = [x.min(-1), y.min(-1), x.max(-1), y.max(-1)]
    return np.stack(found, -1).astype(np.float32)


def around_places(boxes: Any, at: Any, height: int, width: int) -> Any:
    """Bounding boxes of the places that are taken from boxes; without area if there are none.

    Args:
        boxes: of the images before.
        at: from where each place is taken: rows and columns (n, 2, h * w).
        height: of the images.
        width: of the images.
    """
    rows, columns = np.moveaxis(np.asarray(at, np.float32).reshape(-1, 2, height, width), 1, 0)
    moved = np.zeros_like(boxes, np.float32)
    for i, j in np.ndindex(moved.shape[:2]):
        left, top, right, bottom = np.asarray(boxes[i, j]) - 0.5  # centers of places are whole
        seen = (left <= columns[i]) & (columns[i] < right) & (top <= rows[i]) & (rows[i] < bottom)
        y, x = np.nonzero(seen)
        if y.size:
            moved[i, j] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return moved
