"""Bounding boxes: formats, transformations and overlaps.

Boxes are arrays whose last axis has four numbers, in one of these formats: "xyxy" and "yxyx",
corners; "xywh", a corner and the size; "center_xywh" and "center_yxhw", the centre and the size;
"rel_xyxy", "rel_yxyx", "rel_xywh" and "rel_center_xywh", in parts of the image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl._common.shared_arguments import described_by
from cdl._common.validation import one_of
from cdl.config import epsilon

__all__ = [
    "affine_transform",
    "clip_to_image_size",
    "compute_ciou",
    "compute_iou",
    "convert_format",
    "crop",
    "decode_deltas_to_boxes",
    "encode_box_to_deltas",
    "pad",
]

_FORMATS: tuple[str, ...] = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw")
_FORMATS += ("rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Any = None,
    width: Any = None,
    dtype: str = "float32",
) -> Any:
    """Convert bounding boxes to another format.

    Args:
        boxes: (..., 4), or a dict whose "boxes" are, which is changed in place.
        source: the format that they have.
        target: the one that they get.
        height: of the image, for formats in parts of it.
        width: likewise.
        dtype: of the result.

    Raises:
        ValueError: another shape, an unknown format, or no size where one is needed.
    """
    if isinstance(boxes, dict):
        boxes["boxes"] = convert_format(boxes["boxes"], source, target, height, width, dtype)
        return boxes
    boxes = np.asarray(boxes)
    if boxes.shape[-1:] != (4,):
        raise ValueError(
            "`boxes` must be a tensor with the last dimension of 4. Received: boxes.shape="
            f"{boxes.shape}"
        )
    source, target = source.lower(), target.lower()
    one_of("convert_format", "source", source, _FORMATS)
    one_of("convert_format", "target", target, _FORMATS)
    relative = [each.startswith("rel_") for each in (source, target)]
    if any(relative) and (height is None or width is None):
        raise ValueError(
            "convert_format() must receive `height` and `width` transforming between relative and "
            f"absolute formats. Received source={source!r}, target={target!r}, height={height} and "
            f"width={width}."
        )
    boxes = boxes.astype(dtype)
    if source == target:
        return boxes
    corners = np.stack(_corners(source.removeprefix("rel_"), boxes), axis=-1)
    if relative[0] != relative[1]:
        size = np.stack([width, height, width, height], axis=-1).astype(boxes.dtype)
        size = size.reshape(-1, *(1,) * (boxes.ndim - 2), 4) if size.ndim > 1 else size
        corners = corners * size if relative[0] else corners / size
    return np.stack(_from_corners(target.removeprefix("rel_"), corners), axis=-1).astype(dtype)


def _corners(kind: str, boxes: Any) -> tuple[Any, ...]:
    a, b, c, d = (boxes[..., i] for i in range(4))
    if kind in ("yxyx", "center_yxhw"):
        a, b, c, d = b, a, d, c
    if kind == "xywh":
        return a, b, a + c, b + d
    if kind.startswith("center"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


def _from_corners(kind: str, corners: Any) -> tuple[Any, ...]:
    a, b, c, d = (corners[..., i] for i in range(4))
    if kind == "xywh":
        c, d = c - a, d - b
    elif kind.startswith("center"):
        c, d = c - a, d - b
        a, b = a + c / 2, b + d / 2
    return (b, a, d, c) if kind in ("yxyx", "center_yxhw") else (a, b, c, d)


def clip_to_image_size(
    bounding_boxes: Any, height: Any = None, width: Any = None, bounding_box_format: str = "xyxy"
) -> dict[str, Any]:
    """Clip bounding boxes to the image; the label of an empty one becomes -1.

    Args:
        bounding_boxes: a dict with "boxes" and, perhaps, "labels".
        height: of the image.
        width: of the image.
        bounding_box_format: "xyxy" or "rel_xyxy".

    Raises:
        NotImplementedError: another format.
        ValueError: no size.
    """
    if bounding_box_format not in ("xyxy", "rel_xyxy"):
        raise NotImplementedError(
            f"bounding_box_format must be 'xyxy' or 'rel_xyxy', got {bounding_box_format!r}"
        )
    if bounding_box_format == "rel_xyxy":
        height = width = 1
    elif height is None or width is None:
        raise ValueError("`height` and `width` must be set if `format='xyxy'`.")
    boxes = crop(bounding_boxes["boxes"], 0, 0, height, width)
    found = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        found["labels"] = np.where(_area(boxes) > 0, bounding_boxes["labels"], -1)
    return found


def _area(boxes: Any) -> Any:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _only_corners(name: str) -> None:
    if name != "xyxy":
        raise NotImplementedError(f"bounding_box_format must be 'xyxy', got {name!r}")


def crop(
    boxes: Any, top: Any, left: Any, height: Any, width: Any, bounding_box_format: str = "xyxy"
) -> Any:
    """Bounding boxes in the coordinates of a crop of their image.

    Args:
        boxes: (..., 4).
        top: the first row of the part.
        left: its first column.
        height: its size.
        width: likewise.
        bounding_box_format: must be "xyxy".

    Raises:
        NotImplementedError: another format.
    """
    _only_corners(bounding_box_format)
    boxes = np.asarray(boxes)
    low = np.zeros((), boxes.dtype)
    x = [np.clip(boxes[..., i] - left, low, width) for i in (0, 2)]
    y = [np.clip(boxes[..., i] - top, low, height) for i in (1, 3)]
    return np.stack([x[0], y[0], x[1], y[1]], axis=-1).astype(boxes.dtype)


@described_by(crop)
def pad(
    boxes: Any,
    top: Any,
    left: Any,
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Bounding boxes in the coordinates of their image padded at the top and left.

    Args:
        top: how many rows.
        left: how many columns.
        height: not looked at, as in Keras.

    Raises:
        NotImplementedError: another format.
    """
    _only_corners(bounding_box_format)
    boxes = np.asarray(boxes)
    moved = boxes + np.array([left, top, left, top])
    return moved.astype(boxes.dtype)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Any,
    width: Any,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Bounding boxes after an affine transformation (rotation, shift, scale, shear) of their image.

    Args:
        boxes: (n, boxes, 4).
        angle: of each image, in degrees: (n,).
        translate_x: how far each is moved, in parts of its width.
        translate_y: likewise, of its height.
        scale: what each is divided by.
        shear_x: in degrees.
        shear_y: in degrees.
        height: of the images.
        width: of the images.
        center_x: what they are turned about, in parts; None is the middle.
        center_y: likewise.
        bounding_box_format: must be "xyxy".

    Raises:
        NotImplementedError: another format.
    """
    _only_corners(bounding_box_format)
    angle = np.asarray(angle)
    given = (translate_x, translate_y, shear_x, shear_y)
    t_x, t_y, s_x, s_y = (np.asarray(each, angle.dtype) for each in given)
    c_x = (0.5 if center_x is None else np.asarray(center_x)) * (width - 1)
    c_y = (0.5 if center_y is None else np.asarray(center_y)) * (height - 1)
    turn, s_x, s_y = (-each / 180 * math.pi for each in (angle, s_x, s_y))
    a = np.cos(turn - s_y) / np.cos(s_y)
    b = a * np.tan(s_x) + np.sin(turn)
    c = -np.sin(turn - s_y) / np.cos(s_y)
    d = np.cos(turn) - c * np.tan(s_x)
    rows = [[d * scale, -b * scale], [-c * scale, a * scale]]
    from_x, from_y = c_x - t_x * (width - 1), c_y - t_y * (height - 1)
    points = np.asarray(boxes, angle.dtype)[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]
    x, y = points[..., 0], points[..., 1]
    moved = []
    for (p, q), middle in zip(rows, (c_x, c_y), strict=True):
        p, q, middle, m, n = (
            np.broadcast_to(each, angle.shape)[:, None, None]
            for each in (p, q, middle, from_x, from_y)
        )
        moved.append(p * x + q * y + middle - p * m - q * n)
    whole = np.stack(moved, axis=-1).astype(angle.dtype)
    return np.concatenate([whole.min(axis=2), whole.max(axis=2)], axis=-1)


def _encoding(owner: str, name: str, given: str, variance: Any, shape: Any) -> tuple[Any, ...]:
    """Check variances as an array of four, and the height and width of images."""
    one_of(owner, name, given, ("center_xywh", "center_yxhw"))
    variance = np.ones(4, np.float32) if variance is None else np.asarray(variance, np.float32)
    if variance.shape[-1:] != (4,):
        raise ValueError(f"`variance` must be length 4, got {variance}")
    height, width = (None, None) if shape is None else tuple(shape)[:2]
    return variance, height, width


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """Encode bounding boxes as deltas to anchors: center offsets in anchor sizes, log size ratios.

    Args:
        anchors: (..., 4).
        boxes: (..., 4).
        anchor_format: of the anchors.
        box_format: of the boxes.
        encoding_format: "center_yxhw" or "center_xywh", the order of the four numbers.
        variance: four numbers that these are divided by; None for ones.
        image_shape: (height, width, channels), for formats in parts of an image.

    Raises:
        ValueError: an unknown format, or not four variances.
    """
    given = ("encode_box_to_deltas", "encoding_format", encoding_format, variance, image_shape)
    variance, height, width = _encoding(*given)
    anchors = convert_format(anchors, anchor_format, encoding_format, height, width)
    boxes = convert_format(boxes, box_format, encoding_format, height, width)
    sizes, of_boxes = (np.maximum(each[..., 2:], epsilon()) for each in (anchors, boxes))
    parts = [(boxes[..., :2] - anchors[..., :2]) / sizes, np.log(of_boxes / sizes)]
    return (np.concatenate(parts, axis=-1) / variance).astype(np.float32)


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """Decode deltas to anchors into bounding boxes: the inverse of `encode_box_to_deltas`.

    Args:
        anchors: (..., 4), or a dict of such.
        boxes_delta: what it gave, or a dict of such with the same keys.
        anchor_format: of the anchors.
        box_format: which the boxes get.
        encoded_format: "center_yxhw" or "center_xywh".
        variance: four numbers; None for ones.
        image_shape: (height, width, channels), for formats in parts of an image.

    Raises:
        ValueError: an unknown format, or not four variances.
    """
    given = ("decode_deltas_to_boxes", "encoded_format", encoded_format, variance, image_shape)
    variance, height, width = _encoding(*given)

    def decode(anchor: Any, delta: Any) -> Any:
        anchor = convert_format(anchor, anchor_format, encoded_format, height, width)
        delta = np.asarray(delta) * variance
        places, sizes = delta[..., :2] * anchor[..., 2:] + anchor[..., :2], np.exp(delta[..., 2:])
        box = np.concatenate([places, sizes * anchor[..., 2:]], axis=-1)
        return convert_format(box, encoded_format, box_format, height, width)

    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        return {key: decode(anchor, boxes_delta[key]) for key, anchor in anchors.items()}
    return decode(anchors, boxes_delta)


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Any = None,
) -> Any:
    """Intersection over union of each pair of bounding boxes.

    Args:
        boxes1: (a, 4), or (n, a, 4).
        boxes2: (b, 4), or (n, b, 4).
        bounding_box_format: of both.
        use_masking: whether pairs with a box of negative numbers get `mask_val`.
        mask_val: see there.
        image_shape: (height, width, channels), for formats in parts of an image.

    Returns:
        (a, b), or (n, a, b).

    Raises:
        ValueError: another number of axes, an unknown format, or no image_shape where it is needed.
    """
    boxes1, boxes2 = np.asarray(boxes1), np.asarray(boxes2)
    if not {boxes1.ndim, boxes2.ndim} <= {2, 3}:
        raise ValueError(
            "compute_iou() expects boxes to be batched, or to be unbatched. Received shapes "
            f"{boxes1.shape} and {boxes2.shape}."
        )
    if "rel" in bounding_box_format and image_shape is None:
        raise ValueError(
            "When using relative bounding box formats (e.g. `rel_yxyx`) the `image_shape` argument "
            "must be provided. Received `image_shape`: None"
        )
    size = (None, None) if image_shape is None else tuple(image_shape)[:2]
    a, b = (convert_format(x, bounding_box_format, "xyxy", *size) for x in (boxes1, boxes2))
    one, other = a[..., :, None, :], b[..., None, :, :]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = np.prod(np.maximum(sides, 0), axis=-1)
    found = common / (_area(one) + _area(other) - common + epsilon())
    if use_masking:
        negative = (one.max(-1) < 0) | (other.max(-1) < 0)
        found = np.where(negative, mask_val, found)
    return found.astype(np.float32)


def compute_ciou(
    boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None
) -> Any:
    """Complete IoU: overlap less penalties for center distance and aspect ratio, box by box.

    Args:
        boxes1: (..., 4).
        boxes2: of the same shape.
        bounding_box_format: of both; none in parts of an image.
        image_shape: not needed.

    Returns:
        One number for each box.

    Raises:
        ValueError: a format in parts of an image, or an unknown one.
    """
    if "rel" in bounding_box_format:
        raise ValueError(
            "compute_ciou: bounding_box_format must not be in parts of an image, got "
            f"{bounding_box_format!r}"
        )
    del image_shape
    e = epsilon()
    a, b = (convert_format(x, bounding_box_format, "xyxy") for x in (boxes1, boxes2))
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.prod(np.maximum(sides, 0), axis=-1)
    (w1, h1), (w2, h2) = ((x[..., 2] - x[..., 0], x[..., 3] - x[..., 1] + e) for x in (a, b))
    iou = common / (w1 * h1 + w2 * h2 - common + 2 * e)
    around = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = (apart**2).sum(-1) / ((around**2).sum(-1) + e)
    v = 4 / math.pi**2 * (np.arctan(w2 / h2) - np.arctan(w1 / h1)) ** 2
    return iou - (distance + v * v / (v - iou + 1 + e))


publish(globals())
