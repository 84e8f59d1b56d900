"""split_dataset: two parts of the rows of arrays."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.random import pythons


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Split one or several arrays into their first and their last rows.

    Args:
        dataset: an array, or a list or tuple of arrays.
        left_size: rows of the left part: a number of them, or a share from 0 to 1. What remains if
            None.
        right_size: likewise for the right part.
        shuffle: whether to take the rows in a random order.
        seed: makes that order the same each time.
        preferred_backend: None.

    Returns:
        Two of what `dataset` is: copies if it was shuffled, views otherwise.

    Raises:
        TypeError: not arrays, or sizes that are no numbers.
        ValueError: arrays of different lengths, or sizes that do not fit.
    """
    if preferred_backend is not None:
        raise ValueError(
            f"split_dataset: preferred_backend must be None, got {preferred_backend!r}"
        )
    arrays = _arrays(dataset)
    rows = len(arrays[0])
    left, right = _sizes(left_size, right_size, rows)
    order: slice | NDArray[np.int64] = slice(None)
    if shuffle:
        shuffled = list(range(rows))
        random.Random(pythons().randint(0, 10**6) if seed is None else seed).shuffle(shuffled)
        order = np.array(shuffled)

    def part(rows_of: slice) -> Any:
        found = [array[order][rows_of] for array in arrays]
        if isinstance(dataset, (list, tuple)):
            return type(dataset)(found)
        return found[0]

    return part(slice(0, left)), part(slice(rows - right, rows))


def _arrays(dataset: Any) -> list[NDArray[Any]]:
    several = list(dataset) if isinstance(dataset, (list, tuple)) else [dataset]
    if not several:
        raise ValueError("split_dataset: dataset must have at least one array, got an empty list")
    for i, array in enumerate(several):
        if not isinstance(array, np.ndarray) or not array.ndim:
            raise TypeError(
                "split_dataset: dataset must be an array or a list of arrays, "
                f"got {type(array).__name__}" + (f" at place {i}" if len(several) > 1 else "")
            )
        if len(array) != len(several[0]):
            raise ValueError(
                f"split_dataset: arrays must have the same length, got {len(array)} at place {i} "
                f"and {len(several[0])} in the first"
            )
    return several


def _sizes(left: Any, right: Any, rows: int) -> tuple[int, int]:
    """Number of rows of each part."""
    if left is None and right is None:
        raise ValueError("split_dataset: left_size or right_size must be given, got neither")
    first, last = _count(left, "left_size", rows), _count(right, "right_size", rows)
    if first is None:
        first = rows - (last or 0)
    if last is None:
        last = rows - first
    if first + last > rows:
        raise ValueError(
            f"split_dataset: left_size and right_size must together be at most {rows} rows, "
            f"got {left} and {right}"
        )
    for name, size in (("left", first), ("right", last)):
        if size < 1:
            raise ValueError(
                f"split_dataset: the {name} part must not be empty, got left_size={left} and "
                f"right_size={right} of {rows} rows"
            )
    return first, last


def _count(size: Any, name: str, rows: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        raise TypeError(f"split_dataset: {name} must be an int, a float or None, got {size!r}")
    most = rows if isinstance(size, int) else 1
    if not 0 < size < most:
        raise ValueError(
            f"split_dataset: {name} must be a number of rows below {rows} or a share between 0 "
            f"and 1, got {size}"
        )
    return size if isinstance(size, int) else round(size * rows)
