"""Cropping, padding and patches of images."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._common.validation import per_axis, whole
from cdl._tracing.operation import operation
from cdl.config import standardize_data_format
from cdl.ops.arrays import Ints, shape_of
from cdl.ops.image.planes import Plane, plane_of
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import concatenate, pad

# --- borders ---


def _ends(name: str, what: str, axis: str, n: int, given: tuple[Any, Any, Any]) -> tuple[int, int]:
    """Padding or cropping before and after an axis of n, from two of before, behind, new size.

    ValueError, by the names of function and axis, for any other number of them, or one below 0.
    """
    first, last = ("top", "bottom") if axis == "height" else ("left", "right")
    names = (f"{first}_{what}", f"{last}_{what}", f"target_{axis}")
    if sum(each is None for each in given) != 1:
        raise ValueError(
            f"{name}: Must specify exactly two of {', '.join(names)}; one is None. Got {given}"
        )
    for each, value in zip(names, given, strict=True):
        if value is not None:
            whole(name, each, value)
    before, behind, target = given
    more = -1 if what == "cropping" else 1
    if target is not None:
        left = more * (target - n)
        before = left - behind if before is None else before
        behind = left - before if behind is None else behind
    size = n + more * (before + behind)
    for each, value in zip(names, (before, behind, size), strict=True):
        if value < 0:
            raise ValueError(f"{name}: {each} must be >= 0, got {value}")
    return int(before), int(behind)


def _both(
    name: str, what: str, images: ArrayLike, data_format: str | None, *given: Any
) -> tuple[Plane, tuple[int, int], tuple[int, int]]:
    plane = plane_of(name, images, data_format)
    top, left, bottom, right, height, width = given
    return (
        plane,
        _ends(name, what, "height", plane.height, (top, bottom, height)),
        _ends(name, what, "width", plane.width, (left, right, width)),
    )


@operation()
def pad_images(
    images: ArrayLike,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Pad images with zeros.

    Of top, bottom and target height exactly one is None, and likewise across: it follows from the
    others.

    Args:
        images: of shape (n, height, width, channels), or one of them.
        top_padding: how many rows are put above.
        left_padding: how many columns are put on the left.
        bottom_padding: how many rows are put below.
        right_padding: how many columns are put on the right.
        target_height: how many rows there are in the end.
        target_width: how many columns there are in the end.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: another number of them is None, or one would be below 0.
    """
    given = (top_padding, left_padding, bottom_padding, right_padding, target_height, target_width)
    plane, rows, columns = _both("pad_images", "padding", images, data_format, *given)
    around = [(0, 0)] * plane.rank
    around[plane.rows], around[plane.columns] = rows, columns
    return pad(images, around)


