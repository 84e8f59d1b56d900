"""Changes of one image, chosen or at random."""

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
    """An image turned, moved, sheared and scaled around its middle.

    Args:
        x: of three axes.
        theta: by how much it is turned, in degrees.
        tx: by how many columns it is moved.
        ty: by how many rows.
        shear: in degrees.
        zx: how many columns of the image make one of the result.
        zy: how many rows.
        row_axis: which axis the rows are.
        col_axis: which axis the columns are.
        channel_axis: which axis the channels are.
        fill_mode: what stands beyond the borders: see `ops.image.affine_transform`.
        cval: what stands there with "constant".
        order: 0 for the nearest place, 1 for what lies between.
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
    """An image with a number added to all its channels, none beyond what is in it."""
    return np.clip(x + intensity, np.min(x), np.max(x))


def apply_brightness_shift(x: Any, brightness: float, scale: bool = True) -> Any:
    """An image brighter by a factor, none beyond the brightest.

    Args:
        x: the image.
        brightness: the factor.
        scale: whether the darkest and brightest of the image become 0 and 255 first.
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
    """An image turned by up to `rg` degrees."""
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
    """An image moved by up to these parts of its width and height."""
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
    """An image sheared by up to `intensity` degrees."""
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
    """An image scaled by factors between two numbers."""
    axes = (row_axis, col_axis, channel_axis)
    zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)
    return apply_affine_transform(x, 0, 0, 0, 0, zx, zy, *axes, **_fill(fill))


def random_channel_shift(x: Any, intensity_range: float, channel_axis: int = 0) -> Any:
    """An image with a number of up to that size added."""
    shift = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, shift, channel_axis)


def random_brightness(x: Any, brightness_range: Any, scale: bool = True) -> Any:
    """An image brighter by a factor between two numbers."""
    return apply_brightness_shift(x, np.random.uniform(*brightness_range), scale)


def _fill(given: dict[str, Any]) -> dict[str, Any]:
    if unknown := given.keys() - {"fill_mode", "cval", "interpolation_order"}:
        raise TypeError(f"arguments not recognized: {sorted(unknown)}")
    order = given.pop("interpolation_order", 1)
    return {**given, "order": order}
