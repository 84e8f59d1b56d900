"""Boxes in images: formats there and back, parts, moves, overlaps."""

import numpy as np
import pytest

from cdl.utils import bounding_boxes as boxes_of

FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw")
FORMATS += ("rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
BOX = np.array([[10.0, 20.0, 30.0, 60.0]], "f4")
SAME = {
    "xyxy": [10, 20, 30, 60], "yxyx": [20, 10, 60, 30], "xywh": [10, 20, 20, 40],
    "center_xywh": [20, 40, 20, 40], "center_yxhw": [40, 20, 40, 20],
    "rel_xyxy": [0.125, 0.2, 0.375, 0.6], "rel_yxyx": [0.2, 0.125, 0.6, 0.375],
    "rel_xywh": [0.125, 0.2, 0.25, 0.4], "rel_center_xywh": [0.25, 0.4, 0.25, 0.4],
}  # fmt: skip


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_formats(source, target):
    found = boxes_of.convert_format([SAME[source]], source, target, height=100, width=80)
    np.testing.assert_allclose(found[0], SAME[target], rtol=1e-6)
    assert found.dtype == "float32"


def test_formats_that_are_refused():
    with pytest.raises(ValueError, match="last dimension of 4"):
        boxes_of.convert_format([[1, 2, 3]], "xyxy", "xywh")
    with pytest.raises(ValueError, match="target"):
        boxes_of.convert_format(BOX, "xyxy", "corners")
    with pytest.raises(ValueError, match="`height` and `width`"):
        boxes_of.convert_format(BOX, "xyxy", "rel_xyxy")


def test_parts_of_images():
    cut = boxes_of.clip_to_image_size({"boxes": BOX, "labels": np.array([3])}, 40, 20)
    assert cut["boxes"].tolist() == [[10, 20, 20, 40]]
    assert cut["labels"].tolist() == [3]
    gone = boxes_of.clip_to_image_size({"boxes": BOX, "labels": np.array([3])}, 10, 20)
    assert gone["labels"].tolist() == [-1]
    assert boxes_of.crop(BOX, 5, 10, 30, 15).tolist() == [[0, 15, 15, 30]]
    assert boxes_of.pad(BOX, 5, 10).tolist() == [[20, 25, 40, 65]]
    for call in (
        lambda f: boxes_of.crop(BOX, 0, 0, 1, 1, f),
        lambda f: boxes_of.pad(BOX, 0, 0, 1, 1, f),
    ):
        with pytest.raises(NotImplementedError):
            call("xywh")


def test_turning_an_image_turns_its_boxes():
    one = np.ones(1, "f4")
    turned = boxes_of.affine_transform(
        BOX[None], 180 * one, 0 * one, 0 * one, one, 0 * one, 0 * one, 101, 81
    )
    np.testing.assert_allclose(turned[0], [[50, 40, 70, 80]], atol=1e-3)
    moved = boxes_of.affine_transform(
        BOX[None], 0 * one, 0.5 * one, 0 * one, one, 0 * one, 0 * one, 101, 81
    )
    np.testing.assert_allclose(np.abs(moved[0] - BOX), [[40, 0, 40, 0]], atol=1e-3)


def test_deltas_give_the_boxes_back():
    anchors = np.array([[0.0, 0.0, 20.0, 20.0]])
    for order in ("center_xywh", "center_yxhw"):
        deltas = boxes_of.encode_box_to_deltas(
            anchors, BOX, "xyxy", "xyxy", order, variance=[0.1, 0.1, 0.2, 0.2]
        )
        found = boxes_of.decode_deltas_to_boxes(
            anchors, deltas, "xyxy", "xyxy", order, variance=[0.1, 0.1, 0.2, 0.2]
        )
        np.testing.assert_allclose(found, BOX, rtol=1e-5)
    np.testing.assert_allclose(deltas, [[15, 5, np.log(2) / 0.2, 0]], rtol=1e-5)
    with pytest.raises(ValueError, match="length 4"):
        boxes_of.encode_box_to_deltas(anchors, BOX, "xyxy", "xyxy", variance=[1, 2])
    with pytest.raises(ValueError, match="encoded_format"):
        boxes_of.decode_deltas_to_boxes(anchors, deltas, "xyxy", "xyxy", "xyxy")


def test_overlaps():
    a = np.array([[0, 0, 2, 2], [-1, -1, -1, -1]], "f4")
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]], "f4")
    iou = boxes_of.compute_iou(a, b, "xyxy")
    np.testing.assert_allclose(iou[0], [1 / 3, 1, 0], atol=1e-6)
    masked = boxes_of.compute_iou(a[None], b[None], "xyxy", use_masking=True, mask_val=-2)
    assert masked[0, 1].tolist() == [-2, -2, -2]
    ciou = boxes_of.compute_ciou(a[:1], b[1:2], "xyxy")
    np.testing.assert_allclose(ciou, [1], atol=1e-5)
    assert boxes_of.compute_ciou(a[:1], b[2:], "xyxy")[0] < 0
    with pytest.raises(ValueError, match="image_shape"):
        boxes_of.compute_iou(a, b, "rel_xyxy")
    with pytest.raises(ValueError, match="batched"):
        boxes_of.compute_iou(a[0], b, "xyxy")
