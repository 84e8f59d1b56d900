"""get_file: download of a file into Keras's cache."""

from __future__ import annotations

import hashlib
import os
import secrets
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from cdl._common.errors import warn
from cdl._common.keras_home import cache_folder, make_writable
from cdl._common.validation import one_of


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | Sequence[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file into Keras's cache, unless it is there, and return its path.

    Args:
        fname: its name there; None for that at the end of the address.
        origin: the address: http, https, or ``file://`` of a local one.
        untar: the same as `extract` with a tar archive.
        md5_hash: the same as `file_hash` with "md5".
        file_hash: what the file must hash to; one in the cache that does not is downloaded again.
        cache_subdir: the folder within the cache, or a whole path.
        hash_algorithm: "md5", "sha256" or "auto", by the length of the hash.
        extract: whether to unpack an archive into a folder beside it.
        archive_format: "tar", "zip", "auto" for both, or a list of them; None unpacks nothing.
        cache_dir: the cache, a folder that is made if it is not there; None for KERAS_HOME of the
            environment or `~/.keras`.
        force_download: whether to download a file that is there.

    Returns:
        The path of the file, or of the folder of what was unpacked.

    Raises:
        ValueError: no address, a name with folders, or the hash is another one.
        OSError: the address cannot be reached, fewer bytes came than it told, or the cache cannot
            be written.
    """
    if origin is None:
        raise ValueError('Please specify the "origin" argument (URL of the file to download).')
    one_of("get_file", "hash_algorithm", hash_algorithm, ("auto", "md5", "sha256"))
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    folder = cache_folder(cache_subdir, cache_dir)
    name = os.fspath(fname) if fname else _name_of(origin)
    if os.sep in name:
        raise ValueError(
            "Paths are no longer accepted as the `fname` argument. To specify the file's parent "
            f"directory, use the `cache_dir` argument. Received: fname={name}"
        )
    unpack, target, unpacked = extract or untar, os.path.join(folder, name), ""
    if unpack:
        dotted = bool(fname) and "." in name
        whole = name.partition(".")[0] + "_extracted" if dotted else name
        unpacked = os.path.join(folder, whole)
        target = target if dotted else f"{target}_archive"
    there = os.path.exists(target) and not force_download
    if there and file_hash is not None and not _fits(target, file_hash, hash_algorithm):
        print(f"A local file was found, but its hash is not {file_hash}: it is downloaded again.")
        there = False
    if not there:
        make_writable(folder, "get_file")
        _load(origin, target, file_hash, hash_algorithm)
    if unpack:
        formats = "tar" if untar else archive_format
        _unpack_whole(target, unpacked, formats, new=not there)
    return unpacked or target


def _name_of(origin: str) -> str:
    from urllib.parse import urlsplit

    name = os.path.basename(urlsplit(origin).path)
    if not name:
        raise ValueError(
            f"Can't parse the file name from the origin provided: '{origin}'. Please specify the "
            "`fname` argument."
        )
    return name


def _load(origin: str, target: str, wanted: str | None, algorithm: str) -> None:
    """Download a file, whole and with the expected hash, or not at all."""
    from http.client import HTTPException
    from urllib.request import urlretrieve

    print(f"Downloading data from {origin}")
    part = f"{target}.{secrets.token_hex(8)}.part"
    try:
        urlretrieve(origin, part)  # an error if fewer bytes come than the server tells
        if wanted is not None and not _fits(part, wanted, algorithm):
            raise ValueError(
                f"Incomplete or corrupted file detected. The {algorithm} file hash does not "
                f"match the provided value of {wanted}."
            )
        os.replace(part, target)
    except (OSError, HTTPException) as error:
        raise OSError(f"URL fetch failure on {origin}: {error}") from error
    finally:
        if os.path.exists(part):
            os.remove(part)


def _fits(path: str, wanted: str, algorithm: str) -> bool:
    sha = algorithm == "sha256" or (algorithm == "auto" and len(wanted) == 64)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256" if sha else "md5").hexdigest() == wanted


def _unpack_whole(path: str, folder: str, formats: Any, new: bool) -> None:
    """Unpack an archive; a damaged new one is downloaded again next time."""
    try:
        if not _unpack(path, folder, formats):
            warn("Could not extract archive.")
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error):
        if new:
            os.remove(path)
        raise


def _unpack(path: str, folder: str, formats: str | Sequence[str] | None) -> bool:
    """Unpack an archive, without members outside the folder; whether it was one."""
    formats = ("tar", "zip") if formats == "auto" else formats or ()
    for each in (formats,) if isinstance(formats, str) else formats:
        one_of("get_file", "archive_format", each, ("tar", "zip"))
        if each == "zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if _within(member.filename, folder):
                        archive.extract(member, folder)
            return True
        if each == "tar" and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                for info in archive:
                    # Links and devices could lead elsewhere.
                    if (info.isfile() or info.isdir()) and _within(info.name, folder):
                        archive.extract(info, folder, filter="data")
            return True
    return False


def _within(name: str, folder: str) -> bool:
    base = os.path.realpath(folder)
    inside = os.path.commonpath([base, os.path.realpath(os.path.join(base, name))]) == base
    if not inside:
        warn(f"Skipping invalid path during archive extraction: {name!r}.")
    return inside
