"""Zip files of unknown origin, with each member checked before it is read.

Nothing is ever unpacked to a path that the file names. What is refused: a table of contents that
is too long, members that are there twice, links, paths that lead out, passwords, claims of a size
that nothing of this kind has, and contents whose checksum is wrong.
"""

import contextlib
import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

_LONGEST_DIRECTORY = 4_000_000  # bytes: some 50,000 members
_LONGEST_COMMENT = 65_535  # zip's own limit
_AT_ONCE = 1 << 20
_TO_LENGTHS = 26  # from the head of a member to the lengths of what follows it: name, extra
_LARGEST_RATIO = 100  # of a compressed member to what is stored; text comes to 20
_SMALL = 1 << 20  # bytes below which no ratio matters


class Members:
    """Members of an open zip file.

    Args:
        archive: the zip file.
        file: what the ZipFile reads.
        path: how errors call it.

    Raises:
        ValueError: a member that no file of this kind has.
    """

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes], path: Path) -> None:
        self.path = path
        self._file = file
        self._archive = archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename
            if name in self._infos:
                raise ValueError(f"{path}: {_shown(name)} must be there once, got it twice")
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
                raise ValueError(f"{path}: {_shown(name)} must be a path within the file")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{path}: {_shown(name)} must be a file, got a link")
            self._infos[name] = info

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def size(self, name: str) -> int:
        """Declared size of a member in bytes.

        Raises:
            ValueError: there is no such member, or what it says cannot be.
        """
        info = self._infos.get(name)
        if info is None:
            raise ValueError(f"{self.path}: it has no {name}")
        if info.flag_bits & 0x1:
            raise ValueError(f"{self.path}: {name} must not be encrypted")
        if info.compress_type == 0 and info.file_size != info.compress_size:
            raise ValueError(f"{self.path}: {name} is damaged: it is stored with two sizes")
        whole = self.path.stat().st_size
        if info.compress_size > whole or info.header_offset > whole:
            raise ValueError(
                f"{self.path}: {name} must be within the file, which has {whole} bytes"
            )
        if info.file_size > max(_SMALL, _LARGEST_RATIO * info.compress_size):
            raise ValueError(
                f"{self.path}: {name} must not unpack to more than {_LARGEST_RATIO} times "
                f"its size, got {info.compress_size} bytes for {info.file_size}"
            )
        return info.file_size

    def read(self, name: str, most: int) -> bytes:
        """Contents of a member of at most `most` bytes.

        Raises:
            ValueError: it is longer, or damaged.
        """
        size = self.size(name)
        if size > most:
            raise ValueError(f"{self.path}: {name} must have at most {most} bytes, got {size}")
        with self._opened(name) as file:
            return file.read(size + 1)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Seekable member, whose checksum has been verified.

        One that is compressed is unpacked into a file without a name.
        """
        import tempfile

        stored = self._infos[name].compress_type == 0 if name in self._infos else True
        with contextlib.ExitStack() as stack:
            spare = None if stored else stack.enter_context(tempfile.TemporaryFile())
            left = self.size(name)
            with self._opened(name) as file:
                while chunk := file.read(_AT_ONCE):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError(f"{self.path}: {name} is longer than it says")
                    if spare is not None:
                        spare.write(chunk)
            if left:
                raise ValueError(f"{self.path}: {name} is shorter than it says")
            if spare is not None:
                spare.seek(0)
                yield spare
                return
            with (
                self._blamed(name),
                io.BufferedReader(_Stored(self._file, self._infos[name])) as member,
            ):
                yield member

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        with self._blamed(name), self._archive.open(self._infos[name]) as file:
            yield file

    @contextlib.contextmanager
    def _blamed(self, name: str) -> Iterator[None]:
        """Context in which errors name the member."""
        import zipfile
        import zlib

        damages = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error)
        try:
            yield
        except damages as error:
            raise ValueError(f"{self.path}: {name} is damaged: {error}") from error
        except OSError as error:
            if str(self.path) in str(error):
                raise
            raise OSError(f"{self.path}: {name} cannot be read: {error}") from error


class _Stored(io.RawIOBase):
    """Uncompressed member, read in place.

    What a ZipFile opens reads all from the first byte on again for each step back, and HDF5 goes
    back and forth.
    """

    def __init__(self, file: Any, info: zipfile.ZipInfo) -> None:
        file.seek(info.header_offset + _TO_LENGTHS)
        name, extra = struct.unpack("<HH", file.read(4))
        self._file = file
        self._start = info.header_offset + _TO_LENGTHS + 4 + name + extra
        self._size = info.file_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        left = max(0, self._size - self._at)
        count = self._file.readinto(memoryview(buffer).cast("B")[:left])
        self._at += count
        return int(count)


@contextlib.contextmanager
def in_place(archive: zipfile.ZipFile, file: IO[bytes], name: str) -> Iterator[int]:
    """Context that adds an uncompressed member, written in place to the end of the zip file.

    A ZipFile takes a member from its first byte to its last. What is not written so would have to
    lie on the disk twice.

    Args:
        archive: a zip file that is being made.
        file: where it is made; the body writes the member to its end.
        name: of the member.

    Yields:
        The byte of the file at which the member begins.
    """
    import time
    import zipfile
    import zlib

    info = zipfile.ZipInfo(name, time.localtime()[:6])
    info.external_attr = 0o600 << 16  # as ZipFile does
    info.file_size = info.compress_size = info.CRC = 0
    info.header_offset = file.seek(0, 2)
    file.write(info.FileHeader(zip64=True))  # of the form for any size, which is not known yet
    start = file.tell()
    yield start
    end = file.seek(0, 2)
    info.file_size = info.compress_size = end - start
    file.seek(start)
    while chunk := file.read(_AT_ONCE):
        info.CRC = zlib.crc32(chunk, info.CRC)
    file.seek(info.header_offset)
    file.write(info.FileHeader(zip64=True))
    archive.filelist.append(info)
    archive.NameToInfo[name] = info
    archive.start_dir = end


@contextlib.contextmanager
def members_of(path: Path, kind: str) -> Iterator[Members]:
    """Members of a zip file.

    Args:
        kind: what it should be, for errors: ".keras".

    Raises:
        ValueError: no zip file, or one that is damaged.
        OSError: it cannot be read.
    """
    import zipfile

    _check_directory(path, kind)
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            struct.error,
            ValueError,
            OSError,
        ) as error:
            raise ValueError(f"{path} is not a {kind} file: {error}") from error
        with archive:
            yield Members(archive, file, path)


def _check_directory(path: Path, kind: str) -> None:
    """Refuse a directory that would take long to read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _LONGEST_COMMENT - 22 - 20))
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        if end < 0 or len(tail) < end + 22:
            raise ValueError(f"{path} is not a {kind} file: it is no zip file, or has lost its end")
        (length,) = struct.unpack_from("<L", tail, end + 12)
        locator = tail[max(0, end - 20) : end]
        if locator.startswith(b"PK\6\7") and len(locator) == 20:
            file.seek(size - len(tail) + end - 20 - 56 if size - len(tail) + end >= 76 else 0)
            record = file.read(56)
            if len(record) == 56 and record.startswith(b"PK\6\6"):
                (length,) = struct.unpack_from("<Q", record, 40)
    if length > _LONGEST_DIRECTORY:
        raise ValueError(f"{path} is not a {kind} file: its table of contents has {length} bytes")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
