"""Color conversions of images: grayscale and HSV."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import expected
from cdl._tracing.operation import Saved, operation
from cdl.ops.core.tensors import cast
from cdl.ops.image.planes import plane_of
from cdl.ops.numpy.arithmetic import abs as size
from cdl.ops.numpy.arithmetic import maximum, minimum
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import concatenate
from cdl.ops.numpy.rounding import clip, floor

_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as TensorFlow rounds it
_TINY = float(np.finfo(np.float32).eps)


def _channels(name: str, images: Any, data_format: str | None, known: tuple[int, ...]) -> int:
    """Axis of the channels, whose number is checked."""
    plane = plane_of(name, images, data_format)
    if plane.depth not in known:
        what = f"images of {' or '.join(map(str, known))} channels"
        raise expected(name, "images", what, f"shape {tuple(images.shape)}")
    return plane.channels


def _planes(images: Any, axis: int) -> list[Any]:
    """Channels one by one, each still with an axis for them."""
    key: list[Any] = [slice(None)] * len(images.shape)
    found = []
    for channel in range(3):
        key[axis] = slice(channel, channel + 1)
        found.append(get_item(images, tuple(key)))
    return found


def _floats(name: str, images: Any, data_format: str | None) -> tuple[int, list[Any]]:
    axis = _channels(name, images, data_format, (3,))
    if np.dtype(images.dtype).kind != "f":
        raise expected(name, "images", "floats", f"dtype {images.dtype}")
    return axis, _planes(images, axis)


@operation(saved=Saved("RGBToGrayscale"))
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """Convert RGB images to grayscale: 0.2989, 0.587 and 0.114 of red, green and blue.

    Args:
        images: of three channels; those of one stay as they are.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        Images of one channel, of the same dtype.
    """
    axis = _channels("rgb_to_grayscale", images, data_format, (1, 3))
    if images.shape[axis] == 1:
        return images
    red, green, blue = _planes(cast(images, "float32"), axis)
    grey = red * _GREY[0] + green * _GREY[1] + blue * _GREY[2]
    return cast(grey, str(images.dtype))


@operation(saved=Saved("RGBToHSV"))
def rgb_to_hsv(images: ArrayLike, data_format: str | None = None) -> Any:
    """Convert RGB images to hue, saturation and value, all from 0 to 1.

    Args:
        images: floats from 0 to 1, of three channels.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: whole numbers, or other channels.
    """
    axis, planes = _floats("rgb_to_hsv", images, data_format)
    red, green, blue = (where(size(plane) < _TINY, 0.0, plane) for plane in planes)
    value = maximum(maximum(red, green), blue)
    spread = value - minimum(minimum(red, green), blue)
    saturation = where(value > 0.0, spread / where(value > 0.0, value, 1.0), 0.0)
    sixth = 1.0 / (6.0 * where(spread > 0.0, spread, 1.0))
    hue = where(value == green, sixth * (blue - red) + 2.0 / 6.0, sixth * (red - green) + 4.0 / 6.0)
    hue = where(value == red, sixth * (green - blue), hue)
    hue = where(spread > 0.0, hue, 0.0)
    return concatenate([where(hue < 0.0, hue + 1.0, hue), saturation, value], axis)


@operation(saved=Saved("HSVToRGB"))
def hsv_to_rgb(images: ArrayLike, data_format: str | None = None) -> Any:
    """Convert images of hue, saturation and value, all from 0 to 1, to RGB.

    Args:
        images: floats, of three channels.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: whole numbers, or other channels.
    """
    axis, (hue, saturation, value) = _floats("hsv_to_rgb", images, data_format)
    turn = (hue - floor(hue)) * 6.0
    red = clip(size(turn - 3.0) - 1.0, 0.0, 1.0)
    green = clip(2.0 - size(turn - 2.0), 0.0, 1.0)
    blue = clip(2.0 - size(turn - 4.0), 0.0, 1.0)
    pale = 1.0 - saturation
    return concatenate([value * (pale + saturation * c) for c in (red, green, blue)], axis)
