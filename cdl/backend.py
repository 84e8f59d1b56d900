"""backend.py - the names that Keras 3 still has under `keras.backend`, and three of Keras 2's."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl.compat import get_value, int_shape, set_value
from cdl.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    standardize_dtype,
)
from cdl.utils.naming import clear_session, get_uid

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "get_value",
    "image_data_format",
    "int_shape",
    "is_float_dtype",
    "is_int_dtype",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
    "standardize_dtype",
]


def is_float_dtype(dtype: Any) -> bool:
    """Whether a dtype is one of floating-point numbers."""
    return np.issubdtype(np.dtype(standardize_dtype(dtype)), np.floating)


def is_int_dtype(dtype: Any) -> bool:
    """Whether a dtype is one of whole numbers, signed or not."""
    return np.issubdtype(np.dtype(standardize_dtype(dtype)), np.integer)
