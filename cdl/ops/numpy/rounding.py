"""Rounding and clipping of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._tracing.operation import tensor_operation
from cdl.ops.arrays import real
from cdl.ops.lowering import elementwise


@tensor_operation(
    elementwise(lambda x, low, high: apply("minimum", apply("maximum", x, low), high))
)
def clip(x: ArrayLike, x_min: ArrayLike, x_max: Any) -> Any:
    """Clip x to [x_min, x_max].

    Args:
        x: numbers.
        x_min: the smallest number allowed, or an array that broadcasts.
        x_max: the largest, likewise.
    """
    array = np.asarray(x)
    return np.clip(array.astype(np.int32) if array.dtype == bool else array, x_min, x_max)


def _round(x: Expression, decimals: Expression) -> Expression:
    factor = apply("power", 10.0, decimals)
    return apply("round", x * factor) / factor


@tensor_operation(elementwise(_round))
def round(x: ArrayLike, decimals: int = 0) -> Any:
    """Round x to a number of decimals; ties to the even number."""
    array = np.asarray(x)
    return array if array.dtype == bool else np.round(array, decimals)


@tensor_operation(elementwise("floor"))
def floor(x: ArrayLike) -> Any:
    """Floor: the largest integer up to x, as a floating-point number."""
    return np.floor(real(x))


@tensor_operation(elementwise("ceil"))
def ceil(x: ArrayLike) -> Any:
    """Ceiling: the smallest integer from x on, as a floating-point number."""
    return np.ceil(real(x))


@tensor_operation(elementwise("trunc"))
def trunc(x: ArrayLike) -> Any:
    """Truncation of x towards 0."""
    return np.trunc(x)


def _nan_to_num(x: Expression, nan: Expression, posinf: Any, neginf: Any) -> Expression:
    most = float(np.finfo(np.float32).max)
    high = apply("greater", x, most)
    low = apply("less", x, -most)
    finite = apply("where", high, most if posinf is None else posinf, x)
    finite = apply("where", low, -most if neginf is None else neginf, finite)
    return apply("where", apply("isnan", x), nan, finite)


@tensor_operation(elementwise(_nan_to_num))
def nan_to_num(x: ArrayLike, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Replace NaN and infinities in x by numbers.

    Args:
        x: numbers.
        nan: what stands for a NaN.
        posinf: what stands for infinity; None for the largest float32.
        neginf: what stands for minus infinity; None for the smallest float32.
    """
    array = np.asarray(x)
    return np.nan_to_num(array, nan=nan, posinf=posinf, neginf=neginf).astype(array.dtype)
