"""Normalization of arrays by their norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import whole


def normalize(x: Any, axis: int = -1, order: Any = 2) -> NDArray[Any]:
    """L1, L2 or other normalization, ``x / norm(x)`` along one axis; zeros stay zeros.

    Args:
        x: an array of numbers.
        axis: the axis.
        order: of the norm, as `numpy.linalg.norm` takes it: 2 is the Euclidean one.

    Raises:
        ValueError: an axis that is not there.
    """
    array = np.asarray(x)
    axis = whole("normalize", "axis", axis)
    if not array.ndim or not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"normalize: axis must be one of {array.ndim} axes of x, got {axis} for shape "
            f"{array.shape}"
        )
    norm = np.linalg.norm(array, order, axis, keepdims=True)
    norm[norm == 0] = 1
    result: NDArray[Any] = array / norm
    return result
