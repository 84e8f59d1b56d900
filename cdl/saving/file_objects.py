"""Open files in place of paths: saved as a whole, loaded as a whole.

Formats are read where they lie in a file of the disk, so that an open one passes through a folder
of its own that nobody else can read.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cdl.saving import keras2_h5

if TYPE_CHECKING:
    from typing_extensions import TypeIs

FilePath = str | PathLike[str] | IO[bytes]
_ZIP, _HDF5 = b"PK", b"\x89HDF\r\n\x1a\n"


def is_open_file(filepath: Any) -> TypeIs[IO[bytes]]:
    """Whether it is an open file such as `io.BytesIO`, and no path."""
    return not isinstance(filepath, (str, PathLike)) and (
        hasattr(filepath, "write") or hasattr(filepath, "read")
    )


@contextlib.contextmanager
def written(file: IO[bytes], suffix: str, call: str) -> Iterator[Path]:
    """Path of a file that is copied to the open one at the end; not if the body fails.

    Args:
        suffix: of the path.

    Raises:
        TypeError: a file of text.
    """
    with _folder() as folder:
        path = folder / f"{type(file).__name__}{suffix}"
        yield path
        if not path.exists():  # another process writes
            return
        try:
            file.write(b"")
        except TypeError as error:
            raise TypeError(f"{call}: filepath must be a file of bytes: {error}") from None
        with path.open("rb") as source:
            shutil.copyfileobj(source, file)


@contextlib.contextmanager
def read(file: IO[bytes], call: str, weights: bool = False) -> Iterator[Path]:
    """Path of a copy of the open file from its position on, with its format's suffix.

    Args:
        weights: whether it may hold weights alone.

    Raises:
        ValueError: neither a `.keras` nor an HDF5 file.
        TypeError: a file of text.
    """
    start = file.read(len(_HDF5))
    if not isinstance(start, bytes):
        raise TypeError(f"{call}: filepath must be a file of bytes, got {type(file).__name__}")
    if not start.startswith(_ZIP) and start != _HDF5:
        raise ValueError(
            f"{call}: filepath must be a .keras or .h5 file, got {type(file).__name__} that begins "
            f"with {start!r}"
        )
    with _folder() as folder:
        path = folder / f"{type(file).__name__}{'.h5' if start == _HDF5 else '.keras'}"
        with path.open("wb") as target:
            target.write(start)
            shutil.copyfileobj(file, target)
        if weights and start == _HDF5 and not keras2_h5.is_of_layers(path):
            path = path.rename(path.with_suffix(".weights.h5"))
        yield path


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
