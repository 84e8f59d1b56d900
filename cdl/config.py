"""config.py - the settings of the whole process, under Keras's names.

cdl computes in float32 and its kernels have Keras's default epsilon compiled in. A setting that
would ask for something else is refused here rather than ignored later.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOATX = "float32"
_EPSILON = 1e-7
_DATA_FORMATS = ("channels_first", "channels_last")
_image_data_format = "channels_last"


def backend() -> str:
    """What computes: always "cdl"."""
    return "cdl"


def floatx() -> str:
    """The dtype of weights and results: always "float32"."""
    return _FLOATX


def set_floatx(value: str) -> None:
    """Accepts "float32", the only dtype that cdl computes in; ValueError for any other."""
    if value != _FLOATX:
        raise ValueError(f"set_floatx: value must be 'float32', cdl's only one, got {value!r}")


def epsilon() -> float:
    """The small number that keeps logarithms and divisions finite: 1e-7."""
    return _EPSILON


def set_epsilon(value: float) -> None:
    """Accepts 1e-7, which the kernels are compiled with; ValueError for any other."""
    if value != _EPSILON:
        raise ValueError(f"set_epsilon: value must be 1e-07, cdl's only one, got {value!r}")


def image_data_format() -> str:
    """What image layers take an array's axes to be unless told: "channels_last" at first."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set what `image_data_format` gives: "channels_last" or "channels_first"."""
    global _image_data_format  # noqa: PLW0603 - a setting of the process is what this module holds
    _image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None, owner: str = "data_format") -> str:
    """A data format checked and in lower case; None is the process's setting."""
    if data_format is None:
        return _image_data_format
    lower = str(data_format).lower()
    if lower not in _DATA_FORMATS:
        raise ValueError(
            f"{owner}: data_format must be one of {_DATA_FORMATS}, got {data_format!r}"
        )
    return lower


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype, of whatever spelling; None is `floatx()`.

    Raises:
        ValueError: something that is no dtype.
    """
    if dtype is None:
        return _FLOATX
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise ValueError(f"Invalid dtype: {dtype!r}") from None
