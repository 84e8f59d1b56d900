"""Boxes in the dict of an image layer go where the images go."""

import numpy as np
import pytest

from cdl import layers
from cdl.utils.bounding_boxes import convert_format

HEIGHT, WIDTH = 60, 90
FIXED = {"interpolation": "nearest", "fill_mode": "constant"}
MOVING = {
    "CenterCrop": lambda **more: layers.CenterCrop(40, 50, **more),
    "CenterCrop of smaller images": lambda **more: layers.CenterCrop(80, 70, **more),
    "RandAugment": lambda **more: layers.RandAugment(
        (0, 1), factor=0.3, interpolation="nearest", seed=2, **more
    ),
    "RandomCrop": lambda **more: layers.RandomCrop(40, 50, seed=2, **more),
    "RandomCrop of smaller images": lambda **more: layers.RandomCrop(80, 70, seed=2, **more),
    "RandomElasticTransform": lambda **more: layers.RandomElasticTransform(
        scale=0.4, **FIXED, seed=2, **more
    ),
    "RandomFlip": lambda **more: layers.RandomFlip(seed=2, **more),
    "RandomFlip horizontal": lambda **more: layers.RandomFlip("horizontal", seed=2, **more),
    "RandomFlip vertical": lambda **more: layers.RandomFlip("vertical", seed=2, **more),
    "RandomPerspective": lambda **more: layers.RandomPerspective(
        1.0, 0.3, "nearest", seed=2, **more
    ),
    "RandomRotation": lambda **more: layers.RandomRotation(0.1, **FIXED, seed=2, **more),
    "RandomShear": lambda **more: layers.RandomShear(0.3, 0.3, **FIXED, seed=2, **more),
    "RandomTranslation": lambda **more: layers.RandomTranslation(0.2, 0.2, **FIXED, seed=2, **more),
    "RandomZoom": lambda **more: layers.RandomZoom((-0.3, 0.3), 0.3, **FIXED, seed=2, **more),
    "Resizing": lambda **more: layers.Resizing(80, 70, "nearest", **more),
    "Resizing cropped": lambda **more: layers.Resizing(
        80, 70, "nearest", crop_to_aspect_ratio=True, **more
    ),
    "Resizing padded": lambda **more: layers.Resizing(
        80, 70, "nearest", pad_to_aspect_ratio=True, **more
    ),
}
STILL = {
    "AugMix": layers.AugMix,
    "AutoContrast": layers.AutoContrast,
    "ContrastLimited": layers.ContrastLimitedAdaptiveHistogramEqualization,
    "Equalization": layers.Equalization,
    "RandomBrightness": lambda **more: layers.RandomBrightness(0.3, **more),
    "RandomErasing": layers.RandomErasing,
    "RandomGaussianBlur": layers.RandomGaussianBlur,
    "Solarization": lambda **more: layers.Solarization(0.2, 0.2, **more),
}


def rectangles(rng, n=6):
    """Images with a white rectangle each, and its box."""
    images, boxes = np.zeros((n, HEIGHT, WIDTH, 1), np.float32), np.zeros((n, 1, 4), np.float32)
    for i in range(n):
        top, left = rng.integers(18, 30), rng.integers(25, 45)
        bottom, right = top + rng.integers(4, 14), left + rng.integers(4, 22)
        images[i, top:bottom, left:right] = 1
        boxes[i, 0] = left, top, right, bottom
    return images, boxes


def around(mask):
    rows, columns = np.nonzero(mask > 0.5)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", MOVING)
def test_boxes_stay_around_what_they_were_around(name, data_format):
    images, boxes = rectangles(np.random.default_rng(4))
    last = data_format == "channels_last"
    masks = images if last else images.transpose(0, 3, 1, 2)
    given = {"boxes": boxes, "labels": np.arange(len(boxes))[:, None]}
    layer = MOVING[name](bounding_box_format="xyxy", data_format=data_format)
    parts = {"images": masks, "segmentation_masks": masks, "bounding_boxes": given}
    seen = 0
    for _ in range(4):
        found = layer(parts, training=True)
        planes = found["segmentation_masks"]
        planes = planes[..., 0] if last else planes[:, 0]
        for i, plane in enumerate(planes):
            if plane.max() > 0.5:
                seen += 1
                box, label = (found["bounding_boxes"][each][i, 0] for each in ("boxes", "labels"))
                np.testing.assert_allclose(box, around(plane), atol=1.5)
                assert label == i
    assert seen > 12
    np.testing.assert_array_equal(given["boxes"], boxes)


