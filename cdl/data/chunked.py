"""Arrays in files read by slices, such as those of HDF5 and Zarr.

What has `chunks` beside an array's `shape`, `dtype` and slices is such an array. Small ones are
read whole, as anything else that becomes an array; large ones are read in windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl.data.arrays import REAL_KINDS, as_numeric
from cdl.data.windows import PART, TOGETHER, bytes_of_row, packed

LARGE = 250_000_000  # bytes that are not read whole
_INPUTS = 100  # of a model, as many as are looked at
_BLOCK = 4 * PART  # bytes of a block: a seek of a disk is a small part of the time


def is_chunked(value: Any) -> bool:
    """Whether `value` is an array read by slices."""
    if isinstance(value, np.ndarray) or not hasattr(value, "chunks"):
        return False
    return all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__"))


def is_large(*parts: Any) -> bool:
    """Whether such arrays are among x, y and weights, and too large to read whole."""
    found = [leaf for part in parts for leaf in _chunked(part)]
    sizes = [math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in found]
    return bool(sum(sizes) > LARGE)


def _chunked(part: Any) -> Iterator[Any]:
    """Chunked arrays among x, y or weights; a list of numbers is not searched."""
    if isinstance(part, dict):
        part = tuple(part.values())
    if isinstance(part, (list, tuple)):
        for each in part[:_INPUTS]:
            yield from _chunked(each)
    elif is_chunked(part):
        yield part


class ChunkedArrays:
    """Source of windows from chunked arrays: see `windows.Source`.

    Args:
        x: samples: such an array, or a list or dict of them and of other arrays.
        y: targets, likewise.
        weight: sample weights, likewise.
        start: the first row.
        stop: the row behind the last one, None for all.

    Raises:
        ValueError: arrays of different lengths, or of what are no real numbers.
    """

    once = False
    together = TOGETHER
    columns = None

    def __init__(
        self, x: Any, y: Any, weight: Any, call: str, start: int = 0, stop: int | None = None
    ) -> None:
        self.name = f"{call}: x"
        self._given = x, y, weight
        self._parts = tuple(
            tree.map_structure(lambda leaf, name=name: _readable(leaf, f"{call}: {name}"), part)
            for part, name in zip(_leafed((x, y, weight)), ("x", "y", "sample_weight"), strict=True)
        )
        self._leaves = [leaf for leaf in tree.flatten(self._parts) if leaf is not None]
        lengths = sorted({leaf.shape[0] for leaf in self._leaves})
        if len(lengths) > 1 or not lengths[0]:
            raise ValueError(f"{call}: x, y and weights must have as many rows, got {lengths}")
        self._start, self._stop = start, lengths[0] if stop is None else stop
        self.rows = self._stop - start

    def split(self, point: int) -> tuple[ChunkedArrays, ChunkedArrays]:
        """Rows before `at`, and rows from there on."""
        call = self.name.partition(":")[0]
        middle = self._start + point
        return (
            ChunkedArrays(*self._given, call, self._start, middle),
            ChunkedArrays(*self._given, call, middle, self._stop),
        )

    def blocks(self) -> Sequence[tuple[int, int]]:
        """Start and stop rows of each block: whole chunks."""
        step = max(map(_rows_of_chunk, self._leaves))
        step *= max(1, _BLOCK // (bytes_of_row(self._leaves) * step))
        starts = range(self._start // step * step, self._stop, step)
        return [(max(self._start, at), min(self._stop, at + step)) for at in starts]

    def read(self, block: tuple[int, int]) -> Iterator[list[NDArray[Any]]]:
        """Rows of a block in one part."""
        start, stop = block
        yield [np.asarray(leaf[start:stop]) for leaf in self._leaves]

    def pack(self, arrays: list[NDArray[Any]]) -> tuple[Any, Any, Any]:
        """Arrays nested as the user nested them."""
        return packed(self._parts, arrays)


def _leafed(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """x, y and weights with lists of numbers as arrays."""
    return tuple(
        np.asarray(part)
        if isinstance(part, (list, tuple)) and not any(hasattr(e, "shape") for e in part)
        else part
        for part in parts
    )


def _readable(leaf: Any, name: str) -> Any:
    if leaf is None:
        return None
    if not is_chunked(leaf):
        return as_numeric(leaf, name)
    if np.dtype(leaf.dtype).kind not in REAL_KINDS or not leaf.shape:
        raise ValueError(f"{name} must hold rows of real numbers, got dtype {leaf.dtype}")
    return leaf


def _rows_of_chunk(leaf: Any) -> int:
    """Number of rows of a chunk, or of a shard read as a whole; 1 for contiguous data."""
    chunks = getattr(leaf, "shards", None) or getattr(leaf, "chunks", None)
    if not chunks:
        return 1
    rows = chunks[0]
    return max(1, int(max(rows) if isinstance(rows, tuple) else rows))
