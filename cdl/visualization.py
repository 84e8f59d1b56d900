"""Visualization of image batches with boxes, masks and labels: by Pillow and Matplotlib."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl._common.optional_imports import needed
from cdl._common.public_names import publish
from cdl._common.shared_arguments import described_by
from cdl.config import standardize_data_format
from cdl.utils.bounding_boxes import convert_format

__all__ = [
    "draw_bounding_boxes",
    "draw_segmentation_masks",
    "plot_bounding_box_gallery",
    "plot_image_gallery",
    "plot_segmentation_mask_gallery",
]


def _batch(images: Any, data_format: str | None, owner: str) -> Any:
    """Images as an array with the channels last."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"`images` must be batched 4D tensor. Received: images.shape={images.shape}"
        )
    first = standardize_data_format(data_format, owner) == "channels_first"
    return images.transpose(0, 2, 3, 1) if first else images


def draw_bounding_boxes(
    images: Any,
    bounding_boxes: Any,
    bounding_box_format: str,
    class_mapping: Any = None,
    color: Any = (128, 128, 128),
    line_thickness: int = 2,
    text_thickness: int = 1,
    font_scale: float = 1.0,
    data_format: str | None = None,
) -> Any:
    """Draw bounding boxes on images.

    Args:
        images: (n, height, width, channels); floats up to 1 are stretched to 255.
        bounding_boxes: a dict with "boxes" (n, boxes, 4), "labels" (n, boxes), of which -1 is no
            box, and perhaps "confidences" (n, boxes).
        bounding_box_format: of the boxes: see `utils.bounding_boxes`.
        class_mapping: from labels to the texts that are written over the boxes.
        color: of lines and texts.
        line_thickness: in pixels.
        text_thickness: in pixels.
        font_scale: of the texts; 1 is 12 pixels.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        An array of uint8, with the channels last.

    Raises:
        ImportError: Pillow is not there.
        TypeError: boxes that are no dict.
        ValueError: other shapes, or a dict without boxes or labels.
    """
    images = _batch(images, data_format, "draw_bounding_boxes")
    if not isinstance(bounding_boxes, dict):
        raise TypeError(
            f"`bounding_boxes` should be a dict. Received: bounding_boxes={bounding_boxes} of type "
            f"{type(bounding_boxes)}"
        )
    if not {"boxes", "labels"} <= set(bounding_boxes):
        raise ValueError(
            "`bounding_boxes` should be a dict containing 'boxes' and 'labels' keys. Received: "
            f"bounding_boxes={bounding_boxes}"
        )
    image_of, draw_on, font_of = (
        needed(f"PIL.{name}", "images", "draw_bounding_boxes")
        for name in ("Image", "ImageDraw", "ImageFont")
    )
    height, width = images.shape[1:3]
    boxes = convert_format(bounding_boxes["boxes"], bounding_box_format, "xyxy", height, width)
    labels = np.asarray(bounding_boxes["labels"])
    sure = bounding_boxes.get("confidences")
    if images.dtype.kind == "f" and images.size:
        images = np.clip(images, 0, 1) * 255 if images.max() <= 1 else np.clip(images, 0, 255)
    font = font_of.load_default(max(1, round(12 * font_scale)))
    drawn = []
    for i, image in enumerate(images.astype("uint8")):
        gray = image.shape[2] == 1
        picture = image_of.fromarray(image[:, :, 0] if gray else image)
        ink = tuple(color)[: 1 if gray else 3]
        pen, ink = draw_on.Draw(picture), ink[0] if gray else ink
        for j, box in enumerate(boxes[i].astype(int).tolist()):
            label = int(labels[i, j])
            if label == -1:
                continue
            x1, y1, x2, y2 = box
            corners = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
            pen.rectangle(corners, outline=ink, width=line_thickness)
            if label in (class_mapping or {}):
                text = str(class_mapping[label])
                text += "" if sure is None else f" | {float(sure[i][j]):.2f}"
                size = int(12 * font_scale)
                above = y1 - 8 - 2 * size > 0
                at = (x1, y1 - 8 - size) if above else (x1 + 3, y1 + size + text_thickness + 3)
                pen.text(at, text, fill=ink, font=font)
        drawn.append(np.asarray(picture).reshape(image.shape))
    return np.stack(drawn)


