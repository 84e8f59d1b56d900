"""Exponentials, logarithms, and the functions of angles, element by element.

All of them give floating-point numbers; outside of where a function is defined that is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._tracing.operation import pair_operation, tensor_operation
from cdl.ops.arrays import real
from cdl.ops.lowering import elementwise

# --- exponentials and logarithms ---


@tensor_operation(elementwise("exp"))
def exp(x: ArrayLike) -> Any:
    """e to the power of x."""
    return np.exp(real(x))


@tensor_operation(elementwise(lambda x: apply("exp", x * math.log(2.0))))
def exp2(x: ArrayLike) -> Any:
    """2 to the power of x."""
    return np.exp2(real(x))


@tensor_operation(elementwise("expm1"))
def expm1(x: ArrayLike) -> Any:
    """exp(x) - 1, exact near 0."""
    return np.expm1(real(x))


@tensor_operation(elementwise("log"))
def log(x: ArrayLike) -> Any:
    """The natural logarithm."""
    return np.log(real(x))


@tensor_operation(elementwise("log1p"))
def log1p(x: ArrayLike) -> Any:
    """log(1 + x), exact near 0."""
    return np.log1p(real(x))


@tensor_operation(elementwise("log2"))
def log2(x: ArrayLike) -> Any:
    """The logarithm to base 2."""
    return np.log2(real(x))


@tensor_operation(elementwise("log10"))
def log10(x: ArrayLike) -> Any:
    """The logarithm to base 10."""
    return np.log10(real(x))


def _apart(a: Expression, b: Expression) -> Expression:
    """|a - b|, and 0 of equal infinities."""
    return apply("abs", apply("where", apply("equal", a, b), 0.0, a - b))


def _logaddexp(a: Expression, b: Expression) -> Expression:
    return apply("maximum", a, b) + apply("log1p", apply("exp", -_apart(a, b)))


def _logaddexp2(a: Expression, b: Expression) -> Expression:
    more = apply("log1p", apply("exp", _apart(a, b) * -math.log(2.0)))
    return apply("maximum", a, b) + more * (1 / math.log(2.0))


@pair_operation(elementwise(_logaddexp))
def logaddexp(x1: ArrayLike, x2: ArrayLike) -> Any:
    """log(exp(x1) + exp(x2))."""
    return np.logaddexp(real(x1), real(x2))


@pair_operation(elementwise(_logaddexp2))
def logaddexp2(x1: ArrayLike, x2: ArrayLike) -> Any:
    """log2(2^x1 + 2^x2)."""
    return np.logaddexp2(real(x1), real(x2))


@pair_operation(elementwise(lambda x, n: x * apply("power", 2.0, n)))
def ldexp(x1: ArrayLike, x2: ArrayLike) -> Any:
    """x1 * 2^x2."""
    return real(x1) * np.exp2(real(x2))


# --- angles ---


@tensor_operation(elementwise("sin"))
def sin(x: ArrayLike) -> Any:
    """The sine of an angle in radians."""
    return np.sin(real(x))


@tensor_operation(elementwise("cos"))
def cos(x: ArrayLike) -> Any:
    """The cosine of an angle in radians."""
    return np.cos(real(x))


@tensor_operation(elementwise("tan"))
def tan(x: ArrayLike) -> Any:
    """The tangent of an angle in radians."""
    return np.tan(real(x))


@tensor_operation(elementwise("asin"))
def arcsin(x: ArrayLike) -> Any:
    """The angle from -pi/2 to pi/2 whose sine is x."""
    return np.arcsin(real(x))


@tensor_operation(elementwise("acos"))
def arccos(x: ArrayLike) -> Any:
    """The angle from 0 to pi whose cosine is x."""
    return np.arccos(real(x))


@tensor_operation(elementwise("atan"))
def arctan(x: ArrayLike) -> Any:
    """The angle from -pi/2 to pi/2 whose tangent is x."""
    return np.arctan(real(x))


@pair_operation(elementwise("atan2"))
def arctan2(x1: ArrayLike, x2: ArrayLike) -> Any:
    """The angle from -pi to pi of the point that is x2 to the right and x1 up."""
    return np.arctan2(real(x1), real(x2))


@tensor_operation(elementwise("sinh"))
def sinh(x: ArrayLike) -> Any:
    """(exp(x) - exp(-x)) / 2."""
    return np.sinh(real(x))


@tensor_operation(elementwise("cosh"))
def cosh(x: ArrayLike) -> Any:
    """(exp(x) + exp(-x)) / 2."""
    return np.cosh(real(x))


@tensor_operation(elementwise("tanh"))
def tanh(x: ArrayLike) -> Any:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return np.tanh(real(x))


@tensor_operation(elementwise("asinh"))
def arcsinh(x: ArrayLike) -> Any:
    """The number whose sinh is x."""
    return np.arcsinh(real(x))


@tensor_operation(elementwise("acosh"))
def arccosh(x: ArrayLike) -> Any:
    """The number from 0 whose cosh is x."""
    return np.arccosh(real(x))


@tensor_operation(elementwise("atanh"))
def arctanh(x: ArrayLike) -> Any:
    """The number whose tanh is x."""
    return np.arctanh(real(x))


def _sinc(x: Expression) -> Expression:
    at = apply("where", apply("equal", x, 0.0), 1.0, x) * math.pi
    return apply("where", apply("equal", x, 0.0), 1.0, apply("sin", at) / at)


@tensor_operation(elementwise(_sinc))
def sinc(x: ArrayLike) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    return np.sinc(real(x))


@tensor_operation(elementwise(lambda x: x * (math.pi / 180)))
def deg2rad(x: ArrayLike) -> Any:
    """Degrees as radians."""
    return np.deg2rad(real(x))


@tensor_operation(elementwise(lambda x: x * (180 / math.pi)))
def rad2deg(x: ArrayLike) -> Any:
    """Radians as degrees."""
    return np.rad2deg(real(x))


# --- others ---


@tensor_operation(untraced="it has no instruction: work on arrays")
def i0(x: ArrayLike) -> Any:
    """The modified Bessel function of the first kind, of order 0."""
    return np.i0(real(x))


@pair_operation(untraced="it has no instruction: work on arrays")
def nextafter(x1: ArrayLike, x2: ArrayLike) -> Any:
    """The float32 that comes after x1 on the way to x2."""
    return np.nextafter(real(x1), real(x2))
