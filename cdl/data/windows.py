"""Windows of rows for data of any size: read by blocks, shuffled within, in order.

A block is a contiguous part of its source that is read at once: some chunks of an HDF5 file, a row
group of Parquet. Where rows are shuffled, the blocks come in random order, up to eight of them in
turn, and fill a window of 48 MB, whose rows are then in random order: all orders of the rows of a
window are equally likely, and rows that were neighbours in the file share a window with rows of
other places. What is further apart than a window never shares a batch in that epoch. What comes in
one stream, such as a lazy frame, is mixed in windows only.

Memory holds two windows, one to train on and one that is being filled, and what the source needs
for the blocks that it reads.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cdl import tree

WINDOW = 48_000_000  # bytes of rows that are mixed
PART = 1 << 20  # bytes that are read at a time: they stay in the cache until they are copied
TOGETHER = 8  # blocks that are read in turn at most


class Source(Protocol):
    """Source of rows, read by blocks.

    Attributes:
        rows: how many there are, None if only reading them tells.
        once: whether they can be read only once.
        together: how many blocks may be read in turn.
        columns: the names of the columns that are the model's one input, None for what has none.
    """

    name: str
    once: bool
    together: int

    @property
    def rows(self) -> int | None:
        """Number of rows; None if unknown before reading."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of the model's one input; None without names."""

    def blocks(self) -> Sequence[Any]:
        """Blocks to read from, in their order."""

    def read(self, block: Any) -> Iterator[list[NDArray[Any]]]:
        """Rows of a block, in parts: some arrays of as many rows each."""

    def pack(self, arrays: list[NDArray[Any]]) -> tuple[Any, Any, Any]:
        """x, y and sample weights in their structure, from such arrays."""


class Window(NamedTuple):
    """Rows that are in memory at a time.

    Attributes:
        arrays: as a source reads them.
        order: in which the rows are to be taken, None for that in which they are.
        last: whether nothing follows.
    """

    arrays: list[NDArray[Any]]
    order: NDArray[np.int64] | None
    last: bool


def windows(
    source: Source, batch: int, shuffle: bool | str, random: np.random.RandomState
) -> Iterator[Window]:
    """Iterate over windows of all rows, once; each but the last is of whole batches.

    Args:
        source: where they are read.
        shuffle: True to mix them, "batch" to mix only the rows of each batch.
        random: what is drawn from.
    """
    parts = _parts(source, shuffle is True, random)
    part = next(parts, None)
    first = part
    while part is not None:
        assert first is not None
        whole, filled = _room(part, batch), 0
        room = len(whole[0])
        while part is not None and filled < room:
            _check_alike(source, part, first)
            n = min(room - filled, len(part[0]))
            for array, each in zip(whole, part, strict=True):
                array[filled : filled + n] = each[:n]
            filled += n
            rest = [each[n:] for each in part]
            part = rest if len(rest[0]) else next(parts, None)
        arrays = [array[:filled] for array in whole]
        yield Window(arrays, order_of(filled, batch, shuffle, random), part is None)


def order_of(
    rows: int, batch: int, shuffle: bool | str, random: np.random.RandomState
) -> NDArray[np.int64] | None:
    """Order of a window's rows, as `windows` draws it."""
    if not shuffle:
        return None
    if shuffle != "batch":
        return random.permutation(rows)
    starts = range(0, rows, batch)
    return np.concatenate([at + random.permutation(min(batch, rows - at)) for at in starts])


def packed(parts: tuple[Any, Any, Any], arrays: Iterable[NDArray[Any]]) -> tuple[Any, Any, Any]:
    """Arrays nested as x, y and sample weights of a source, with None in the places of None."""
    given = iter(arrays)
    flat = [None if leaf is None else next(given) for leaf in tree.flatten(parts)]
    nested: tuple[Any, Any, Any] = tree.pack_sequence_as(parts, flat)
    return nested


def bytes_of_row(arrays: Sequence[Any]) -> int:
    """Bytes per row of all arrays together."""
    sizes = [int(each.dtype.itemsize * math.prod(each.shape[1:])) for each in arrays]
    return max(1, sum(sizes))


def _parts(
    source: Source, mixed: bool, random: np.random.RandomState
) -> Iterator[list[NDArray[Any]]]:
    """Parts of all blocks; shuffled, those of several at a time in random order."""
    blocks = source.blocks()
    order = random.permutation(len(blocks)) if mixed else range(len(blocks))
    waiting = (source.read(blocks[i]) for i in order)
    reading = deque(itertools.islice(waiting, source.together if mixed else 1))
    while reading:
        parts = reading.popleft()
        part = next(parts, None)
        if part is None:
            reading.extend(itertools.islice(waiting, 1))
            continue
        reading.append(parts)
        if len(part[0]):
            yield part


def _room(part: list[NDArray[Any]], batch: int) -> list[NDArray[Any]]:
    """Empty arrays for a window; the system allocates their pages as they are filled."""
    rows = max(batch, WINDOW // bytes_of_row(part) // batch * batch)
    return [np.empty((rows, *each.shape[1:]), each.dtype) for each in part]


def _check_alike(source: Source, part: list[NDArray[Any]], first: list[NDArray[Any]]) -> None:
    for one, other in zip(part, first, strict=True):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            raise ValueError(
                f"{source.name} must have rows of one shape and dtype, got {other.dtype} of shape "
                f"{other.shape[1:]} first and {one.dtype} of shape {one.shape[1:]} later"
            )
