"""Patches of images as columns (unfold, fold) or channels (space and depth)."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._common.validation import per_axis, whole
from cdl._tracing.operation import tensor_operation
from cdl.config import standardize_data_format
from cdl.ops.arrays import Ints, shape_of
from cdl.ops.numpy.arithmetic import add
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import pad, stack
from cdl.ops.numpy.shapes import reshape, transpose


class _Patches:
    """Checked arguments of `unfold` and `fold`, and the layout of patches."""

    def __init__(
        self, name: str, size: Ints, sizes: Any, dilation: Any, padding: str, stride: Any
    ) -> None:
        self.size = per_axis(name, "kernel_size", size, 2)
        self.dilation = per_axis(name, "dilation", dilation, 2)
        self.padding = per_axis(name, "padding", padding, 2, least=0)
        self.stride = per_axis(name, "stride", stride, 2)
        each = zip(sizes, self.size, self.dilation, self.padding, self.stride, strict=True)
        self.counts = [(n + 2 * p - (k - 1) * r - 1) // s + 1 for n, k, r, p, s in each]
        if min(self.counts) < 1:
            raise ValueError(
                f"{name}: kernel_size must fit into the image, got {self.size} with dilation "
                f"{self.dilation} and padding {self.padding} for an image of {tuple(sizes)}"
            )

    def taps(self) -> list[tuple[int, int]]:
        """Places within a patch."""
        return [(i, j) for i in range(self.size[0]) for j in range(self.size[1])]

    def seen(self, tap: tuple[int, int]) -> tuple[slice, slice]:
        """Places in the padded image of one place of all patches."""
        first, second = (
            slice(k * r, k * r + (n - 1) * s + 1, s)
            for k, r, n, s in zip(tap, self.dilation, self.counts, self.stride, strict=True)
        )
        return first, second


@tensor_operation()
def unfold(
    x: ArrayLike, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Patches of images, each as a column (im2col).

    Args:
        x: images of shape (n, channels, height, width), whatever the configured data format is.
        kernel_size: height and width of a patch, an int or two.
        dilation: how far apart the numbers of a patch are, likewise.
        padding: how many zeros there are around an image, likewise.
        stride: how far apart patches are, likewise.

    Returns:
        An array of shape (n, channels * height * width of a patch, patches).
    """
    shape = shape_of(x)
    if len(shape) != 4:
        raise ValueError(f"unfold: x must have 4 axes, got shape {shape}")
    patches = _Patches("unfold", kernel_size, shape[2:], dilation, padding, stride)
    x = pad(x, ((0, 0), (0, 0), *((p, p) for p in patches.padding)))
    every = slice(None)
    parts = [get_item(x, (every, every, *patches.seen(tap))) for tap in patches.taps()]
    rows, columns = patches.counts
    return reshape(stack(parts, 2), (-1, shape[1] * len(parts), rows * columns))


