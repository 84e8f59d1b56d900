"""image_dataset_from_directory: image files labelled by their folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import ops
from cdl._common.optional_imports import needed
from cdl._common.shared_arguments import described_by
from cdl._common.validation import one_of, positive_int
from cdl.config import standardize_data_format
from cdl.preprocessing.image import MODES, as_mode, load_img, smart_resize
from cdl.utils.directory_files import DirectoryFiles, from_directory
from cdl.utils.text_files import text_dataset_from_directory

_OWNER = "image_dataset_from_directory"
_KINDS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")


@described_by(text_dataset_from_directory)
def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> DirectoryFiles | list[DirectoryFiles]:
    """Batches of the images of a directory, in one size, labelled by their folders.

    Args:
        color_mode: "rgb", "rgba" or "grayscale".
        batch_size: images in a batch; None for images one by one.
        image_size: the height and width that all get, or one int for both.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: whether the largest part in the middle that has the shape of
            `image_size` is taken, so that nothing is distorted.
        pad_to_aspect_ratio: whether zeros are put around for that.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        As `text_dataset_from_directory`, with images of float32 from 0 to 255, of 16 bits
        a channel the upper 8: .bmp, .gif (the
        first picture), .jpeg, .jpg and .png.

    Raises:
        ImportError: Pillow is not there.
        ValueError: arguments that do not fit together, or no files.
        OSError: the folder or a file cannot be read.
    """
    one_of(_OWNER, "color_mode", color_mode, tuple(MODES))
    one_of(_OWNER, "format", format, ("tf", "grain"))
    one_of(_OWNER, "interpolation", str(interpolation).lower(), _KINDS)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise ValueError(
            "Invalid `image_size` value. Expected a tuple of 2 integers. Received: "
            f"image_size={image_size}"
        )
    size = tuple(positive_int(_OWNER, "image_size", each) for each in size)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio`, `crop_to_aspect_ratio` can be set to `True`."
        )
    data_format = standardize_data_format(data_format, _OWNER)
    needed("PIL.Image", "images", _OWNER)
    kind = interpolation.lower()

    def read(path: str) -> Any:
        image = load_img(path, color_mode)
        x = np.asarray(as_mode(image, MODES[color_mode], _OWNER), np.float32)
        x = x[:, :, None] if x.ndim == 2 else x
        if crop_to_aspect_ratio:
            x = smart_resize(x, size, kind)
        elif pad_to_aspect_ratio:
            x = _padded(x, size, kind)
        else:
            x = ops.image.resize(x, size, kind, data_format="channels_last")
        x = x.astype(np.uint8) if kind == "nearest" else x
        return x.transpose(2, 0, 1) if data_format == "channels_first" else x

    given = (directory, labels, label_mode, class_names, batch_size, shuffle, seed)
    split = (validation_split, subset, follow_links, verbose)
    suffixes = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
    return from_directory(_OWNER, suffixes, read, np.stack, *given, *split)


def _padded(x: Any, size: tuple[int, ...], kind: str) -> Any:
    """Image in the largest size that fits, centered, as `tf.image.resize_with_pad`."""
    ratio = max(n / wanted for n, wanted in zip(x.shape, size, strict=False))
    inner = [n / ratio for n in x.shape[:2]]
    fits = tuple(int(n) for n in inner)
    top, left = (max(0, int((wanted - n) / 2)) for n, wanted in zip(inner, size, strict=True))
    found = np.zeros((*size, x.shape[2]), np.float32)
    image = ops.image.resize(x, fits, kind, data_format="channels_last")
    found[top : top + fits[0], left : left + fits[1]] = image
    return found
