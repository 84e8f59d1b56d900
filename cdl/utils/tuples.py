"""Packing of x, y and weights into batches, and unpacking."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Any:
    """Pack x, y and weights into the shortest tuple; x alone stays, unless it is a list.

    Args:
        x: samples.
        y: targets, or None.
        sample_weight: weights, or None.
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Unpack a batch into x, y and weights; None for missing ones.

    Args:
        data: a tuple of one to three parts.

    Raises:
        ValueError: a tuple of more than three.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "unpack_x_y_sample_weight: data must be x, (x,), (x, y) or (x, y, sample_weight), "
            f"got a tuple of {len(data)}"
        )
    return (*data, None, None)[:3]
