"""Shared memory for the gradients of the ranks of one machine.

MPI copies what one process has for another into memory that both see, and out of it again. Here the
core computes gradients in such memory: each rank adds up its share of them, in the order of ranks,
and copies the other shares, which takes half the time of an Allreduce.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 16  # CDL_HEADER
_LINE = 16  # floats of a cache line, to which no two ranks write
_PIECE = 1 << 14  # floats that stay in cache while those of all ranks are added


class SharedBlock:
    """Header and gradients of a step of one rank, readable by the others.

    It has no name in a file system, so nothing is left of it when its processes are gone.

    Args:
        floats: number of floats.

    Attributes:
        mine: gradients of this rank.
        all: the gradients of all ranks, in their order; none if some cannot be seen; None before
            `find`.

    Raises:
        OSError: the system has no memory for it.
    """

    def __init__(self, floats: int) -> None:
        self._bytes = 4 * floats
        self._token = f"cdl-{os.urandom(8).hex()}"
        self._file = os.fdopen(os.memfd_create(self._token), "r+b", buffering=0)
        self._file.truncate(self._bytes)
        self.mine = self._mapped(self._file.fileno(), mmap.ACCESS_WRITE)
        self.all: list[NDArray[np.float32]] | None = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _mapped(self, file: int, access: int) -> NDArray[np.float32]:
        return np.frombuffer(mmap.mmap(file, self._bytes, access=access), np.float32)

    @classmethod
    def made(cls, floats: int) -> SharedBlock | None:
        """New block of a number of floats, or None where the system has no shared memory."""
        try:
            return cls(floats) if hasattr(os, "memfd_create") else None
        except OSError:
            return None

    def find(self, gathered: Callable[[Any], list[Any]], rank: int) -> None:
        """Map the blocks of the other ranks, which do the same.

        Args:
            gathered: gives each rank's object.
            rank: this one's number.
        """
        places = gathered((os.getpid(), self._file.fileno(), self._token))
        found: list[NDArray[np.float32]] = []
        try:
            for other, place in enumerate(places):
                found.append(self.mine if other == rank else self._of_another(*place))
        except OSError:
            found = []
        seen = all(gathered(bool(found)))  # from here on no rank opens a file of another
        self._file.close()
        self.all = [each[_HEADER:] for each in found] if seen else []

    def _of_another(self, process: int, file: int, token: str) -> NDArray[np.float32]:
        path = f"/proc/{process}/fd/{file}"
        if token not in os.readlink(path):
            raise OSError(f"{path} is not {token}")
        with open(path, "rb") as opened:
            return self._mapped(opened.fileno(), mmap.ACCESS_READ)

    @np.errstate(all="ignore")  # a step may overflow, as one of float16 does at times
    def add_up(self, rank: int, wait: Callable[[], Any]) -> None:
        """Replace the gradients of all ranks by their sums; all have written theirs.

        Args:
            rank: this one's number.
            wait: returns when all ranks have called it.
        """
        blocks = self.all
        assert blocks
        size, n = len(blocks), len(blocks[0])
        ends = [n * i // size // _LINE * _LINE for i in range(size)] + [n]
        mine, total = blocks[rank], np.empty(_PIECE, np.float32)
        for first in range(ends[rank], ends[rank + 1], _PIECE):
            last = min(first + _PIECE, ends[rank + 1])
            so_far = blocks[0][first:last]
            for other in blocks[1:-1]:
                so_far = np.add(so_far, other[first:last], out=total[: last - first])
            np.add(so_far, blocks[-1][first:last], out=mine[first:last])
        wait()
        for owner in range(size):
            if owner != rank:
                share = slice(ends[owner], ends[owner + 1])
                mine[share] = blocks[owner][share]
        wait()
