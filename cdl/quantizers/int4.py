"""Packing of two integers of four bits in a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import one_of


def pack_int4(
    arr: Any, axis: int = 0, dtype: str = "int8"
) -> tuple[NDArray[Any], tuple[int, ...], int]:
    """Pack neighbouring 4-bit integers along an axis into bytes, the first in the low bits.

    Args:
        arr: int8 or uint8, as `dtype` says: integers from -8 to 7, or from 0 to 15.
        axis: the axis; of an odd size, a 0 is put behind.
        dtype: "int8" or "uint8", of the array and of the bytes.

    Returns:
        The bytes, their shape, and the size of the axis before.

    Raises:
        ValueError: another `dtype`.
        TypeError: an array of another dtype.
    """
    one_of("pack_int4", "dtype", dtype, ("int8", "uint8"))
    array = np.asarray(arr)
    if array.dtype != dtype:
        raise TypeError(f"Expected {dtype} tensor for packing, got {array.dtype.name}.")
    lines = np.moveaxis(array, axis, 0)
    size = len(lines)
    if size % 2:
        lines = np.concatenate([lines, np.zeros((1, *lines.shape[1:]), array.dtype)])
    low, high = lines[::2].view(np.uint8) & 15, lines[1::2].view(np.uint8) & 15
    packed = np.moveaxis((low | high << 4).astype(np.uint8), 0, axis).view(dtype)
    return packed, packed.shape, size


def unpack_int4(packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8") -> NDArray[Any]:
    """Unpack 4-bit integers: the inverse of `pack_int4`.

    Args:
        packed: int8 or uint8.
        orig_len: the size of the axis before.
        axis: the axis.
        dtype: "int8" for integers from -8 to 7, "uint8" for 0 to 15.

    Raises:
        ValueError: another `dtype`.
        TypeError: an array of another dtype than int8 and uint8.
    """
    one_of("unpack_int4", "dtype", dtype, ("int8", "uint8"))
    array = np.asarray(packed)
    if array.dtype not in (np.int8, np.uint8):
        raise TypeError(f"Expected int8 or uint8 tensor for unpacking, got {array.dtype.name}")
    lines = np.ascontiguousarray(np.moveaxis(array, axis, 0)).view(np.uint8)
    halves = np.stack([lines & 15, lines >> 4], axis=1).reshape(-1, *lines.shape[1:])[:orig_len]
    if dtype == "int8":
        halves = (halves ^ 8).view(np.int8) - np.int8(8)
    return np.ascontiguousarray(np.moveaxis(halves, 0, axis))
