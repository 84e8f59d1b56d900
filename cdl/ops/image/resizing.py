"""Resizing of images by interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import flag, number, one_of
from cdl._ir import resizing
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import Ints, axes_of, real
from cdl.ops.core.tensors import cast
from cdl.ops.image.planes import Plane, plane_of, size_of
from cdl.ops.lowering import sample_axis, value_of
from cdl.ops.numpy.indexing import get_item, take
from cdl.ops.numpy.joining import pad
from cdl.ops.numpy.rounding import clip
from cdl.ops.numpy.rounding import round as round_to_even

KINDS = ("nearest", *resizing.KERNELS)


# --- one axis ---


def _weighed(program: Lowering, spec: KerasTensor, x: ArrayLike, axis: int, factor: Any) -> Any:
    return resizing.weigh(program, value_of(program, x), sample_axis(x, axis), factor)


@operation(_weighed)
def _sums_along(x: ArrayLike, axis: int, factor: ArrayLike) -> Any:
    """Weighted sums along an axis of an array, by the rows of a matrix."""
    return np.moveaxis(np.tensordot(np.asarray(factor, np.float32), real(x), (1, axis)), 0, axis)


# --- what stays of an image, or comes around it ---


def _kept(plane: Plane, height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest part of an image with the aspect ratio of a size."""
    rows = max(min(plane.height, int(float(plane.width * height) / width)), 1)
    columns = max(min(plane.width, int(float(plane.height * width) / height)), 1)
    return rows, columns


def _cropped(images: ArrayLike, plane: Plane, height: int, width: int) -> Any:
    key: list[Any] = [slice(None)] * plane.rank
    sizes = zip((plane.height, plane.width), _kept(plane, height, width), strict=True)
    for axis, (n, kept) in enumerate(sizes, plane.rows):
        first = (n - kept) // 2
        key[axis] = slice(first, first + kept)
    return get_item(images, tuple(key))


def _padded(images: ArrayLike, plane: Plane, height: int, width: int, value: float) -> Any:
    rows = max(plane.height, int(float(plane.width * height) / width))
    columns = max(plane.width, int(float(plane.height * width) / height))
    around = [(0, 0)] * plane.rank
    above = (rows - plane.height) // 2
    if above:
        around[plane.rows] = (above, above)
    else:
        left = (columns - plane.width) // 2
        around[plane.columns] = (left, left)
    return pad(images, around, "constant", constant_values=value)


@operation(saved=Saved(statics=("fill_value",)))
def resize(
    images: ArrayLike,
    size: Ints,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Resize images by interpolation; integers stay integers, rounded.

    Args:
        images: of shape (n, height, width, channels), or one of them.
        size: the new height and width.
        interpolation: "nearest", "bilinear", "bicubic" (Keys, a = -0.5), "lanczos3", "lanczos5".
        antialias: whether shrinking weighs all that a new place covers; not with "nearest".
        crop_to_aspect_ratio: whether the largest part in the middle that has the shape of `size` is
            taken, so that nothing is distorted.
        pad_to_aspect_ratio: whether `fill_value` is put around for that, as much on both sides.
        fill_mode: "constant".
        fill_value: what is put around.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: another rank, size, or name; or both ways to keep the shape.
    """
    height, width = size_of("resize", size)
    one_of("resize", "interpolation", interpolation, KINDS)
    one_of("resize", "fill_mode", fill_mode, ("constant",))
    plane = plane_of("resize", images, data_format)
    if flag("resize", "crop_to_aspect_ratio", crop_to_aspect_ratio):
        if flag("resize", "pad_to_aspect_ratio", pad_to_aspect_ratio):
            raise ValueError("resize: pad_to_aspect_ratio must be False with crop_to_aspect_ratio")
        images = _cropped(images, plane, height, width)
    elif flag("resize", "pad_to_aspect_ratio", pad_to_aspect_ratio):
        value = number("resize", "fill_value", fill_value)
        images = _padded(images, plane, height, width, value)
    new = images
    sizes = plane_of("resize", images, data_format)
    for axis, (n, wanted) in enumerate(((sizes.height, height), (sizes.width, width)), plane.rows):
        if n == wanted:
            continue
        if interpolation == "nearest":
            new = take(new, np.array(resizing.nearest(n, wanted)), axis)
        else:
            new = _sums_along(
                new, axis, resizing.weights(interpolation, n, wanted, bool(antialias))
            )
    return new if interpolation == "nearest" or new is images else as_before(new, images)


def as_before(new: Any, before: Any) -> Any:
    """Numbers in the dtype of others: integers are rounded and clipped."""
    dtype = np.dtype(getattr(before, "dtype", "float32"))
    if dtype.kind not in "iu":
        return new
    limits = np.iinfo(dtype)
    return cast(clip(round_to_even(new), limits.min, limits.max), dtype.name)


# --- scaled and moved ---

_METHODS = {
    **{name: "bilinear" for name in ("linear", "bilinear", "trilinear")},
    **{name: "bicubic" for name in ("cubic", "bicubic", "tricubic")},
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
}


def _whole_shape(
    images: ArrayLike, output_shape: Any, scale: ArrayLike, translation: Any, *_: Any
) -> str:
    """Reason why it cannot be traced; "" if it can."""
    if any(hasattr(each, "rows_per_sample") for each in (scale, translation)):
        return "its scale and translation must be known: use cdl.ops.image.affine_transform"
    return ""


def _scaled_outline(images: KerasTensor, output_shape: Any, *_: Any) -> KerasTensor:
    sizes = tuple(output_shape)
    return images.like(sizes) if len(sizes) == images.ndim else KerasTensor(sizes)


@operation(untraced=_whole_shape, outline=_scaled_outline)
def scale_and_translate(
    images: Any,
    output_shape: Any,
    scale: ArrayLike,
    translation: Any,
    spatial_dims: Any,
    method: str,
    antialias: bool = True,
) -> Any:
    """Scale and translate an array along some axes, by interpolation.

    Place x comes to ``x * scale + translation``; what comes from beyond the ends is 0.

    Args:
        images: an array of any shape.
        output_shape: of the result.
        scale: how much larger, a number for each of `spatial_dims`.
        translation: how far it is moved along each of them.
        spatial_dims: the axes.
        method: "linear", "cubic" (also "bilinear", "trilinear", "bicubic", "tricubic"), "lanczos3"
            or "lanczos5".
        antialias: whether shrinking weighs all that a new place covers.

    Raises:
        ValueError: another method, or numbers that are not one for each axis.
    """
    name = "scale_and_translate"
    kind = _METHODS[one_of(name, "method", method, tuple(_METHODS))]
    axes = [axes_of(int(axis), len(images.shape))[0] for axis in spatial_dims]
    scales, moves = (np.asarray(each, np.float64).ravel() for each in (scale, translation))
    if not len(axes) == len(scales) == len(moves):
        raise ValueError(
            f"{name}: scale and translation must have a number for each of spatial_dims, got "
            f"{len(scales)} and {len(moves)} for {len(axes)}"
        )
    sizes = tuple(output_shape)
    if len(sizes) != len(images.shape):
        raise ValueError(
            f"{name}: output_shape must have a size for each axis of images, got {sizes} for shape "
            f"{tuple(images.shape)}"
        )
    for axis, by, move in zip(axes, scales.tolist(), moves.tolist(), strict=True):
        n, new = int(images.shape[axis]), int(sizes[axis])
        factor = resizing.weights(kind, n, new, bool(antialias), by, move)
        images = _sums_along(images, axis, factor)
    return images
