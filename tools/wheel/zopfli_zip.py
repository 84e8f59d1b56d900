"""Zip files that are packed by zopfli, which takes longer and is 3 % smaller, and their limit."""

import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

LARGEST = 2_480_000  # bytes of a wheel


def repack(source: str | os.PathLike[str], target: str | os.PathLike[str], rounds: int) -> None:
    """Write the members of a zip to another one, or to itself, as small as can be.

    Args:
        source: the file that is read.
        target: the file that is written.
        rounds: of zopfli; each makes the file a little smaller.
    """
    with zipfile.ZipFile(source) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        streams = list(pool.map(partial(_deflated, rounds=rounds), [data for _, data in members]))
    with zipfile.ZipFile(target, "w") as archive:
        for (info, data), stream in zip(members, streams, strict=True):
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                member._compressor = _Deflated(stream)  # type: ignore[attr-defined] # no public way
                member.write(data)


def _deflated(data: bytes, rounds: int) -> bytes:
    """The data as deflate has them: zlib's form without its head and its checksum."""
    try:
        from zopfli.zlib import compress
    except ImportError:  # some other build system
        return zlib.compress(data, 9)[2:-4]
    packed: bytes = compress(data, numiterations=rounds)
    return packed[2:-4]


class _Deflated:
    """Stands for zipfile's compressor of a member whose stream is there already."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def compress(self, data: bytes) -> bytes:
        return b""

    def flush(self) -> bytes:
        return self.stream
