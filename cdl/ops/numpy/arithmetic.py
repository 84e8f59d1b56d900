"""Elementwise arithmetic: sums, products, powers and their like.

All of them broadcast as NumPy does. Whole numbers stay whole where they can; a quotient, a root or
a reciprocal of them is float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import pair_operation, tensor_operation
from cdl.ops.arrays import real
from cdl.ops.exact_integers import (
    exact,
    no_bound,
    product_of_bounds,
    square_of_bound,
    sum_of_bounds,
)
from cdl.ops.lowering import elementwise, mapped


def _add(program: Lowering, spec: KerasTensor, x1: ArrayLike, x2: ArrayLike) -> Any:
    return mapped(program, spec, "logical_or" if spec.dtype == "bool" else "add", x1, x2)


@pair_operation(exact("add", _add, sum_of_bounds))
def add(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise sum, x1 + x2."""
    return np.add(x1, x2)


@pair_operation(exact("subtract", elementwise("subtract"), sum_of_bounds))
def subtract(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise difference, x1 - x2."""
    return np.subtract(x1, x2)


@pair_operation(exact("multiply", elementwise("multiply"), product_of_bounds))
def multiply(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise product, x1 * x2."""
    return np.multiply(x1, x2)


@pair_operation(elementwise("divide"))
def divide(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise quotient, x1 / x2, as floating-point numbers."""
    return np.true_divide(x1, x2)


@pair_operation(elementwise("divide"))
def true_divide(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise quotient, x1 / x2, as `divide`."""
    return np.true_divide(x1, x2)


def _divide_no_nan(a: Expression, b: Expression) -> Expression:
    zero = apply("equal", b, 0.0)
    return apply("where", zero, 0.0, a / apply("where", zero, 1.0, b))


@pair_operation(elementwise(_divide_no_nan))
def divide_no_nan(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise quotient, x1 / x2, and 0 where x2 is 0."""
    a, b = real(x1), real(x2)
    quotient = np.true_divide(a, np.where(b == 0, 1, b).astype(b.dtype))
    return np.where(b == 0, np.zeros((), quotient.dtype), quotient)


@pair_operation(elementwise("floor_divide"))
def floor_divide(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise floor division: the largest integer up to x1 / x2."""
    return np.floor_divide(x1, x2)


@pair_operation(elementwise("mod"))
def mod(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Remainder of `floor_divide`, with the sign of x2."""
    return np.mod(x1, x2)


@pair_operation(elementwise("fmod"))
def fmod(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Remainder of truncated division, with the sign of x1."""
    return np.fmod(x1, x2)


@pair_operation(exact("power", elementwise("power"), no_bound))
def power(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise power, x1 to the power of x2."""
    return np.power(x1, x2)


@tensor_operation(elementwise("negative"))
def negative(x: ArrayLike) -> Any:
    """Elementwise negation of x, -x."""
    return np.negative(x)


@tensor_operation(elementwise("abs"))
def absolute(x: ArrayLike) -> Any:
    """Absolute value |x|; its gradient at 0 is 0."""
    return np.absolute(x)


abs = absolute


@tensor_operation(elementwise("abs"))
def fabs(x: ArrayLike) -> Any:
    """Absolute value |x| as a floating-point number."""
    return np.fabs(real(x))


@tensor_operation(elementwise("sign"))
def sign(x: ArrayLike) -> Any:
    """Sign of x: 1 above 0, -1 below, 0 at it."""
    return np.sign(x)


@tensor_operation(exact("square", elementwise("square"), square_of_bound))
def square(x: ArrayLike) -> Any:
    """Elementwise square, x * x."""
    array = np.asarray(x)
    return np.square(array.astype(np.int32) if array.dtype == bool else array)


@tensor_operation(elementwise("sqrt"))
def sqrt(x: ArrayLike) -> Any:
    """Square root; NaN below 0."""
    return np.sqrt(real(x))


@tensor_operation(elementwise("cbrt"))
def cbrt(x: ArrayLike) -> Any:
    """Cube root, also of negative numbers."""
    return np.cbrt(real(x))


@tensor_operation(elementwise("reciprocal"))
def reciprocal(x: ArrayLike) -> Any:
    """Reciprocal 1 / x, as a floating-point number."""
    return np.reciprocal(real(x))


@pair_operation(elementwise("maximum"))
def maximum(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise maximum of two; equal ones have half the gradient each."""
    return np.maximum(x1, x2)


@pair_operation(elementwise("minimum"))
def minimum(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise minimum of two; equal ones have half the gradient each."""
    return np.minimum(x1, x2)


def _fmax(a: Expression, b: Expression) -> Expression:
    return apply("where", apply("isnan", a), b, apply("where", apply("less", a, b), b, a))


def _fmin(a: Expression, b: Expression) -> Expression:
    return apply("where", apply("isnan", a), b, apply("where", apply("greater", a, b), b, a))


@pair_operation(elementwise(_fmax))
def fmax(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise maximum as `maximum`, but a NaN is ignored beside a number."""
    return np.fmax(x1, x2)


@pair_operation(elementwise(_fmin))
def fmin(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise minimum as `minimum`, but a NaN is ignored beside a number."""
    return np.fmin(x1, x2)


def _hypot(a: Expression, b: Expression) -> Expression:
    """Stable expression by the smaller side over the larger one.

    Sides keep their signs, and one comparison chooses both, so that derivatives of any order are
    right where a side is 0 or both are equal: `abs` and `maximum` have corners there.
    """
    a_first = apply("greater_equal", apply("abs", a), apply("abs", b))
    large, small = apply("where", a_first, a, b), apply("where", a_first, b, a)
    none = apply("equal", large, 0.0)
    share = apply("where", none, small, small / apply("where", none, 1.0, large))  # NaN stays
    infinite = apply("logical_or", apply("isinf", a), apply("isinf", b))
    length = apply("abs", large) * apply("sqrt", apply("square", share) + 1.0)
    return apply("where", infinite, math.inf, length)


@pair_operation(elementwise(_hypot))
def hypot(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Hypotenuse sqrt(x1^2 + x2^2)."""
    return np.hypot(real(x1), real(x2))


def _heaviside(a: Expression, b: Expression) -> Expression:
    step = apply("where", apply("equal", a, 0.0), b, apply("greater", a, 0.0))
    return apply("where", apply("isnan", a), a, step)


@pair_operation(elementwise(_heaviside))
def heaviside(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Heaviside step: 0 where x1 is below 0, 1 where it is above, x2 where it is 0."""
    return np.heaviside(real(x1), real(x2))