@operation()
def crop_images(
    images: ArrayLike,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Crop the borders of images.

    Of top, bottom and target height exactly one is None, and likewise across: it follows from the
    others.

    Args:
        images: of shape (n, height, width, channels), or one of them.
        top_cropping: how many rows are taken away above.
        left_cropping: how many columns are taken away on the left.
        bottom_cropping: how many rows are taken away below.
        right_cropping: how many columns are taken away on the right.
        target_height: how many rows are left.
        target_width: how many columns are left.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Raises:
        ValueError: another number of them is None, or one would be below 0.
    """
    given = (
        top_cropping, left_cropping, bottom_cropping, right_cropping, target_height, target_width,
    )  # fmt: skip
    plane, rows, columns = _both("crop_images", "cropping", images, data_format, *given)
    key: list[Any] = [slice(None)] * plane.rank
    key[plane.rows] = slice(rows[0], plane.height - rows[1])
    key[plane.columns] = slice(columns[0], plane.width - columns[1])
    return get_item(images, tuple(key))


# --- patches ---


def _patches(
    name: str,
    images: ArrayLike,
    size: tuple[int, ...],
    strides: Any,
    dilation_rate: Ints,
    padding: str,
    data_format: str,
) -> Any:
    """Elements of all patches along the axis of the channels."""
    shape, n = shape_of(images), len(size)
    if len(shape) not in (n + 1, n + 2):
        raise ValueError(
            f"{name}: images must have {n + 2} axes, or {n + 1} for one, got shape {shape}"
        )
    last = data_format == "channels_last"
    lower = padding.lower() if isinstance(padding, str) else padding
    if lower not in ("valid", "same"):
        raise ValueError(f"{name}: padding must be 'valid' or 'same', got {padding!r}")
    start = len(shape) - n - 1
    channels = len(shape) - 1 if last else start
    first = start if last else start + 1
    steps = per_axis(name, "strides", strides, n)
    dilations = per_axis(name, "dilation_rate", dilation_rate, n)
    around = [(0, 0)] * len(shape)
    counts = []
    for axis, (k, stride, dilation) in enumerate(zip(size, steps, dilations, strict=True), first):
        reach, length = (k - 1) * dilation + 1, shape[axis]
        if lower == "same":
            count = -(-length // stride)
            more = max((count - 1) * stride + reach - length, 0)
            around[axis] = (more // 2, more - more // 2)
        else:
            count = (length - reach) // stride + 1
        if count < 1:
            raise ValueError(
                f"{name}: size must fit into images, got {size} for images of shape {shape}"
            )
        counts.append(count)
    images = pad(images, around)
    parts = []
    for tap in product(*map(range, size)):
        key: list[Any] = [slice(None)] * len(shape)
        for d, k in enumerate(tap):
            begin = k * dilations[d]
            key[first + d] = slice(begin, begin + (counts[d] - 1) * steps[d] + 1, steps[d])
        parts.append(get_item(images, tuple(key)))
    return concatenate(parts, channels)


def _sized(
    images: ArrayLike,
    size: Ints,
    strides: Ints,
    dilation_rate: Ints,
    padding: str,
    data_format: str,
) -> tuple[Any, ...]:
    """Arguments of a call with a size for each axis, and strides and format resolved.

    TypeError if a size is no int and no tuple.
    """
    name = "extract_patches"
    if not isinstance(size, (int, tuple, list)):
        raise TypeError(f"{name}: size must be an int or a tuple, got {size!r}")
    axes = 3 if not isinstance(size, int) and len(size) == 3 else 2
    sizes = per_axis(name, "size", size, axes)
    form = standardize_data_format(data_format, name)
    steps = sizes if strides is None else strides
    return images, sizes, steps, dilation_rate, padding, form


@operation(prepare=_sized)
def extract_patches(
    images: ArrayLike,
    size: Any,
    strides: Ints | None = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Extract patches of images, each as the channels of one place.

    Args:
        images: of shape (n, height, width, channels), or one of them; with three sizes volumes,
            (n, depth, height, width, channels).
        size: height and width of a patch, an int or two, or three for volumes.
        strides: how far apart patches are, likewise; None for `size`.
        dilation_rate: how far apart the numbers of a patch are, likewise.
        padding: "valid", or "same" with zeros around.
        data_format: "channels_last" or "channels_first"; None is the configured one.

    Returns:
        Images of patches: their channels are row by row of a patch, and of each place in turn.

    Raises:
        TypeError: `size` is no int and no tuple.
        ValueError: it does not fit.
    """
    form = standardize_data_format(data_format)
    return _patches("extract_patches", images, size, strides, dilation_rate, padding, form)


@described_by(extract_patches)
def extract_patches_3d(
    volumes: Any,
    size: Ints,
    strides: Ints | None = None,
    dilation_rate: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Extract patches of volumes, each as the channels of one place: see `extract_patches`.

    Args:
        volumes: of shape (n, depth, height, width, channels), or one of them.
        size: depth, height and width of a patch, an int or three.

    Raises:
        TypeError: another number of sizes.
    """
    if isinstance(size, (list, tuple)) and len(size) != 3:
        raise TypeError(f"extract_patches_3d: size must be an int or three of them, got {size!r}")
    sizes = per_axis("extract_patches_3d", "size", size, 3)
    return extract_patches(volumes, sizes, strides, dilation_rate, padding, data_format)
