"""Scales and rounding of eight-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.optional_imports import needed


def compute_float8_scale(
    amax: ArrayLike, scale: ArrayLike, dtype_max: float, margin: int = 0
) -> NDArray[Any]:
    """Float8 scale ``amax / dtype_max * 2**margin``, or `scale` unless amax is finite and positive.

    Args:
        amax: the largest size that has been seen.
        scale: the scale so far.
        dtype_max: the largest number of the dtype.
        margin: how many powers of 2 are left free.
    """
    top, before = np.asarray(amax), 1 / np.asarray(scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = dtype_max / top / 2**margin
    result: NDArray[Any] = 1 / np.where((top > 0) & np.isfinite(top), factor, before)
    return result


def compute_float8_amax_history(x: ArrayLike, amax_history: ArrayLike) -> NDArray[Any]:
    """History of maxima shifted by one, with the largest absolute value of `x` first.

    Args:
        x: an array.
        amax_history: of one axis.
    """
    history = np.roll(np.asarray(amax_history), -1)
    history[0] = np.max(np.abs(np.asarray(x)))
    return history


def quantize_and_dequantize(
    inputs: ArrayLike, scale: ArrayLike, quantized_dtype: str, compute_dtype: str
) -> NDArray[Any]:
    """Quantization to an eight-bit float and back: ``inputs / scale`` rounded, times `scale`.

    Args:
        inputs: an array of floats.
        scale: a number.
        quantized_dtype: "float8_e4m3fn" or "float8_e5m2".
        compute_dtype: of the result.

    Raises:
        ImportError: the package ml_dtypes, which has these dtypes, is not there.
    """
    dtypes: Any = needed("ml_dtypes", "dtypes", "quantize_and_dequantize")
    small = np.dtype(getattr(dtypes, quantized_dtype))
    compute = np.dtype(getattr(dtypes, compute_dtype, None) or compute_dtype)
    top, factor = float(dtypes.finfo(small).max), np.asarray(scale).astype(compute)
    scaled = np.clip((np.asarray(inputs) / factor).astype(compute), -top, top)
    result: NDArray[Any] = scaled.astype(small).astype(compute) * factor
    return result
