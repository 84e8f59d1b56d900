"""Pictures of batches of images."""

import numpy as np
import pytest

from cdl import visualization

pytest.importorskip("PIL")
pytest.importorskip("matplotlib").use("Agg")

IMAGES = np.full((3, 40, 50, 3), 200, "uint8")
BOXES = {"boxes": np.array([[[5, 6, 20, 30]]] * 3, "f4"), "labels": np.array([[0], [1], [-1]])}


def test_boxes_are_drawn_where_they_are():
    drawn = visualization.draw_bounding_boxes(
        IMAGES, BOXES, "xyxy", {0: "cat"}, color=(255, 0, 0), line_thickness=1
    )
    assert drawn.shape == IMAGES.shape
    assert drawn.dtype == "uint8"
    assert drawn[1, 6, 5:21].tolist() == [[255, 0, 0]] * 16
    assert (drawn[1, 7:30, 6:20] == 200).all()
    assert (drawn[2] == 200).all()  # a box of label -1
    assert (drawn[0] != drawn[1]).any()  # its name is written
    first = visualization.draw_bounding_boxes(
        IMAGES.transpose(0, 3, 1, 2) / 255.0, BOXES, "xyxy", data_format="channels_first"
    )
    assert first.shape == IMAGES.shape
    assert first[2].min() == 200


def test_masks_are_drawn_in_colours():
    masks = np.zeros((3, 40, 50, 1), int)
    masks[:, :10] = 1
    masks[:, 10:20] = -1
    drawn = visualization.draw_segmentation_masks(
        IMAGES, masks, 2, {0: (0, 0, 0), 1: (250, 0, 0)}, alpha=0.5
    )
    assert drawn[0, 0, 0].tolist() == [225, 100, 100]
    assert drawn[0, 15, 0].tolist() == [200, 200, 200]
    assert drawn[0, 30, 0].tolist() == [100, 100, 100]
    assert visualization.draw_segmentation_masks(IMAGES, masks, blend=False).dtype == "float32"
    with pytest.raises(TypeError, match="integer dtype"):
        visualization.draw_segmentation_masks(IMAGES, masks / 2)


def test_galleries_are_written(tmp_path):
    visualization.plot_image_gallery(
        IMAGES, [0, 1, 2], [0, 1, 1], {0: "a", 1: "b"}, path=tmp_path / "a.png"
    )
    visualization.plot_bounding_box_gallery(
        IMAGES, "xyxy", BOXES, BOXES, class_mapping={0: "a"}, legend=True, path=tmp_path / "b.png"
    )
    masks = np.ones((3, 40, 50, 1), int)
    visualization.plot_segmentation_mask_gallery(
        IMAGES, 2, y_true=masks, y_pred=masks, path=tmp_path / "c.png"
    )
    assert [(tmp_path / f"{name}.png").stat().st_size > 500 for name in "abc"] == [True] * 3


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="batched 4D"):
        visualization.draw_bounding_boxes(IMAGES[0], BOXES, "xyxy")
    with pytest.raises(TypeError, match="should be a dict"):
        visualization.draw_bounding_boxes(IMAGES, [], "xyxy")
    with pytest.raises(ValueError, match="'boxes' and 'labels'"):
        visualization.draw_bounding_boxes(IMAGES, {"boxes": []}, "xyxy")
    with pytest.raises(ValueError, match="label_map"):
        visualization.plot_image_gallery(IMAGES, [0, 1, 2])
    with pytest.raises(ValueError, match="`path`"):
        visualization.plot_image_gallery(IMAGES, path="a.png", show=True)
    with pytest.raises(ValueError, match="legend"):
        visualization.plot_bounding_box_gallery(IMAGES, "xyxy", legend=True, legend_handles=[1])
