"""Attention masks: of padding, of the future, of a window, joined to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.ops.core.tensors import cast
from cdl.ops.numpy.comparisons import logical_and
from cdl.ops.numpy.shapes import expand_dims


def causal(queries: int, keys: int) -> NDArray[np.bool_]:
    """Causal mask: keys up to the query's own place, of shape (1, queries, keys)."""
    return np.tri(queries, keys, dtype=bool)[None]


def windowed(queries: int, keys: int, width: int) -> NDArray[np.bool_]:
    """Window mask: keys less than `width` places away, of shape (1, queries, keys)."""
    places = np.arange(max(queries, keys))
    return np.asarray(np.abs(places[:queries, None] - places[:keys]) < width)[None]


def joined(*masks: Any) -> Any:
    """Intersection of masks; None for a mask that shows all."""
    result = None
    for mask in masks:
        if mask is not None:
            mask = as_bool(mask)
            result = mask if result is None else logical_and(result, mask)
    return result


def as_bool(mask: Any) -> Any:
    """Mask as one of bools."""
    return mask if getattr(mask, "dtype", None) in ("bool", bool) else cast(mask, "bool")


def of_lines(query_mask: Any, value_mask: Any, key_mask: Any) -> Any:
    """Masks of queries, values and keys as one, broadcastable to (batch, queries, keys)."""
    return joined(
        None if query_mask is None else expand_dims(query_mask, -1),
        None if value_mask is None else expand_dims(value_mask, -2),
        None if key_mask is None else expand_dims(key_mask, -2),
    )


def with_axes(mask: Any, rank: int, at: int) -> Any:
    """Mask with as many axes as the scores: new axes of size 1 at place `at`, from the end.

    Args:
        mask: of fewer axes, or None.
        rank: of the scores.
        at: the place of the axis of heads: the new axes are put there.
    """
    if mask is not None:
        for _ in range(rank - len(mask.shape)):
            mask = expand_dims(mask, at)
    return mask
