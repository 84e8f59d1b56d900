"""Image files, read and written by Pillow."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from cdl import ops
from cdl._common.errors import warn
from cdl._common.optional_imports import needed
from cdl._common.public_names import publish
from cdl._common.validation import one_of
from cdl.config import floatx, standardize_data_format

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]

MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
_KINDS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Load an image file as a Pillow image.

    Args:
        path: of the file, or an `io.BytesIO` of its bytes.
        color_mode: "rgb", "rgba" or "grayscale". Of 16 bits a channel "rgb" and "rgba" have the
            upper 8; "grayscale" leaves them as they are, up to 65535, and images of floats.
        target_size: (height, width), or None for the image's own.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: whether only the largest part in the middle that has the shape of
            `target_size` is taken.

    Raises:
        ImportError: Pillow is not there.
        TypeError: a path that is none.
        ValueError: an unknown color_mode or interpolation, or numbers that no 8 bits have.
    """
    if not isinstance(path, (io.BytesIO, str, bytes, os.PathLike)):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    one_of("load_img", "color_mode", color_mode, tuple(MODES))
    pillow = needed("PIL.Image", "images", "load_img")
    with pillow.open(path) as image:
        image.load()
    if color_mode != "grayscale" or not image.mode.startswith(("I", "F")):
        image = as_mode(image, MODES[color_mode], "load_img")
    if target_size is None or image.size == (target_size[1], target_size[0]):
        return image
    one_of("load_img", "interpolation", interpolation, _KINDS)
    height, width = target_size
    if image.mode.startswith("I;16") and interpolation != "nearest":
        image = image.convert("I")  # Pillow has no other filter for 16 bits
    box = None
    if keep_aspect_ratio:
        w, h = image.size
        of_h, of_w = min(h, w * height // width), min(w, h * width // height)
        left, top = (w - of_w) // 2, (h - of_h) // 2
        box = (left, top, left + of_w, top + of_h)
    return image.resize((width, height), getattr(pillow.Resampling, interpolation.upper()), box)


def as_mode(image: Any, mode: str, owner: str) -> Any:
    """Image of 8 bits a channel in one of Pillow's modes "L", "RGB" and "RGBA".

    Args:
        image: of any mode; of 16 bits the upper 8 count, as in readers of PNG files.
        mode: the other one.

    Raises:
        ValueError: numbers that no 8 bits have, or a mode that Pillow cannot convert.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = _of_array(np.asarray(image).astype("int64") >> 8)
    elif image.mode in ("I", "F"):
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 255):  # also of NaN
            raise ValueError(
                f"{owner}: color_mode must be 'grayscale' for an image of mode {image.mode!r} with "
                f"numbers beyond 0 to 255, got {values.min():g} to {values.max():g}: read it as "
                "such by Pillow, and scale it yourself"
            )
        image = _of_array(values)
    elif "transparency" in image.info and mode != "RGBA":
        image = image.convert("RGBA")  # the colors of what is transparent, without a warning
    if image.mode == mode:
        return image
    try:
        return image.convert(mode)
    except ValueError:  # such as from CMYK to L
        return image.convert("RGB").convert(mode)


def _of_array(values: Any) -> Any:
    """Image of mode "L" of an array."""
    return needed("PIL.Image", "images", "load_img").fromarray(values.astype("uint8"))


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> Any:
    """Convert a Pillow image to an array, (height, width, channels).

    Args:
        img: the image, or an array of two or three axes.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dtype: of the array; None is `config.floatx()`.

    Raises:
        ValueError: another number of axes, or an unknown data_format.
    """
    data_format = standardize_data_format(data_format, "img_to_array")
    x = np.asarray(img, dtype=dtype or floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"Unsupported image shape: {x.shape}")
    x = x[:, :, None] if x.ndim == 2 else x
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """Convert an array to a Pillow image.

    Args:
        x: of three axes, with 1, 3 or 4 channels.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        scale: whether the smallest number becomes 0 and the largest 255.
        dtype: in which that is computed; None is `config.floatx()`.

    Raises:
        ImportError: Pillow is not there.
        ValueError: another shape, or an unknown data_format.
    """
    data_format = standardize_data_format(data_format, "array_to_img")
    pillow = needed("PIL.Image", "images", "array_to_img")
    x = np.asarray(x, dtype=dtype or floatx())
    if x.ndim != 3:
        raise ValueError(
            f"Expected image array to have rank 3 (single image). Got array with shape: {x.shape}"
        )
    x = x.transpose(1, 2, 0) if data_format == "channels_first" else x
    if scale:
        x = x - x.min()
        x = x / (x.max() or 1) * 255
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"Unsupported channel number: {x.shape[2]}")
    if x.shape[2] == 1:
        return pillow.fromarray(x[:, :, 0].astype("int32" if x.max() > 255 else "uint8"))
    return pillow.fromarray(x.astype("uint8"))


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file.

    Args:
        path: of the file, or an open one.
        x: see `array_to_img`.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        file_format: such as "png"; None goes by the end of the path.
        scale: see `array_to_img`.
        kwargs: for Pillow's `save`.

    Raises:
        ImportError: Pillow is not there.
        ValueError: see `array_to_img`.
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(os.fspath(path))[1][1:]
    if file_format and file_format.lower() == "jpg":
        file_format = "jpeg"
    image = array_to_img(x, data_format, scale)
    if image.mode == "RGBA" and (file_format or "").lower() == "jpeg":
        warn("The JPEG format does not support RGBA images, converting to RGB.")
        image = image.convert("RGB")
    if image.mode == "I" and (file_format or "").lower() == "png":
        image = image.convert("I;16")  # all that such a file has for numbers beyond 255
    image.save(path, format=file_format or None, **kwargs)


def smart_resize(
    x: Any, size: Any, interpolation: str = "bilinear", data_format: str = "channels_last"
) -> Any:
    """Resize images without distortion: the largest central crop of that aspect ratio, resized.

    Args:
        x: (height, width, channels), or with an axis of samples in front.
        size: the new height and width.
        interpolation: as in `ops.image.resize`.
        data_format: "channels_last" or "channels_first".

    Raises:
        ValueError: another shape or size.
    """
    if len(size) != 2:
        raise ValueError(f"Expected `size` to be a tuple of 2 integers, but got: {size}.")
    if len(x.shape) not in (3, 4):
        raise ValueError(
            "Expected an image array with shape `(height, width, channels)`, or `(batch_size, "
            f"height, width, channels)`, but got input with incorrect rank, of shape {x.shape}."
        )
    standardize_data_format(data_format, "smart_resize")
    axis = len(x.shape) - 3 + (data_format == "channels_first")
    height, width = x.shape[axis : axis + 2]
    high = max(min(height, int(width * size[0] / size[1])), 1)
    wide = max(min(width, int(height * size[1] / size[0])), 1)
    top, left = int((height - high) / 2), int((width - wide) / 2)
    part = (slice(top, top + high), slice(left, left + wide))
    x = x[(slice(None),) * axis + part]
    return ops.image.resize(x, size, interpolation, data_format=data_format)


publish(globals())
