"""Elementary functions: exponentials, logarithms, trigonometric and hyperbolic functions.

All of them give floating-point numbers; outside of where a function is defined that is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import pair_operation, tensor_operation
from cdl.ops.arrays import real
from cdl.ops.lowering import elementwise

# --- exponentials and logarithms ---


@tensor_operation(elementwise("exp"))
def exp(x: ArrayLike) -> Any:
    """Exponential, e to the power of x."""
    return np.exp(real(x))


@tensor_operation(elementwise(lambda x: apply("exp", x * math.log(2.0))))
def exp2(x: ArrayLike) -> Any:
    """Power of 2, 2 to the power of x."""
    return np.exp2(real(x))


@tensor_operation(elementwise("expm1"))
def expm1(x: ArrayLike) -> Any:
    """Exponential less one, exp(x) - 1, exact near 0."""
    return np.expm1(real(x))


@tensor_operation(elementwise("log"))
def log(x: ArrayLike) -> Any:
    """Natural logarithm of x."""
    return np.log(real(x))


@tensor_operation(elementwise("log1p"))
def log1p(x: ArrayLike) -> Any:
    """Logarithm of one plus x, log(1 + x), exact near 0."""
    return np.log1p(real(x))


@tensor_operation(elementwise("log2"))
def log2(x: ArrayLike) -> Any:
    """Logarithm of x to base 2."""
    return np.log2(real(x))


@tensor_operation(elementwise("log10"))
def log10(x: ArrayLike) -> Any:
    """Logarithm of x to base 10."""
    return np.log10(real(x))


def _larger_and_gap(a: Expression, b: Expression) -> tuple[Expression, Expression]:
    """The larger of two numbers, and how far the other is below it (0 of equal infinities).

    Both are chosen by one comparison, so that derivatives of any order are right where a is b;
    those of `maximum` and `abs` have a corner there.
    """
    a_first = apply("greater_equal", a, b)
    same = apply("logical_and", apply("isinf", a), apply("equal", a, b))  # a - b is NaN there
    larger, gap = apply("where", a_first, a, b), apply("where", a_first, b - a, a - b)
    return apply("where", same, (a + b) * 0.5, larger), apply("where", same, 0.0, gap)


def _logaddexp(a: Expression, b: Expression) -> Expression:
    larger, gap = _larger_and_gap(a, b)
    return larger + apply("softplus", gap)


def _logaddexp2(a: Expression, b: Expression) -> Expression:
    larger, gap = _larger_and_gap(a, b)
    return larger + apply("softplus", gap * math.log(2.0)) * (1 / math.log(2.0))


@pair_operation(elementwise(_logaddexp))
def logaddexp(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Stable log(exp(x1) + exp(x2))."""
    return np.logaddexp(real(x1), real(x2))


@pair_operation(elementwise(_logaddexp2))
def logaddexp2(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Stable log2(2^x1 + 2^x2)."""
    return np.logaddexp2(real(x1), real(x2))


@pair_operation(elementwise(lambda x, n: x * apply("power", 2.0, n)))
def ldexp(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Product with a power of 2, x1 * 2^x2."""
    return real(x1) * np.exp2(real(x2))


# --- angles ---


@tensor_operation(elementwise("sin"))
def sin(x: ArrayLike) -> Any:
    """Sine of an angle in radians."""
    return np.sin(real(x))


@tensor_operation(elementwise("cos"))
def cos(x: ArrayLike) -> Any:
    """Cosine of an angle in radians."""
    return np.cos(real(x))


@tensor_operation(elementwise("tan"))
def tan(x: ArrayLike) -> Any:
    """Tangent of an angle in radians."""
    return np.tan(real(x))


@tensor_operation(elementwise("asin"))
def arcsin(x: ArrayLike) -> Any:
    """Inverse sine, an angle from -pi/2 to pi/2."""
    return np.arcsin(real(x))


@tensor_operation(elementwise("acos"))
def arccos(x: ArrayLike) -> Any:
    """Inverse cosine, an angle from 0 to pi."""
    return np.arccos(real(x))


@tensor_operation(elementwise("atan"))
def arctan(x: ArrayLike) -> Any:
    """Inverse tangent, an angle from -pi/2 to pi/2."""
    return np.arctan(real(x))


@pair_operation(elementwise("atan2"))
def arctan2(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Angle from -pi to pi of the point that is x2 to the right and x1 up."""
    return np.arctan2(real(x1), real(x2))


@tensor_operation(elementwise("sinh"))
def sinh(x: ArrayLike) -> Any:
    """Hyperbolic sine, (exp(x) - exp(-x)) / 2."""
    return np.sinh(real(x))


@tensor_operation(elementwise("cosh"))
def cosh(x: ArrayLike) -> Any:
    """Hyperbolic cosine, (exp(x) + exp(-x)) / 2."""
    return np.cosh(real(x))


@tensor_operation(elementwise("tanh"))
def tanh(x: ArrayLike) -> Any:
    """Hyperbolic tangent, (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return np.tanh(real(x))


@tensor_operation(elementwise("asinh"))
def arcsinh(x: ArrayLike) -> Any:
    """Inverse hyperbolic sine of x."""
    return np.arcsinh(real(x))


@tensor_operation(elementwise("acosh"))
def arccosh(x: ArrayLike) -> Any:
    """Inverse hyperbolic cosine of x, from 0 on."""
    return np.arccosh(real(x))


@tensor_operation(elementwise("atanh"))
def arctanh(x: ArrayLike) -> Any:
    """Inverse hyperbolic tangent of x."""
    return np.arctanh(real(x))


def _sinc(x: Expression) -> Expression:
    """Near 0 the Taylor series, whose derivatives do not cancel there as those of sin(a) / a do."""
    angle = x * math.pi
    near = apply("less", apply("abs", angle), 0.5)
    square = apply("square", apply("where", near, angle, 0.0))  # not infinite: 0 times it is NaN
    series = 1.0 - square / 6 * (1.0 - square / 20 * (1.0 - square / 42 * (1.0 - square / 72)))
    angle = apply("where", near, 1.0, angle)
    return apply("where", near, series, apply("sin", angle) / angle)


@tensor_operation(elementwise(_sinc))
def sinc(x: ArrayLike) -> Any:
    """Normalized sinc, sin(pi x) / (pi x), and 1 at 0."""
    return np.sinc(real(x))


@tensor_operation(elementwise(lambda x: x * (math.pi / 180)))
def deg2rad(x: ArrayLike) -> Any:
    """Degrees converted to radians."""
    return np.deg2rad(real(x))


@tensor_operation(elementwise(lambda x: x * (180 / math.pi)))
def rad2deg(x: ArrayLike) -> Any:
    """Radians converted to degrees."""
    return np.rad2deg(real(x))


# --- others ---


def _i0_gradient(dy: Any, y: Any, x: Any) -> Any:
    """Gradient by the Bessel function of order 1, the mean of exp(x cos t) cos t."""
    cosines = np.cos((np.arange(256) + 0.5) * (np.pi / 256))
    return dy * np.mean(np.exp(np.expand_dims(x, -1) * cosines) * cosines, axis=-1)


@tensor_operation(on_arrays(_i0_gradient))
def i0(x: ArrayLike) -> Any:
    """Modified Bessel function of the first kind, of order 0."""
    return np.i0(real(x))


@pair_operation(on_arrays(lambda dy, y, x1, x2: dy))
def nextafter(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Next float32 after x1 in the direction of x2."""
    return np.nextafter(real(x1), real(x2))
