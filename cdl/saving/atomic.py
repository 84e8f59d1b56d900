"""Atomic writing of files: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from cdl._common.errors import BothError

_MOST_LINKS = 40  # one after the other, as in Linux
_NEW_FILE = 0o666  # the mode of a new file, less the user's umask


def checked_path(filepath: object, call: str) -> Path:
    """Path of a user's argument; TypeError if it is none.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(filepath, (str, os.PathLike)):
        raise TypeError(f"{call}: filepath must be a string or a path, got {filepath!r}")
    return Path(filepath)


class MissingFileError(BothError, FileNotFoundError, ValueError):
    """Error for a missing file; a ValueError too, as the same mistake is in Keras."""


def check_regular(path: Path, call: str) -> None:
    """Refuse anything but a regular file: opening a pipe or a device may never end.

    Raises:
        MissingFileError: nothing is there.
        OSError: a folder, a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        error = MissingFileError(
            f"{call}: File not found: filepath={path}: there is no file {path.name}"
        )
        error.errno = errno.ENOENT
        raise error from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "must be a file, got a pipe, device or socket", str(path))


def may_write(path: Path, overwrite: bool, call: str) -> bool:
    """Whether to write; asks at the terminal if a file there is not to be overwritten.

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
def replacing(filepath: Path) -> Iterator[IO[bytes]]:
    """New file, open for writing, which replaces the one at the path at the end.

    If the body fails, the disk is full, or the process dies at any moment, what was at the path
    stays as it was. The new file has the mode, and where that may be the owner, of the old one, or
    that of any new file. A link at the path is traced, as `open` does.

    Raises:
        OSError: the folder or the file cannot be written; `filename` is the path.
    """
    try:
        path = _target(filepath)
        with _unnamed(path) as (file, name_it):
            yield file
            file.flush()
            if path.exists():
                _take_after(file.fileno(), path.stat())
            os.fsync(file.fileno())
            os.replace(name_it(), path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename == str(filepath) or str(filepath) in str(error):
            raise
        if error.errno is None:
            raise OSError(f"{filepath} cannot be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(filepath)) from error


def _target(path: Path) -> Path:
    """File to replace, at the end of links; OSError if it cannot be written."""
    target = path
    for _ in range(_MOST_LINKS):
        if not target.is_symlink():
            break
        target = target.parent / os.readlink(target)
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if target.exists() and not target.is_file():
        code = errno.EISDIR if target.is_dir() else errno.EINVAL
        raise OSError(code, os.strerror(code), str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


@contextlib.contextmanager
def _unnamed(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], str]]]:
    """New file in the folder of a path, and a function that gives it its name there.

    On Linux it has none until then, so that nothing is left behind when the process dies.
    """
    name = str(path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}"))
    named = False
    try:
        descriptor = os.open(path.parent, os.O_RDWR | os.O_TMPFILE, _NEW_FILE)
        source = f"/proc/self/fd/{descriptor}"
        if not os.path.exists(source):
            os.close(descriptor)
            raise OSError
    except (OSError, AttributeError):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor, named = os.open(name, flags, _NEW_FILE), True

    def name_it() -> str:
        nonlocal named
        if not named:
            # Only with a folder's descriptor does Python follow the link that the source is.
            folder = os.open(path.parent, os.O_PATH)
            try:
                os.link(source, os.path.basename(name), dst_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)
            named = True
        return name

    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, name_it
    except BaseException:
        if named:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise


def _take_after(descriptor: int, old: os.stat_result) -> None:
    """Copy the mode of an old file, and its owner if that is allowed."""
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    """Flush a new name to the disk, where a folder can be."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Sink(io.RawIOBase):
    """File for libraries that do not survive a full disk: errors are kept from them.

    HDF5 brings the process down if a write fails. This takes all, and `check` raises what went
    wrong first.

    Args:
        file: where it goes.
        start: the byte of that file which is the first of this one.
    """

    def __init__(self, file: IO[bytes], start: int = 0) -> None:
        self._file = file
        self._start = start
        self._place = self._end = 0
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of the file."""
        if self._error is not None:
            raise self._error

    def _is_over(self) -> bool:
        """Whether nothing is written any more.

        HDF5 may flush when it is collected, long after an interrupt that left the file.
        """
        return self._error is not None or self._file.closed

    def seekable(self) -> bool:
        """Whether it is seekable: always."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read bytes written there; zeros after an error."""
        view = memoryview(buffer).cast("B")
        data = b""
        if not self._is_over():
            self._file.seek(self._start + self._place)
            data = self._file.read(len(view))
        view[: len(data)] = data
        view[len(data) :] = bytes(len(view) - len(data))
        self._place += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Write all bytes; after an error pretend to."""
        view = memoryview(data).cast("B")
        try:
            if not self._is_over():
                self._file.seek(self._start + self._place)
                self._file.write(view)
        except OSError as error:
            self._error = error
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length; after an error pretend to."""
        self._end = self._place if size is None else size
        try:
            if not self._is_over():
                self._file.truncate(self._start + self._end)
        except OSError as error:
            self._error = error
        return self._end

    def flush(self) -> None:
        """Flush the buffer; after an error pretend to."""
        try:
            if not self._is_over():
                self._file.flush()
        except OSError as error:
            self._error = error
