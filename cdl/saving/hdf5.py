"""Reading of HDF5 files of unknown origin, with each part checked first.

HDF5 can refer to other files (external links, external storage, virtual data sets), load filters
from the disk, and claim any size. Only numbers and texts that lie in the file itself are read, and
only as many as are asked for.
"""

import contextlib
import errno
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.dtypes import of_bits
from cdl._common.interrupts import held_interrupts
from cdl._configs import allocation_limit

_HEAP = b"GCOL\1"
_SHORTEST_OBJECT = 16  # bytes of one in a heap, without what it holds
_KINDS = "fiub"  # of dtypes that are numbers
_WIDEST = 16  # bytes of a number
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}  # HDF5's own, and h5py's
_LONGEST_TEXT = 64_000_000  # bytes of an attribute
_LARGEST_CHUNK = 64_000_000  # bytes
MOST_THINGS = 50_000  # groups and arrays; NASNetLarge's file, with its optimizer, has some 10,000
DEEPEST = 100  # groups within each other
_LARGEST_RATIO = 100  # of the numbers to what is stored of them
_SMALL = 1 << 20  # bytes below which no ratio matters


@contextlib.contextmanager
def opened(file: Path | IO[bytes], name: str) -> Iterator[Any]:
    """Root group of an open file, or of one by its path; Ctrl-C waits until it is closed.

    Raises:
        OSError: it is no HDF5 file, or damaged.
    """
    try:
        with held_interrupts():
            import h5py

            with h5py.File(file, "r") as root:
                yield root
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError, SystemError) as error:
        raise OSError(f"{name} cannot be read as HDF5: {_brief(error)}") from error


