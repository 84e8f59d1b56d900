"""Columns of any data frame with `__dataframe__`, read from their buffers.

The protocol is that of the Python data APIs' consortium, version 0: a column comes in chunks, each
with a buffer of data and, maybe, one that says which values are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_KINDS = {0: "i", 1: "u", 2: "f", 20: "b", 21: "O", 22: "M", 23: "O"}
_NAMES = {21: "text", 22: "dates", 23: "categories"}
_USES_NAN, _SENTINEL, _BITS, _BYTES = 1, 2, 3, 4  # ways of telling that a value is missing


class Column(NamedTuple):
    """Column of a frame of any library.

    Attributes:
        label: its name, or None.
        dtype: what its library calls its type.
        kind: the letter of NumPy's kind for what it becomes.
        missing: how many of its values are missing. NaN in a column of floats is not.
        read: gives its values.
    """

    label: Any
    dtype: Any
    kind: str
    missing: int
    read: Callable[[], NDArray[Any]]


def columns(frame: Any) -> list[Column]:
    """Columns of a frame, in its order."""
    exchanged = frame.__dataframe__()
    return [
        _column(str(label), exchanged.get_column_by_name(label))
        for label in exchanged.column_names()
    ]


def _column(label: str, column: Any) -> Column:
    number, bits, *_ = column.dtype
    kind = _KINDS.get(int(number), "O")
    name = _NAMES[int(number)] if int(number) in _NAMES else str(column.dtype)
    if kind not in "iufb":
        return Column(label, name, kind, 0, lambda: np.empty(0))
    name = "bool" if kind == "b" else np.dtype(f"{kind}{bits // 8}").name
    missing = column.null_count
    if missing is None:
        missing = sum(int(lacks.sum()) for _, lacks in _chunks(column))
    if column.describe_null[0] == _USES_NAN:
        missing = 0  # NaN is a float like others

    def read() -> NDArray[Any]:
        return np.concatenate([values for values, _ in _chunks(column)])

    return Column(label, name, kind, int(missing), read)


def _chunks(column: Any) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Copied values of each chunk, and masks of missing ones."""
    how, sign = column.describe_null
    for chunk in column.get_chunks():
        buffers = chunk.get_buffers()
        values = _read(buffers["data"], chunk.offset, chunk.size())
        lacks = np.zeros(len(values), bool)
        if how == _SENTINEL:
            lacks = values == sign
        elif how in (_BITS, _BYTES) and buffers["validity"] is not None:
            lacks = _read(buffers["validity"], chunk.offset, chunk.size()) == bool(sign)
        yield values, lacks


def _read(typed: tuple[Any, Any], offset: int, size: int) -> NDArray[Any]:
    """Copy of `size` elements of a typed buffer, from an offset."""
    import ctypes

    buffer, (number, bits, *_) = typed
    kind = _KINDS[int(number)]
    memory = (ctypes.c_char * buffer.bufsize).from_address(buffer.ptr) if buffer.bufsize else b""
    if bits == 1:
        some = np.unpackbits(np.frombuffer(memory, np.uint8), bitorder="little")
        return some[offset : offset + size].astype(bool)
    item = np.dtype(bool if kind == "b" else f"{kind}{bits // 8}")
    return np.frombuffer(memory, item)[offset : offset + size].copy()