@tensor_operation()
@described_by(unfold)
def fold(
    x: ArrayLike,
    output_size: Any,
    kernel_size: Ints,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Images from patches, the inverse of `unfold`; overlaps are added.

    Args:
        x: of shape (n, channels * height * width of a patch, patches).
        output_size: height and width of the images, an int or two.

    Returns:
        An array of shape (n, channels, height, width).
    """
    shape = shape_of(x)
    if len(shape) != 3:
        raise ValueError(f"fold: x must have 3 axes, got shape {shape}")
    sizes = per_axis("fold", "output_size", output_size, 2)
    patches = _Patches("fold", kernel_size, sizes, dilation, padding, stride)
    taps, (rows, columns) = patches.taps(), patches.counts
    channels, left = divmod(shape[1], len(taps))
    if left or shape[2] != rows * columns:
        raise ValueError(
            f"fold: x must have (n, a multiple of {len(taps)}, {rows * columns}) numbers, got "
            f"shape {shape}"
        )
    x = reshape(x, (-1, channels, len(taps), rows, columns))
    total: Any = 0.0
    for place, tap in enumerate(taps):
        total = add(total, _spread(x, place, tap, patches, sizes))
    cut = [slice(p, p + n) for p, n in zip(patches.padding, sizes, strict=True)]
    return get_item(total, (slice(None), slice(None), *cut))


def _spread(
    x: ArrayLike, place: int, tap: tuple[int, int], patches: _Patches, sizes: tuple[int, ...]
) -> Any:
    """One place of all patches in the padded image, with zeros elsewhere."""
    part = get_item(x, (slice(None), slice(None), place))
    for axis, (k, n) in enumerate(zip(tap, patches.counts, strict=True), 2):
        stride, start = patches.stride[axis - 2], k * patches.dilation[axis - 2]
        shape = shape_of(part)
        sparse = reshape(part, (-1, *shape[1 : axis + 1], 1, *shape[axis + 1 :]))
        gaps = [(0, 0)] * (len(shape) + 1)
        gaps[axis + 1] = (0, stride - 1)
        part = reshape(pad(sparse, gaps), (-1, *shape[1:axis], n * stride, *shape[axis + 1 :]))
        whole_axis = sizes[axis - 2] + 2 * patches.padding[axis - 2]
        end = (n - 1) * stride + 1
        keys = [slice(None)] * len(shape)
        keys[axis] = slice(0, end)
        ends = [(0, 0)] * len(shape)
        ends[axis] = (start, whole_axis - start - end)
        part = pad(get_item(part, tuple(keys)), ends)
    return part


def _blocks(name: str, x: ArrayLike, block_size: Any, data_format: str) -> tuple[int, str, Any]:
    """Checked arguments, and the shape of images."""
    b, shape = whole(name, "block_size", block_size), shape_of(x)
    if b < 2:
        raise ValueError(f"{name}: block_size must be an int >= 2, got {block_size}")
    if len(shape) != 4:
        raise ValueError(f"{name}: x must have 4 axes, got shape {shape}")
    return b, standardize_data_format(data_format, name), shape


@tensor_operation()
def depth_to_space(x: ArrayLike, block_size: int, data_format: str = "channels_last") -> Any:
    """Rearrange channels into blocks of places.

    Args:
        x: images of shape (n, height, width, channels): channel ``(i * b + j) * c + k`` is channel
            k of place (i, j) of a block. With "channels_first" it is channel ``(k * b + i) * b +
            j``.
        block_size: b, height and width of a block.
        data_format: "channels_last" or "channels_first".
    """
    b, form, shape = _blocks("depth_to_space", x, block_size, data_format)
    last = form == "channels_last"
    channels, left = divmod(shape[-1] if last else shape[1], b * b)
    if left:
        raise ValueError(
            f"depth_to_space: block_size**2 must divide the channels, got block_size={b} for x of "
            f"shape {shape} with data_format={form!r}"
        )
    if last:
        h, w = shape[1:3]
        parts = transpose(reshape(x, (-1, h, w, b, b, channels)), (0, 1, 3, 2, 4, 5))
        return reshape(parts, (-1, h * b, w * b, channels))
    h, w = shape[2:]
    parts = transpose(reshape(x, (-1, channels, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(parts, (-1, channels, h * b, w * b))


@tensor_operation()
def space_to_depth(x: ArrayLike, block_size: int, data_format: str = "channels_last") -> Any:
    """Rearrange blocks of places into channels: the inverse of `depth_to_space`.

    Args:
        x: images of shape (n, height, width, channels), or (n, channels, height, width).
        block_size: height and width of a block.
        data_format: "channels_last" or "channels_first".
    """
    b, form, shape = _blocks("space_to_depth", x, block_size, data_format)
    last = form == "channels_last"
    h, w = shape[1:3] if last else shape[2:]
    if h % b or w % b:
        raise ValueError(
            f"space_to_depth: block_size must divide height and width, got block_size={b} for x "
            f"of shape {shape} with data_format={form!r}"
        )
    if last:
        channels = shape[3]
        parts = transpose(reshape(x, (-1, h // b, b, w // b, b, channels)), (0, 1, 3, 2, 4, 5))
        return reshape(parts, (-1, h // b, w // b, b * b * channels))
    channels = shape[1]
    parts = transpose(reshape(x, (-1, channels, h // b, b, w // b, b)), (0, 1, 3, 5, 2, 4))
    return reshape(parts, (-1, channels * b * b, h // b, w // b))
