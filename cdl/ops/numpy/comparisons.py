"""Elementwise comparisons, logic, and selection.

A truth is a bool; in a program it is 1 or 0, and any nonzero number counts as true. No gradient
flows through one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import Saved, operation, pair_operation, tensor_operation
from cdl.ops.arrays import real, samples_apart, whole
from cdl.ops.lowering import elementwise


@pair_operation(elementwise("equal"))
def equal(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise equality, x1 == x2."""
    return np.equal(x1, x2)


@pair_operation(elementwise("not_equal"))
def not_equal(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise inequality, x1 != x2."""
    return np.not_equal(x1, x2)


@pair_operation(elementwise("less"))
def less(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise comparison x1 < x2."""
    return np.less(x1, x2)


@pair_operation(elementwise("less_equal"))
def less_equal(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise comparison x1 <= x2."""
    return np.less_equal(x1, x2)


@pair_operation(elementwise("greater"))
def greater(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise comparison x1 > x2."""
    return np.greater(x1, x2)


@pair_operation(elementwise("greater_equal"))
def greater_equal(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Elementwise comparison x1 >= x2."""
    return np.greater_equal(x1, x2)


@pair_operation(elementwise("logical_and"))
def logical_and(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Logical and: whether both are true."""
    return np.logical_and(x1, x2)


@pair_operation(elementwise("logical_or"))
def logical_or(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Logical or: whether at least one is true."""
    return np.logical_or(x1, x2)


@pair_operation(elementwise("logical_xor"))
def logical_xor(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Logical exclusive or: whether just one is true."""
    return np.logical_xor(x1, x2)


@tensor_operation(elementwise("logical_not"))
def logical_not(x: ArrayLike) -> Any:
    """Logical not: whether x is false."""
    return np.logical_not(x)


@tensor_operation(elementwise("isnan"))
def isnan(x: ArrayLike) -> Any:
    """Whether x is NaN."""
    return np.isnan(x)


@tensor_operation(elementwise("isinf"))
def isinf(x: ArrayLike) -> Any:
    """Whether x is infinity or minus infinity."""
    return np.isinf(x)


@tensor_operation(elementwise("isfinite"))
def isfinite(x: ArrayLike) -> Any:
    """Whether x is finite: a number, and not infinite."""
    return np.isfinite(x)


@tensor_operation(elementwise(lambda x: apply("equal", x, float("inf"))))
def isposinf(x: ArrayLike) -> Any:
    """Whether x is infinity."""
    return np.isposinf(real(x))


@tensor_operation(elementwise(lambda x: apply("equal", x, float("-inf"))))
def isneginf(x: ArrayLike) -> Any:
    """Whether x is minus infinity."""
    return np.isneginf(real(x))


@tensor_operation(elementwise(lambda x: apply("equal", x, x) + apply("isnan", x)))
def isreal(x: ArrayLike) -> Any:
    """Whether x has no imaginary part: always, since there are no complex numbers."""
    return np.isreal(np.asarray(x))


def _signbit(x: Expression) -> Expression:
    below = apply("less", apply("reciprocal", x), 0.0)  # -0 is the one number that is not by itself
    return apply("logical_or", apply("less", x, 0.0), below)


@tensor_operation(elementwise(_signbit))
def signbit(x: ArrayLike) -> Any:
    """Whether the sign bit of x is set: below 0, or -0."""
    return np.signbit(x)


def _isclose(a: Expression, b: Expression, rtol: Any, atol: Any, equal_nan: Any) -> Expression:
    near = apply("less_equal", apply("abs", a - b), atol + rtol * apply("abs", b))
    near = apply(
        "logical_or", apply("logical_and", near, apply("isfinite", b)), apply("equal", a, b)
    )
    if not equal_nan.value:
        return near
    return apply("logical_or", near, apply("logical_and", apply("isnan", a), apply("isnan", b)))


@pair_operation(elementwise(_isclose))
def isclose(
    x1: ArrayLike, x2: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether numbers are close: |x1 - x2| <= atol + rtol |x2|.

    Args:
        x1: numbers.
        x2: numbers.
        rtol: relative tolerance.
        atol: absolute tolerance.
        equal_nan: whether a NaN is close to a NaN.
    """
    return np.isclose(x1, x2, rtol, atol, equal_nan)


@pair_operation(
    on_arrays(), untraced=lambda x1, x2, *_: samples_apart(x2, None), saved=Saved("IsIn")
)
def isin(x1: ArrayLike, x2: ArrayLike, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether an element is one of x2.

    Args:
        x1: numbers.
        x2: an array of numbers.
        assume_unique: that neither has a number twice.
        invert: tell whether it is none.
    """
    return np.isin(x1, x2, assume_unique=assume_unique, invert=invert)


def _indices_only(
    condition: ArrayLike, x1: ArrayLike | None = None, x2: ArrayLike | None = None
) -> str:
    return "give both choices: how many indices there are is not known" if x1 is x2 is None else ""


@operation(elementwise("where"), untraced=_indices_only)
def where(condition: Any, x1: ArrayLike | None = None, x2: Any = None) -> Any:
    """Elementwise selection: x1 where the condition holds, x2 where it does not.

    Args:
        condition: truths.
        x1: numbers; with neither of both the result is where the condition holds, as `nonzero`.
        x2: numbers.

    Raises:
        ValueError: only one of x1 and x2.
    """
    if (x1 is None) != (x2 is None):
        raise ValueError("where: x1 and x2 must be given both or not at all, got one")
    if x1 is None:
        return np.nonzero(condition)
    return np.where(np.asarray(condition).astype(bool), x1, x2)


@operation()
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Elementwise selection of the choice of the first condition that holds.

    Args:
        condlist: a list of arrays of truths.
        choicelist: as many arrays of numbers.
        default: what stands where no condition holds.

    Raises:
        ValueError: lists of different lengths, or none.
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            f"select: choicelist must have as many parts as condlist, at least one, got "
            f"{len(choicelist)} and {len(condlist)}"
        )
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return result


@pair_operation(on_arrays(), untraced=lambda x1, x2, *_: whole(x1, x2), saved=Saved("AllClose"))
def allclose(
    x1: ArrayLike, x2: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are close; arguments as of `isclose`."""
    return np.bool_(np.allclose(x1, x2, rtol, atol, equal_nan))