def draw_segmentation_masks(
    images: Any,
    segmentation_masks: Any,
    num_classes: int | None = None,
    color_mapping: Any = None,
    alpha: float = 0.8,
    blend: bool = True,
    ignore_index: int = -1,
    data_format: str | None = None,
) -> Any:
    """Draw segmentation masks on images, with a colour per class.

    Args:
        images: (n, height, width, channels).
        segmentation_masks: the class of each pixel, (n, height, width, 1), of an int dtype.
        num_classes: how many classes are drawn; None for the largest number among the masks.
        color_mapping: from classes to colours; None for some that differ.
        alpha: how much of the colour there is, from 0 to 1.
        blend: whether the image shines through; else the result is of float32.
        ignore_index: a class that is not drawn.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        An array of uint8, with the channels last.

    Raises:
        TypeError: masks of floats.
        ValueError: images of another shape.
    """
    images = _batch(images, data_format, "draw_segmentation_masks").astype(np.float32)
    masks = _batch(segmentation_masks, data_format, "draw_segmentation_masks")[..., 0]
    if masks.dtype.kind not in "iu":
        raise TypeError(
            "`segmentation_masks` must be in integer dtype. Received: segmentation_masks.dtype="
            f"{masks.dtype}"
        )
    if num_classes is None:
        num_classes = int(masks.max())
    if color_mapping is None:
        palette = np.array([2**25 - 1, 2**15 - 1, 2**21 - 1])
        color_mapping = {i: i * palette % 255 for i in range(num_classes)}
    drawn = images.copy()
    for i in range(num_classes):
        drawn[masks == i] = np.asarray(color_mapping[i], np.float32)
    if not blend:
        return drawn
    mixed = images * (1 - alpha) + drawn * alpha
    return np.where((masks != ignore_index)[..., None], mixed, images).astype("uint8")


def plot_image_gallery(
    images: Any,
    y_true: Any = None,
    y_pred: Any = None,
    label_map: Any = None,
    rows: int | None = None,
    cols: int | None = None,
    value_range: Any = (0, 255),
    scale: float = 2,
    path: Any = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: Any = None,
    data_format: str | None = None,
) -> None:
    """Show images in rows and columns, or write the picture to a file.

    Args:
        images: (n, height, width, channels).
        y_true: the label of each; needs `label_map`.
        y_pred: the label predicted of each; likewise.
        label_map: from labels to names.
        rows: of the picture; None for the root of n.
        cols: of the picture; None for as many as are needed.
        value_range: what becomes black and what white.
        scale: inches of an image.
        path: the file; None to show the picture.
        show: whether to show it; None if there is no path.
        transparent: whether the file's background is.
        dpi: pixels of an inch, of the file.
        legend_handles: of Matplotlib's legend, or None.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ImportError: Matplotlib is not there.
        ValueError: other shapes, labels without `label_map`, or `path` and `show`.
    """
    plt = needed("matplotlib.pyplot", "plot", "plot_image_gallery")
    if path is not None and show:
        raise ValueError("plot_gallery() expects either `path` to be set, or `show` to be true.")
    if (y_true is not None or y_pred is not None) and label_map is None:
        raise ValueError(
            "If `y_true` or `y_pred` are provided, a `label_map` must also be provided."
        )
    images = _batch(images, data_format, "plot_image_gallery").astype(np.float32)
    rows = rows or math.ceil(math.sqrt(len(images)))
    cols = cols or math.ceil(len(images) / rows)
    low, high = value_range
    images = (images - low) / (high - low) * 255
    size = (cols * scale, rows * scale)
    figure, axes = plt.subplots(
        rows, cols, figsize=size, frameon=False, layout="tight", squeeze=False
    )
    if legend_handles is not None:
        figure.legend(handles=legend_handles, loc="lower center")
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i >= len(images):
            continue
        image = np.clip(images[i], 0, 255).astype("uint8")
        axis.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray")
        axis.margins(x=0, y=0)
        told = [("Label", y_true), ("Pred", y_pred)]
        parts = [
            f"{kind}: {label_map.get(np.asarray(labels)[i].item(), 'Unknown')}"
            for kind, labels in told
            if labels is not None and i < len(labels)
        ]
        if parts:
            axis.set_title("  ".join(parts), fontsize=8)
    if path is not None:
        figure.savefig(path, pad_inches=0, bbox_inches="tight", transparent=transparent, dpi=dpi)
    elif show is None or show:
        plt.show()
    plt.close(figure)