def check_heaps(path: Path) -> None:
    """Refuse damaged heaps of texts, which HDF5 may search without end, or of long texts.

    A heap is `GCOL`, a version, and objects that fill it: each a number, two counts, a length and
    as many bytes, padded to eight; number 0 is what is free.

    Raises:
        OSError: a heap is damaged.
        ValueError: it holds more than a text that is read.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        left = len(data) // _SHORTEST_OBJECT  # heaps lie apart: all their objects are in the file
        for start, end in _written(file.fileno(), len(data)):
            at = data.find(_HEAP, start, end)
            while at >= 0:
                count, longest = _objects_of(data, at, left)
                left -= count
                if not count or left < 0:
                    raise OSError(
                        f"{path} cannot be read as HDF5: the heap at byte {at} is damaged"
                    )
                if longest > _LONGEST_TEXT:
                    raise ValueError(
                        f"{path}: a text must have at most {_LONGEST_TEXT} bytes, got {longest}"
                    )
                at = data.find(_HEAP, at + 1, end)


def _written(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts of a file that are no holes: a file may claim terabytes of zeros."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except (OSError, AttributeError) as error:
            if getattr(error, "errno", None) != errno.ENXIO:  # which says: only a hole is left
                yield end, size
            return
        yield start, end


def _objects_of(data: mmap.mmap, start: int, most: int) -> tuple[int, int]:
    """Number of objects in the heap that starts there, and the bytes of the longest.

    None, if they do not fill it one after the other.
    """
    if len(data) < start + 16:
        return 0, 0
    end = start + int.from_bytes(data[start + 8 : start + 16], "little")
    if end > len(data):
        return 0, 0
    at, count, longest = start + 16, 1, 0  # the heap itself counts
    while at + 16 <= end and count <= most:
        number = int.from_bytes(data[at : at + 2], "little")
        length = int.from_bytes(data[at + 8 : at + 16], "little")
        if number == 0 and length < 16:
            return 0, 0
        at += length if number == 0 else 16 + (length + 7) // 8 * 8
        count += 1
        longest = max(longest, length if number else 0)
    return (count, longest) if at <= end else (0, 0)


def within(group: Any, path: str) -> Any:
    """Group or data set at a path below a group, or None; links to elsewhere are refused.

    Raises:
        ValueError: a link.
    """
    import h5py

    for part in path.split("/"):
        if not isinstance(group, h5py.Group):
            return None
        link = group.get(part, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            kind = "another file" if isinstance(link, h5py.ExternalLink) else "elsewhere"
            raise ValueError(f"{path} must be in the file itself, got a link to {kind}.")
        group = group.get(part)
    return group


def numbers(data: Any, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """Numbers of that shape in a data set; zeros where only shapes count.

    Raises:
        ValueError: it does not, or not in the file itself.
    """
    import h5py

    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{name} must be a dataset of numbers, got {_brief(data)}.")
    dtype = data.dtype
    brain = dtype == "V2" and texts(data, "dtype") == ["bfloat16"]
    if not brain and (dtype.kind not in _KINDS or dtype.itemsize > _WIDEST):
        raise ValueError(f"{name} must be a dataset of numbers, got one of {_brief(dtype)}.")
    if data.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {_brief(data.shape)}.")
    _check_storage(data, name)
    if allocation_limit.shapes_only():
        return np.broadcast_to(np.zeros((), np.float32), shape)
    values: NDArray[Any] = np.asarray(data[()])
    return of_bits(values.view(np.uint16)) if brain else values


def put(group: Any, name: str, array: NDArray[Any]) -> None:
    """Write numbers as a data set; those of bfloat16 as Keras does, as bytes."""
    if array.dtype.name != "bfloat16":
        group[name] = array
        return
    group.create_dataset(name, data=array.view("V2")).attrs["dtype"] = "bfloat16"


def _check_storage(data: Any, name: str) -> None:
    """Refuse numbers outside of the file, or that unpack to much more than their stored size."""
    if data.external or data.is_virtual:
        raise ValueError(f"{name} must be in the file itself, got a link to another.")
    made = data.id.get_create_plist()
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    for code in filters:
        if code not in _FILTERS:
            raise ValueError(
                f"{name} must be compressed by none but HDF5's own, got filter {code}."
            )
    size, stored = math.prod(data.shape) * data.dtype.itemsize, data.id.get_storage_size()
    if size and (not stored or (not filters and stored < size)):
        raise ValueError(f"{name} must be whole, got {stored} bytes of {size}.")
    if size > max(_SMALL, _LARGEST_RATIO * stored):
        raise ValueError(f"{name} must not unpack to {size} bytes, got {stored} bytes of it.")
    chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
    if chunk > max(_LARGEST_CHUNK, size):
        raise ValueError(f"{name} must have smaller chunks, got {_brief(data.chunks)}.")


def texts(group: Any, name: str) -> list[str] | None:
    """Texts of an attribute, one or several; None if there is none.

    Raises:
        ValueError: it holds something else, or more than any model has.
    """
    import h5py

    if name not in group.attrs:
        return None
    attribute = group.attrs.get_id(name)
    dtype = attribute.dtype
    size = 0 if attribute.shape is None else math.prod(attribute.shape)
    if size == 0:
        return []
    described = h5py.check_string_dtype(dtype)
    if described is None or len(attribute.shape) > 1:
        raise ValueError(f"attribute {name} must hold texts, got {_brief(dtype)}.")
    width = described.length or np.dtype(object).itemsize
    if size * width > _LONGEST_TEXT or attribute.get_storage_size() > _LONGEST_TEXT:
        raise ValueError(f"attribute {name} must have at most {_LONGEST_TEXT} bytes.")
    value = group.attrs[name]
    items = value.tolist() if isinstance(value, np.ndarray) else [value]
    return [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in items]


class Walk:
    """Walk through all groups of a file, which may claim any number of them."""

    def __init__(self) -> None:
        self._met = 0

    def names(self, group: Any, place: str, depth: int) -> list[str]:
        """Names in a group at that depth; `place` is its name in errors.

        Raises:
            ValueError: it lies too deep, or there are more groups and arrays than any model has.
        """
        self._met += len(group)
        if depth > DEEPEST:
            raise ValueError(f"{place} must not be in more than {DEEPEST} groups")
        if self._met > MOST_THINGS:
            raise ValueError(f"{place}: a file must have at most {MOST_THINGS} groups and arrays")
        return list(group)


def _brief(thing: Any) -> str:
    text = str(thing)
    return text if len(text) <= 200 else f"{text[:200]}..."