@pytest.mark.parametrize("form", ["yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_xywh"])
@pytest.mark.parametrize("name", ["RandomRotation", "RandomPerspective", "Resizing", "RandomFlip"])
def test_boxes_come_back_in_the_format_of_the_layer(name, form):
    images, boxes = rectangles(np.random.default_rng(5))
    labels = np.zeros((len(boxes), 1))
    sizes = HEIGHT, WIDTH
    found = {}
    for each in ("xyxy", form):
        given = {"boxes": convert_format(boxes, "xyxy", each, *sizes), "labels": labels}
        layer = MOVING[name](bounding_box_format=each)
        found[each] = layer({"images": images, "bounding_boxes": given})["bounding_boxes"]["boxes"]
    size = layer.compute_output_shape(images.shape)[1:3]
    expected = convert_format(found["xyxy"], "xyxy", form, *size)
    np.testing.assert_allclose(found[form], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", MOVING)
def test_boxes_of_one_image_are_moved_as_in_a_batch_of_one(name):
    images, boxes = rectangles(np.random.default_rng(6), 1)
    found = []
    for at in (slice(None), 0):
        given = {"boxes": boxes[at], "labels": np.ones((1, 1))[at]}
        layer = MOVING[name](bounding_box_format="xyxy")
        found.append(layer({"images": images[at], "bounding_boxes": given})["bounding_boxes"])
    assert found[1]["boxes"].shape == (1, 4)
    np.testing.assert_array_equal(found[0]["boxes"][0], found[1]["boxes"])
    np.testing.assert_array_equal(found[0]["labels"][0], found[1]["labels"])


@pytest.mark.parametrize("name", STILL)
def test_layers_of_colours_leave_boxes_as_they_are(name):
    images, boxes = rectangles(np.random.default_rng(7))
    given = {"boxes": boxes.repeat(2, 1), "labels": np.zeros((len(boxes), 2))}
    layer = STILL[name](bounding_box_format="rel_xywh")
    images = np.repeat(images, 3, -1)
    found = layer({"images": images, "bounding_boxes": given})["bounding_boxes"]
    for each in ("boxes", "labels"):
        np.testing.assert_array_equal(found[each], given[each])


def test_boxes_that_vanish_lose_their_label():
    images, boxes = rectangles(np.random.default_rng(8), 1)
    boxes = np.concatenate([boxes, [[[0, 0, 3, 3]]]], 1)
    crop = layers.CenterCrop(40, 50, bounding_box_format="xyxy")
    for labels, expected in ([[[5, 6]], [[5, -1]]], [[[[0, 1], [1, 0]]], [[[0, 1], [-1, -1]]]]):
        given = {"boxes": boxes, "labels": np.array(labels)}
        found = crop({"images": images, "bounding_boxes": given})["bounding_boxes"]
        np.testing.assert_array_equal(found["labels"], expected)
        assert not found["boxes"][0, 1].any()


def test_outside_training_boxes_are_not_moved():
    images, boxes = rectangles(np.random.default_rng(9))
    given = {"boxes": boxes, "labels": np.zeros((len(boxes), 1))}
    layer = MOVING["RandomRotation"](bounding_box_format="xyxy")
    found = layer({"images": images, "bounding_boxes": given}, training=False)
    np.testing.assert_array_equal(found["bounding_boxes"]["boxes"], boxes)


def test_boxes_of_mixed_images_are_those_of_both():
    images, boxes = rectangles(np.random.default_rng(10))
    labels = np.arange(len(boxes))[:, None]
    layer = layers.MixUp(seed=1, bounding_box_format="xyxy")
    given = {"images": images, "bounding_boxes": {"boxes": boxes, "labels": labels}}
    found = layer(given)["bounding_boxes"]
    assert found["boxes"].shape == (len(boxes), 2, 4)
    np.testing.assert_array_equal(found["labels"][:, :1], labels)
    np.testing.assert_array_equal(found["boxes"][:, 1], boxes[found["labels"][:, 1], 0])
    with pytest.raises(NotImplementedError, match=r"CutMix.*'bounding_boxes'"):
        layers.CutMix(bounding_box_format="xyxy")(given)


def test_transformations_that_are_no_such_are_refused():
    boxes = {"boxes": np.ones((1, 1, 4)), "labels": np.ones((1, 1))}
    layer = layers.RandomFlip(bounding_box_format="xyxy")
    with pytest.raises(ValueError, match="transformation must be what get_random_transformation"):
        layer.transform_bounding_boxes(boxes, {"flips": True})
    with pytest.raises(ValueError, match="transformation must be what get_random_transformation"):
        layer.transform_images(np.ones((1, 4, 4, 1)), {"flips": True})
    narrow = MOVING["RandomRotation"](bounding_box_format="xyxy")
    with pytest.raises(ValueError, match="must have 2 rows and columns"):
        narrow({"images": np.ones((1, 4, 1, 1)), "bounding_boxes": boxes})


def test_a_pipeline_hands_the_dict_from_layer_to_layer():
    images, boxes = rectangles(np.random.default_rng(11))
    given = {"boxes": boxes, "labels": np.zeros((len(boxes), 1))}
    parts = {"images": images, "segmentation_masks": images, "bounding_boxes": given}

    def made():
        return [MOVING[name](bounding_box_format="xyxy") for name in ("RandomZoom", "Resizing")]

    found, expected = layers.Pipeline(made())(parts, training=True), parts
    for layer in made():
        expected = layer(expected, training=True)
    for name in ("images", "segmentation_masks"):
        np.testing.assert_array_equal(found[name], expected[name])
    for name in ("boxes", "labels"):
        np.testing.assert_array_equal(
            found["bounding_boxes"][name], expected["bounding_boxes"][name]
        )