@described_by(plot_image_gallery)
def plot_bounding_box_gallery(
    images: Any,
    bounding_box_format: str,
    y_true: Any = None,
    y_pred: Any = None,
    value_range: Any = (0, 255),
    true_color: Any = (0, 188, 212),
    pred_color: Any = (255, 235, 59),
    line_thickness: int = 2,
    font_scale: float = 1.0,
    text_thickness: int | None = None,
    class_mapping: Any = None,
    ground_truth_mapping: Any = None,
    prediction_mapping: Any = None,
    legend: bool = False,
    legend_handles: Any = None,
    rows: int | None = None,
    cols: int | None = None,
    data_format: str | None = None,
    **kwargs: Any,
) -> None:
    """Show a gallery of images with true and predicted bounding boxes.

    Args:
        bounding_box_format: of the boxes.
        y_true: as `draw_bounding_boxes` takes them, or None.
        y_pred: likewise.
        true_color: of the boxes.
        pred_color: of predicted ones.
        line_thickness: in pixels.
        font_scale: of the texts.
        text_thickness: in pixels; None for `line_thickness`.
        class_mapping: from labels to texts.
        ground_truth_mapping: the same for `y_true`; None for `class_mapping`.
        prediction_mapping: the same for `y_pred`; likewise.
        legend: whether the colours are explained.
        legend_handles: of Matplotlib's legend, instead.
        rows: of the picture.
        cols: of the picture.
        kwargs: for `plot_image_gallery`.

    Raises:
        ImportError: Matplotlib or Pillow is not there.
        ValueError: other shapes, or `legend` and `legend_handles`.
    """
    images = _batch(images, data_format, "plot_bounding_box_gallery")
    told = (
        (y_true, true_color, ground_truth_mapping or class_mapping),
        (y_pred, pred_color, prediction_mapping or class_mapping),
    )
    for boxes, color, mapping in told:
        if boxes is not None:
            images = draw_bounding_boxes(
                images,
                boxes,
                bounding_box_format,
                mapping,
                color,
                line_thickness,
                text_thickness or line_thickness,
                font_scale,
                "channels_last",
            )
    if legend:
        if legend_handles:
            raise ValueError(
                "Only pass `legend` OR `legend_handles` to `plot_bounding_box_gallery()`."
            )
        patch = needed("matplotlib.patches", "plot", "plot_bounding_box_gallery").Patch
        names = ((true_color, "Ground Truth"), (pred_color, "Prediction"))
        legend_handles = [patch(color=np.divide(color, 255), label=name) for color, name in names]
    given: dict[str, Any] = {"rows": rows, "cols": cols, "legend_handles": legend_handles}
    given |= {"value_range": value_range, "data_format": "channels_last", **kwargs}
    plot_image_gallery(images, **given)


@described_by(draw_segmentation_masks, plot_bounding_box_gallery)
def plot_segmentation_mask_gallery(
    images: Any,
    num_classes: int | None,
    value_range: Any = (0, 255),
    y_true: Any = None,
    y_pred: Any = None,
    color_mapping: Any = None,
    blend: bool = True,
    alpha: float = 0.8,
    ignore_index: int = -1,
    data_format: str | None = None,
    **kwargs: Any,
) -> None:
    """Show a gallery of images with true and predicted segmentation masks.

    Args:
        y_true: masks, or None.
        y_pred: predicted masks, or None.
        kwargs: for `plot_image_gallery`.

    Raises:
        ImportError: Matplotlib is not there.
        ValueError: other shapes.
    """
    owner = "plot_segmentation_mask_gallery"
    images = _batch(images, data_format, owner)
    columns = [images]
    for masks in (y_true, y_pred):
        if masks is not None:
            masks = _batch(masks, data_format, owner).astype("int32")
            how = (num_classes, color_mapping, alpha, blend, ignore_index, "channels_last")
            columns.append(draw_segmentation_masks(images, masks, *how))
    together = np.stack(columns, axis=1).reshape(-1, *images.shape[1:])
    given: dict[str, Any] = {"rows": len(images), "cols": len(columns)}
    given |= {"value_range": value_range, "data_format": "channels_last", **kwargs}
    plot_image_gallery(together, **given)


publish(globals())
