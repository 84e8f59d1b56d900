"""atomic.py - files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NEW_FILE = 0o666  # the mode of a new file, less the user's umask


def checked_path(filepath: Any, call: str) -> Path:
    """What the user gave as a path.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(filepath, (str, os.PathLike)):
        raise TypeError(f"{call}: filepath must be a string or a path, got {filepath!r}")
    return Path(filepath)


def may_write(path: Path, overwrite: bool, call: str) -> bool:
    """Whether to write; asks the person at the terminal if a file there is not to be overwritten.

    Raises:
        FileExistsError: nobody is there to be asked.
    """
    if overwrite or not path.exists():
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise FileExistsError(f"{call}: {path} exists; give overwrite=True to write over it")
    answer = input(f"{path} exists. Overwrite it? [y/n] ")
    return answer.strip().lower() in ("y", "yes")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; what was written there becomes `path` at the end.

    If the body fails, or the process dies at any moment, the old file stays as it was. The folder
    is made if it is not there.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else _NEW_FILE & ~umask)
        _sync(Path(name))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have what was written brought to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
