"""Transformations of one image, with given or random parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import ops
from cdl._common.validation import one_of

FILLS = ("constant", "nearest", "reflect", "wrap")


def apply_affine_transform(
    x: Any,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> Any:
    """Rotate, shift, shear and zoom an image around its centre.

    Args:
        x: an image with three axes.
        theta: rotation angle in degrees.
        tx: shift in columns.
        ty: shift in rows.
        shear: shear angle in degrees.
        zx: zoom factor of the width; values above 1 shrink the image.
        zy: zoom factor of the height; values above 1 shrink the image.
        row_axis: the axis of the rows.
        col_axis: the axis of the columns.
        channel_axis: the axis of the channels.
        fill_mode: how to fill points outside the image: see `ops.image.affine_transform`.
        cval: fill value for "constant".
        order: 0 for nearest-neighbour interpolation, 1 for bilinear.
    """
    one_of("apply_affine_transform", "fill_mode", fill_mode, FILLS)
    one_of("apply_affine_transform", "order", order, (0, 1))
    image = np.moveaxis(np.asarray(x, "float32"), (row_axis, col_axis, channel_axis), (0, 1, 2))
    turn, slant = np.deg2rad(theta), np.deg2rad(shear)
    matrix = (
        np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        @ np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
        @ np.array([[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]])
        @ np.diag([zx, zy, 1])
    )
    middle = np.eye(3)
    middle[:2, 2] = np.array(image.shape[1::-1]) / 2 - 0.5
    m = middle @ matrix @ np.linalg.inv(middle)
    places = [*m[0], *m[1], 0, 0]
    found = ops.image.affine_transform(
        image,
        np.array(places, "float32"),
        "bilinear" if order else "nearest",
        fill_mode,
        cval,
        "channels_last",
    )
    return np.moveaxis(np.asarray(found), (0, 1, 2), (row_axis, col_axis, channel_axis))


def apply_channel_shift(x: Any, intensity: float, channel_axis: int = 0) -> Any:
    """Add a number to all channels, clipped to the range of the image."""
    return np.clip(x + intensity, np.min(x), np.max(x))


def apply_brightness_shift(x: Any, brightness: float, scale: bool = True) -> Any:
    """Multiply the brightness of an image by a factor, clipped to the valid range.

    Args:
        x: the image.
        brightness: the factor.
        scale: whether to rescale the image to [0, 255] first.
    """
    low, high = np.min(x), np.max(x)
    if scale:
        return np.clip((x - low) * (255 * brightness / ((high - low) or 1)), 0, 255)
    if low < 0 or high > 255:
        return np.clip((x - low) * brightness, 0, high - low) + low
    return np.clip(x * brightness, 0, 255 if high > 1 else 1)


def random_rotation(
    x: Any, rg: float, row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0, **fill: Any
) -> Any:
    """Rotate an image by a random angle of at most `rg` degrees."""
    axes = (row_axis, col_axis, channel_axis)
    return apply_affine_transform(
        x, np.random.uniform(-rg, rg), 0, 0, 0, 1, 1, *axes, **_fill(fill)
    )


def random_shift(
    x: Any,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    **fill: Any,
) -> Any:
    """Shift an image by random fractions of its width and height, at most `wrg` and `hrg`."""
    axes = (row_axis, col_axis, channel_axis)
    tx = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    ty = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    return apply_affine_transform(x, 0, tx, ty, 0, 1, 1, *axes, **_fill(fill))


def random_shear(
    x: Any,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    **fill: Any,
) -> Any:
    """Shear an image by a random angle of at most `intensity` degrees."""
    axes = (row_axis, col_axis, channel_axis)
    angle = np.random.uniform(-intensity, intensity)
    return apply_affine_transform(x, 0, 0, 0, angle, 1, 1, *axes, **_fill(fill))


def random_zoom(
    x: Any,
    zoom_range: Any,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    **fill: Any,
) -> Any:
    """Zoom an image by random factors within `zoom_range`."""
    axes = (row_axis, col_axis, channel_axis)
    zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)
    return apply_affine_transform(x, 0, 0, 0, 0, zx, zy, *axes, **_fill(fill))


def random_channel_shift(x: Any, intensity_range: float, channel_axis: int = 0) -> Any:
    """Add a random number of at most `intensity_range` in size to all channels."""
    shift = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, shift, channel_axis)


def random_brightness(x: Any, brightness_range: Any, scale: bool = True) -> Any:
    """Multiply the brightness of an image by a random factor within `brightness_range`."""
    return apply_brightness_shift(x, np.random.uniform(*brightness_range), scale)


def _fill(given: dict[str, Any]) -> dict[str, Any]:
    if unknown := given.keys() - {"fill_mode", "cval", "interpolation_order"}:
        raise TypeError(f"arguments not recognized: {sorted(unknown)}")
    order = given.pop("interpolation_order", 1)
    return {**given, "order": order}
