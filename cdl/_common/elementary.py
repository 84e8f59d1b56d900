"""Functions of float64 arrays that have the same bits on every machine.

They are sums, products and quotients, which all processors round alike; NumPy's own functions have
other last digits on another one. Errors are a unit or two of the last place of a double.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_BY_FACTORIALS = [1 / math.factorial(k) for k in range(14)]
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(12)]
_BY_ODD = [1 / (2 * k + 1) for k in range(12)]


def _series(x: Doubles, coefficients: Sequence[float]) -> Doubles:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def exponential(x: ArrayLike) -> Any:
    """``e^x``: ``2^n e^r`` with ``|r| <= ln 2 / 2``."""
    x = np.clip(np.asarray(x, np.float64), -800.0, 800.0)
    n = np.rint(x / _LN2_HIGH)
    rest = (x - n * _LN2_HIGH) - n * _LN2_LOW
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ldexp(_series(rest, _BY_FACTORIALS), n.astype(np.int32))


def logarithm(x: ArrayLike) -> Any:
    """``ln x``: ``e ln 2 + 2 atanh s`` with ``|s| <= 0.172``; -inf of 0, NaN below."""
    x = np.asarray(x, np.float64)
    mantissa, exponent = np.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa, exponent = np.where(small, 2 * mantissa, mantissa), exponent - small
    with np.errstate(all="ignore"):
        s = (mantissa - 1) / (mantissa + 1)
        found = exponent * _LN2_HIGH + (exponent * _LN2_LOW + 2 * s * _series(s * s, _BY_ODD))
    return np.where(x > 0, found, np.where(x == 0, -math.inf, math.nan))


def power(base: ArrayLike, exponent: ArrayLike) -> Any:
    """``base^exponent``, as C has it: of a negative base for whole exponents, 1 for 0."""
    base, exponent = np.asarray(base, np.float64), np.asarray(exponent, np.float64)
    with np.errstate(invalid="ignore"):
        size = exponential(exponent * logarithm(np.abs(base)))
    of_negative = np.where(exponent % 2 == 0, size, np.where(exponent % 1 == 0, -size, math.nan))
    return np.where(exponent == 0, 1.0, np.where(base < 0, of_negative, size))


def cosine(x: ArrayLike) -> Any:
    """``cos x`` for ``|x| <= pi``: ``2 cos(x / 2)^2 - 1``."""
    half = np.asarray(x, np.float64) / 2
    near = _series(half * half, _COSINE)
    return 2 * near * near - 1
