"""Checks of images: their rank, and the axes of height, width and channels."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from cdl._common.validation import positive_int
from cdl.config import standardize_data_format
from cdl.ops.arrays import shape_of


class Plane(NamedTuple):
    """Axes of images, and their sizes.

    Attributes:
        rank: 3 for one image, 4 for several.
        rows: the axis of the height.
        columns: that of the width.
        channels: that of the channels.
        height: how many rows there are.
        width: how many columns.
        depth: how many channels.
    """

    rank: int
    rows: int
    columns: int
    channels: int
    height: int
    width: int
    depth: int


def plane_of(
    name: str, images: ArrayLike, data_format: str | None, argument: str = "images"
) -> Plane:
    """Axes of images, found and checked.

    Args:
        name: of the function, for errors.
        images: of any kind.
        data_format: theirs; None is the configured one.
        argument: how the function calls them.

    Raises:
        ValueError: images of another rank than 3 or 4, or an axis whose size is not known.
    """
    shape = shape_of(images)
    alone = len(shape) == 3 and not getattr(images, "rows_per_sample", 0)
    if len(shape) != 4 and not alone:
        raise ValueError(
            f"{name}: {argument} must have 4 axes, or 3 for one image, got shape {shape}"
        )
    first = len(shape) - 3
    last = standardize_data_format(data_format, name) == "channels_last"
    rows, channels = (first, first + 2) if last else (first + 1, first)
    if None in shape[first:]:
        raise ValueError(f"{name}: {argument} must have sizes that are known, got shape {shape}")
    sizes = (shape[rows], shape[rows + 1], shape[channels])
    return Plane(len(shape), rows, rows + 1, channels, *map(int, sizes))


def size_of(name: str, size: Any, argument: str = "size") -> tuple[int, int]:
    """Check a height and a width.

    Raises:
        ValueError: something else.
    """
    try:
        height, width = size
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {argument} must be (height, width), got {size!r}") from None
    return positive_int(name, argument, height), positive_int(name, argument, width)
