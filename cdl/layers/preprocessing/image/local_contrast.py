"""ContrastLimitedAdaptiveHistogramEqualization: histogram equalization by tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import number, per_axis
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import operation
from cdl.layers.arguments import LayerArguments, NDArray, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.image_layer import ImageLayer
from cdl.layers.preprocessing.image.random_image import checked_values, scaled
from cdl.ops.numpy.shapes import moveaxis

_LEVELS = 256


def _tables(tiles: NDArray[Any], clip_limit: float) -> NDArray[Any]:
    """New level of each level in each tile, (tiles, 256), from the tiles' levels."""
    count, area = tiles.shape
    marked = tiles + _LEVELS * np.arange(count)[:, None]
    counts = np.bincount(marked.ravel(), minlength=count * _LEVELS).reshape(count, _LEVELS)
    lines = counts.astype(np.float32)
    if clip_limit > 0:
        cut = np.minimum(lines, np.float32(clip_limit * area / _LEVELS))
        lines = cut + (lines - cut).sum(-1, keepdims=True) / np.float32(_LEVELS)
    below = np.cumsum(lines, -1)
    least = below[:, :1]
    rest = np.float32(area) - least
    return np.clip((below - least) * 255 / np.where(rest == 0, np.float32(1), rest), 0, 255)


def _between(n: int, side: int, tiles: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Tiles before and after each of n places, and how near the latter is, from 0 to 1."""
    at = (np.arange(n, dtype=np.float32) - np.float32(side / 2)) / np.float32(side)
    before = np.floor(at).astype(int)
    places = [np.clip(before + i, 0, tiles - 1) for i in (0, 1)]
    return places[0], places[1], at - before.astype(np.float32)


@operation(on_arrays())
def _equalized(images: ArrayLike, clip_limit: float, grid: tuple[int, ...]) -> Any:
    """Images of levels from 0 to 255, (n, height, width, channels), equalized by tiles.

    Args:
        images: their levels are cut to ints.
        clip_limit: see the layer.
        grid: numbers of tiles down and across.
    """
    x = np.asarray(images)
    n, height, width, channels = x.shape
    if not x.size:
        return x
    levels = np.clip(np.where(np.isnan(x), 0, x), 0, 255).astype(np.int64)
    rows, columns = grid
    high, wide = -(-height // rows), -(-width // columns)
    ends = [(0, 0), (0, rows * high - height), (0, columns * wide - width), (0, 0)]
    tiles = np.pad(levels, ends, "symmetric").reshape(n, rows, high, columns, wide, channels)
    tables = _tables(tiles.transpose(0, 1, 3, 5, 2, 4).reshape(-1, high * wide), clip_limit)
    tables = tables.reshape(n, rows, columns, channels, _LEVELS)
    image, channel = np.arange(n)[:, None, None, None], np.arange(channels)

    top, bottom, down = (y[:, None, None] for y in _between(height, high, rows))
    left, right, across = (y[:, None] for y in _between(width, wide, columns))
    lines = [
        tables[image, row, left, channel, levels] * (1 - across)
        + tables[image, row, right, channel, levels] * across
        for row in (top, bottom)
    ]
    return np.where(np.isnan(x), x, lines[0] * (1 - down) + lines[1] * down)


@registry.add()
class ContrastLimitedAdaptiveHistogramEqualization(ImageLayer):
    """Histogram equalization of each part of an image (CLAHE), by channel; in training and outside.

    Each tile has a table from levels to levels: the part of the tile's places that are not
    brighter, after no level has been counted more than ``clip_limit`` times the mean count, and the
    rest has been spread over all levels. A place gets a mean of the tables of the tiles around it,
    by how near their centers are. Whole numbers stay whole where the layer is called on arrays.
    In a model it runs in Python, and no gradient passes.

    Args:
        value_range: the lowest and the highest number of images.
        clip_limit: how often a level counts at most, as a multiple of the mean; 0 or less for any.
        tile_grid_size: numbers of tiles down and across.

    Raises:
        ValueError: an invalid range or grid.
    """

    def __init__(
        self,
        value_range: float | Sequence[float] = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: tuple[int, int] = (8, 8),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        owner = type(self).__name__
        self.value_range = checked_values(self, value_range)
        self.clip_limit = number(owner, "clip_limit", clip_limit)
        self.tile_grid_size = per_axis(owner, "tile_grid_size", tile_grid_size, 2)

    def transform(self, images: Any, drawn: Any) -> Any:
        axis = 3 if self.data_format == "channels_last" else 1
        x = moveaxis(scaled(images, self.value_range, (0, 255)), axis, -1)
        found = _equalized(x, self.clip_limit, self.tile_grid_size)
        return moveaxis(scaled(found, (0, 255), self.value_range), -1, axis)

    def _finished(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        return y.astype(x.dtype) if x.dtype.kind in "biu" else y
