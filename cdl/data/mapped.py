"""mapped.py - files mapped into memory: the pages that were read are given back.

An epoch over a mapped file touches all of it, and what was touched counts as the process's memory
until the system needs it elsewhere. Giving pages back leaves them in the system's cache. Where rows
come in random order the system is told so: it would map up to 2 MB around each row, and read them
from the disk.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

SLICE = 0.01  # seconds between two looks at the memory: 100 MB at 10 GB/s
_MOST = 100_000_000  # bytes of mapped files that may stay in memory
_LARGE = 250_000_000  # bytes of a file that is worth the trouble


class Mapped:
    """The files behind some arrays.

    Args:
        arrays: NumPy arrays; those that are no views of large files are of no account.
        at_random: whether their rows will be read in random order.
    """

    def __init__(self, arrays: Iterable[Any], at_random: bool = False) -> None:
        found = {id(file): file for array in arrays for file in _files(array)}
        self._files = [file for file in found.values() if len(file) > _LARGE]
        self._start = _resident() if self._files else 0
        self._at_random = at_random
        if at_random:
            self._advise(mmap.MADV_RANDOM)

    def __bool__(self) -> bool:
        return bool(self._files)

    def trim(self) -> None:
        """Give back what was read, if it has become much."""
        if self._files and _resident() - self._start > _MOST:
            self._advise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Leave the mappings as they were found."""
        if self._at_random:
            self._advise(mmap.MADV_NORMAL)

    def _advise(self, what: int) -> None:
        for file in self._files:
            file.madvise(what)


def _files(array: Any) -> Iterator[mmap.mmap]:
    """The mapping that an array is a view of, if its pages can be read again as they are."""
    while array is not None:
        # Changes of a private mapping ("c") are nowhere else, so its pages must stay.
        if isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+"):
            file = getattr(array, "_mmap", None)
            if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                yield file
            return
        array = getattr(array, "base", None)


def _resident() -> int:
    """Bytes of files that are in this process's memory; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0
