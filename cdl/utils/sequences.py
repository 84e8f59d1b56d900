"""Padding of sequences of different lengths to one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cdl._common.errors import hinted
from cdl._common.validation import one_of, positive_int

_SIDES = ("pre", "post")


@hinted
def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Pad or truncate sequences of numbers to one length, as rows of an array.

    Args:
        sequences: the lists; their elements may be rows of one shape too.
        maxlen: length of a row, by default that of the longest list.
        dtype: of the array; `object` for texts of different lengths.
        padding: "pre" to fill short rows at their start, "post" at their end.
        truncating: "pre" to cut long rows at their start, "post" at their end.
        value: what short rows are filled with.

    Returns:
        Array of shape `(len(sequences), maxlen, *shape of an element)`.

    Raises:
        ValueError: something that is no list of lists, elements of different shapes, or an unknown
            side.
    """
    one_of("pad_sequences", "padding", padding, _SIDES)
    one_of("pad_sequences", "truncating", truncating, _SIDES)
    rows = _rows(sequences)
    if maxlen is None:
        if not rows:
            raise ValueError("pad_sequences: maxlen must be given for no sequences at all")
        maxlen = max(map(len, rows))
    else:
        maxlen = positive_int("pad_sequences", "maxlen", maxlen)
    kind = np.dtype(dtype).kind
    if isinstance(value, str) and kind not in "OUS":
        raise ValueError(
            f"pad_sequences: `dtype` {dtype} is not compatible with `value`'s type, got {value!r}: "
            "dtype=object takes texts"
        )

    shape = next((np.asarray(row).shape[1:] for row in rows if len(row)), ())
    padded = np.full((len(rows), maxlen, *shape), value, dtype)
    for i, row in enumerate(rows):
        if not len(row):
            continue
        cut = row[-maxlen:] if truncating == "pre" else row[:maxlen]
        cut = np.asarray(cut, dtype)
        if cut.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: elements of sequence {i} must have shape {shape}, as in the first "
                f"one, got {cut.shape[1:]}"
            )
        where = slice(maxlen - len(cut), None) if padding == "pre" else slice(len(cut))
        padded[i, where] = cut
    return padded


def _rows(sequences: Any) -> list[Any]:
    if not hasattr(sequences, "__len__") or isinstance(sequences, (str, bytes)):
        raise ValueError(
            f"pad_sequences: sequences must be a list of lists, got {type(sequences).__name__}"
        )
    rows = list(sequences)
    for i, row in enumerate(rows):
        if not hasattr(row, "__len__"):
            raise ValueError(f"pad_sequences: sequence {i} must be a list, got {row!r}")
    return rows
