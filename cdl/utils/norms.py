"""Normalization of arrays by their norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import whole
from cdl._tracing.symbolic import operator_of


def normalize(x: ArrayLike, axis: int = -1, order: Any = 2) -> Any:
    """L1, L2 or other normalization, ``x / norm(x)`` along one axis; zeros stay zeros.

    Of a symbolic tensor, and of what a tape records, it is `cdl.ops.normalize`.

    Args:
        x: an array of numbers.
        axis: the axis.
        order: of the norm, as `numpy.linalg.norm` takes it: 2 is the Euclidean one.

    Raises:
        ValueError: an axis that is not there.
    """
    is_array = type(x) is np.ndarray or isinstance(x, np.memmap)
    followed = hasattr(x, "__array_function__") and not is_array
    array: Any = x if followed else np.asarray(x)
    axis = whole("normalize", "axis", axis)
    if not array.ndim or not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"normalize: axis must be one of {array.ndim} axes of x, got {axis} for shape "
            f"{array.shape}"
        )
    if followed:
        return operator_of("normalize")(array, axis, order)
    norm = np.linalg.norm(array, order, axis, keepdims=True)
    norm[norm == 0] = 1
    return array / norm
