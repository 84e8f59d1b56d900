"""Checks of shapes that users give to layers."""

from __future__ import annotations

from typing import Any

from cdl._common.validation import expected, is_int, positive_int
from cdl._tracing.keras_tensor import known_samples

Shape = tuple[int | None, ...]


def given_input_shape(owner: str, kwargs: dict[str, Any]) -> Shape | None:
    """Sample shape of `input_dim` or `input_shape`, removed from `kwargs`."""
    if "input_dim" in kwargs:
        dim = kwargs.pop("input_dim")
        return None if dim is None else (positive_int(owner, "input_dim", dim),)
    shape = kwargs.pop("input_shape", None)
    return None if shape is None else checked_shape(owner, "input_shape", shape)


def checked_shape(owner: str, name: str, shape: Any) -> Shape:
    """Shape as a tuple of sizes, None for unknown ones.

    Raises:
        ValueError: no tuple or list of sizes.
    """
    if not isinstance(shape, (tuple, list)):
        raise expected(owner, name, "a tuple of sizes", shape)
    for size in shape:
        if size is not None and not is_int(size, 0):
            raise expected(owner, name, "a tuple of sizes, each an int >= 0 or None", shape)
    return tuple(None if size is None else int(size) for size in shape)


def axes_within(owner: str, axis: Any, shape: Shape) -> tuple[int, ...]:
    """Sorted axes of a shape, batch axis included, for `axis` (an int or several).

    Raises:
        ValueError: the shape has no such axis, or it is named twice.
    """
    n, found = len(shape), set()
    for each in axis if isinstance(axis, (list, tuple)) else [axis]:
        if not -n <= each < n:
            raise ValueError(f"{owner}: axis must be within the {n} axes of the input, got {axis}")
        if each % n in found:
            raise ValueError(f"{owner}: axis must name each axis once, got {axis}")
        found.add(each % n)
    return tuple(sorted(found))


def sizes_of(owner: str, axes: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Sizes of some axes of a shape.

    Raises:
        ValueError: one of them has a size that is not known, as the batch axis has by itself.
    """
    if 0 in axes and shape[0] is None:
        raise ValueError(
            f"{owner}: axis must not be the axis of the samples, or Input(batch_shape=...) must "
            f"tell how many these are, got {axes}"
        )
    sizes = tuple(shape[axis] for axis in axes)
    if None in sizes:
        raise ValueError(f"{owner}: axis must have a size that is known, got shape {shape}")
    return tuple(int(size) for size in sizes if size is not None)


def lines_within(owner: str, axis: Any, shape: Shape) -> tuple[int, ...]:
    """Sorted axes of a shape, as `axes_within` gives them, all of known sizes.

    Raises:
        ValueError: an axis that the shape does not have, or has without a size: that of the samples
            has one in programs for batches of so many.
    """
    axes = axes_within(owner, axis, shape)
    if axes[:1] != (0,) or known_samples() is None:
        sizes_of(owner, axes, shape)
    else:
        sizes_of(owner, axes[1:], shape)
    return axes


def image_of(shape: Shape, data_format: str) -> tuple[Shape, int | None]:
    """Sizes of the images of a batch, and the number of their channels."""
    if data_format == "channels_last":
        return shape[1:-1], shape[-1]
    return shape[2:], shape[1]


def batch_of(samples: int | None, sizes: Shape, channels: int | None, data_format: str) -> Shape:
    """Shape of a batch of images."""
    if data_format == "channels_last":
        return (samples, *sizes, channels)
    return (samples, channels, *sizes)
