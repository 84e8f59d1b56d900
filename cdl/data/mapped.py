"""Memory-mapped files, whose pages are released after reading.

An epoch over a mapped file touches all of it, and what was touched counts as the process's memory
until the system needs it elsewhere. Giving pages back leaves them in the system's cache. Where rows
come in random order the system is told so: it would read up to 2 MB around each row from the disk.
What is in its cache it maps 2 MB at a time all the same (Linux 6.18), so that a thousand rows are a
gigabyte. So the rows of some batches are fetched together, in the order of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLICE = 0.01  # seconds between two looks at the memory: 100 MB at 10 GB/s
_MOST = 100_000_000  # bytes of mapped files that may stay in memory
_LARGE = 250_000_000  # bytes of a file that is worth the trouble
_SEGMENT = 25_000_000  # bytes of a file between two looks at the memory
FETCHED = 48_000_000  # bytes of rows that are fetched together, if a batch is not larger


class Mapped:
    """Memory-mapped files that some arrays are views of.

    Args:
        arrays: NumPy arrays; those that are no views of large files are of no account.
        at_random: whether their rows will be read in random order.
    """

    def __init__(self, arrays: Iterable[Any], at_random: bool = False) -> None:
        self._files: list[mmap.mmap] = []
        views = [each for each in arrays if getattr(each, "base", None) is not None]
        if views:
            found = {id(file): file for array in views for file in _files(array)}
            self._files = [file for file in found.values() if len(file) > _LARGE]
        self._start = _resident() if self._files else 0
        self._at_random = at_random
        if at_random:
            self._advise(mmap.MADV_RANDOM)

    def __bool__(self) -> bool:
        return bool(self._files)

    def trim(self) -> None:
        """Release pages that were read, if they have become many."""
        if self._files and _resident() - self._start > _MOST:
            self._advise(mmap.MADV_DONTNEED)

    def rows(self, array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy of some rows of an array whose file is read from start to end."""
        if not any(True for _ in _files(array)):
            return array[rows]
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        found = np.empty((len(rows), *array.shape[1:]), array.dtype)
        step = max(1, _SEGMENT // max(1, abs(array.strides[0])))
        ends = np.searchsorted(ordered, range(step, len(array) + step, step)).tolist()
        for start, end in zip([0, *ends], ends, strict=False):
            if end > start:
                found[order[start:end]] = array[ordered[start:end]]
                self.trim()
        return found

    def close(self) -> None:
        """Restore the mappings' state."""
        if self._at_random:
            self._advise(mmap.MADV_NORMAL)

    def _advise(self, what: int) -> None:
        for file in self._files:
            file.madvise(what)


def _files(array: Any) -> Iterator[mmap.mmap]:
    """Mapping that an array is a view of, if its pages can be read again."""
    while array is not None:
        # Changes of a private mapping ("c") are nowhere else, so its pages must stay.
        if isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+"):
            file = getattr(array, "_mmap", None)
            if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                yield file
            return
        array = getattr(array, "base", None)


def _resident() -> int:
    """Bytes of mapped files in this process's memory; 0 where the system does not report it."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0
