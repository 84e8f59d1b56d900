"""Backend functions of `keras.backend`, of Keras 3 and Keras 2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from cdl._common.dtypes import is_float, standardize_dtype
from cdl._common.naming import clear_session, get_uid
from cdl._common.public_names import publish
from cdl._tracing.keras_tensor import is_keras_tensor
from cdl.compat import function_of_backend, get_value, int_shape, set_value
from cdl.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)

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
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
    "standardize_dtype",
]


def __getattr__(name: str) -> Any:
    return function_of_backend(name)


def is_float_dtype(dtype: DTypeLike) -> bool:
    """Whether a dtype is a floating-point one.

    Args:
        dtype: a dtype, its name, or Python's type of numbers.
    """
    return is_float(standardize_dtype(dtype))


def is_int_dtype(dtype: DTypeLike) -> bool:
    """Whether a dtype is an integer one, signed or not.

    Args:
        dtype: a dtype, its name, or Python's type of numbers.
    """
    return "int" in standardize_dtype(dtype)


def result_type(*dtypes: Any) -> str:
    """Dtype of an operation on those dtypes, by Keras's promotion rules.

    Python's `int` and `float` do not widen others, an integer beside a float gives that float, and
    nothing is wider than 32 bits.

    Args:
        dtypes: dtypes, names of them, or `int` and `float`.

    Raises:
        ValueError: something that is no dtype.
    """
    weak = [each for each in dtypes if each in (int, float)]
    names = [standardize_dtype(each) for each in dtypes if each not in (int, float)]
    floats = [name for name in names if "float" in name]
    if floats:
        found = floats[0] if len(set(floats)) == 1 else "float32"
    elif float in weak or not dtypes:
        found = floatx()
    elif not names or (weak and set(names) == {"bool"}):
        found = "int32"
    else:
        found = str(np.result_type(*names))
    return found.replace("64", "32")


publish(globals())
