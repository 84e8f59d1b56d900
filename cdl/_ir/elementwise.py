"""Elementwise expressions over values, simplified as they are built.

An expression is a tree of the core's primitives (``_core.ELEMENTWISE``) over arguments, which stand
for the inputs of an instruction ``map``, and constants. Those of ``_core.LINEWISE`` make columns,
a number for each line, and so does a primitive of columns and constants; with another operand they
count as lines of equal numbers. elementwise_grad.py differentiates an expression, bytecode.py makes
of it what the core runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import Union

import numpy as np

from cdl import _core

Operand = Union["Expression", float]


class Expression:
    """Primitive of other expressions, or a leaf: an argument or a constant.

    Attributes:
        primitive: a row of ``_core.ELEMENTWISE`` or ``_core.LINEWISE``, or "argument" or
            "constant".
        args: what the primitive is of.
        value: the number of an argument (DY and Y stand for the gradient by the result and for the
            result itself), or a constant.
        is_column: whether it is a number for each line.
    """

    __slots__ = ("args", "is_column", "primitive", "value")

    def __init__(self, primitive: str, args: tuple[Expression, ...], value: float = 0.0) -> None:
        self.primitive = primitive
        self.args = args
        self.value = value
        self.is_column: bool = primitive in _core.LINEWISE or (
            any(a.is_column for a in args)
            and all(a.is_column or a.primitive == "constant" for a in args)
        )

    def __add__(self, other: Operand) -> Expression:
        return apply("add", self, other)

    def __radd__(self, other: Operand) -> Expression:
        return apply("add", other, self)

    def __sub__(self, other: Operand) -> Expression:
        return apply("subtract", self, other)

    def __rsub__(self, other: Operand) -> Expression:
        return apply("subtract", other, self)

    def __mul__(self, other: Operand) -> Expression:
        return apply("multiply", self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return apply("multiply", other, self)

    def __truediv__(self, other: Operand) -> Expression:
        return apply("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Expression:
        return apply("divide", other, self)

    def __pow__(self, other: Operand) -> Expression:
        return apply("power", self, other)

    def __neg__(self) -> Expression:
        return apply("negative", self)

    def __repr__(self) -> str:
        if self.primitive == "constant":
            return f"{self.value:g}"
        if self.primitive == "argument":
            return {DY: "dy", Y: "y"}.get(int(self.value), f"#{self.value:g}")
        return f"{self.primitive}({', '.join(map(repr, self.args))})"


DY, Y = -1, -2


def argument(k: int) -> Expression:
    """Input k of the instruction as an expression."""
    return Expression("argument", (), k)


def arguments(n: int) -> tuple[Expression, ...]:
    """First n inputs of the instruction."""
    return tuple(argument(k) for k in range(n))


def constant(value: float) -> Expression:
    """Constant, rounded to float32."""
    return Expression("constant", (), float(np.float32(value)))


def apply(primitive: str, *operands: Operand) -> Expression:
    """Simplified expression of a primitive and its operands.

    Raises:
        ValueError: if there is no such primitive, or it takes another number of operands.
    """
    arity = _core.ELEMENTWISE.get(primitive, _core.LINEWISE.get(primitive))
    if arity != len(operands):
        what = "no primitive of that name" if arity is None else f"{arity} operands"
        raise ValueError(f"{primitive}: expected {what}, got {len(operands)}")
    args = tuple(o if isinstance(o, Expression) else constant(o) for o in operands)
    simpler = _SIMPLER.get(primitive)
    found = simpler(*args) if simpler else None
    return Expression(primitive, args) if found is None else found


def is_constant(x: Expression, value: float | None = None) -> bool:
    """Whether an expression is a constant, and of this value if one is given."""
    return x.primitive == "constant" and (value is None or x.value == value)


# ------------------------------------------------------------------------------ cheaper forms


def _folded(f: Callable[..., float], *args: Expression) -> Expression | None:
    """Constant result of a primitive of constants."""
    if all(map(is_constant, args)):
        with np.errstate(all="ignore"):
            return constant(f(*(np.float32(x.value) for x in args)))
    return None


def _add(a: Expression, b: Expression) -> Expression | None:
    if is_constant(a, 0.0):
        return b
    if is_constant(b, 0.0):
        return a
    if b.primitive == "negative":
        return a - b.args[0]
    if a.primitive == "negative":
        return b - a.args[0]
    return _folded(lambda x, y: x + y, a, b)


def _subtract(a: Expression, b: Expression) -> Expression | None:
    if is_constant(b, 0.0):
        return a
    if is_constant(a, 0.0):
        return -b
    if b.primitive == "negative":
        return a + b.args[0]
    return _folded(lambda x, y: x - y, a, b)


def _multiply(a: Expression, b: Expression) -> Expression | None:
    for x, y in ((a, b), (b, a)):
        if is_constant(x, 1.0):
            return y
        if is_constant(x, -1.0):
            return -y
        if x.primitive == "negative":
            return -(x.args[0] * y)
    if a is b or (a.primitive == b.primitive == "argument" and a.value == b.value):
        return apply("square", a)
    return _folded(lambda x, y: x * y, a, b)


def _divide(a: Expression, b: Expression) -> Expression | None:
    if is_constant(a, 1.0):
        return apply("reciprocal", b)
    if is_constant(b) and b.value != 0.0 and abs(math.frexp(b.value)[0]) == 0.5:
        return a * (1.0 / b.value)  # by a power of two: exact
    if b.is_column and b.primitive == "sqrt" and not a.is_column:
        return a * apply("rsqrt", b.args[0])  # one division a line
    return None


def _negative(a: Expression) -> Expression | None:
    if a.primitive == "negative":
        return a.args[0]
    if a.primitive == "subtract":
        return a.args[1] - a.args[0]
    return _folded(lambda x: -x, a)


_POWERS: dict[float, Callable[[Expression], Expression]] = {
    0.0: lambda a: constant(1.0),
    1.0: lambda a: a,
    2.0: lambda a: apply("square", a),
    3.0: lambda a: apply("square", a) * a,
    4.0: lambda a: apply("square", apply("square", a)),
    0.5: lambda a: apply("sqrt", a),
    -0.5: lambda a: apply("rsqrt", a),
    -1.0: lambda a: apply("reciprocal", a),
    -2.0: lambda a: apply("reciprocal", apply("square", a)),
}


def _power(a: Expression, b: Expression) -> Expression | None:
    form = _POWERS.get(b.value) if is_constant(b) else None
    return None if form is None else form(a)


def _line_sum(a: Expression) -> Expression | None:
    """Factors that are columns, and signs, are taken out: they are fewer than elements."""
    if a.primitive == "negative":
        return -apply("line_sum", a.args[0])
    if a.primitive == "square":
        return apply("line_dot", a.args[0], a.args[0])
    if a.primitive == "multiply":
        for x, y in (a.args, a.args[::-1]):
            if x.is_column or x.primitive == "constant":
                return x * apply("line_sum", y)
        return apply("line_dot", *a.args)
    return None


_SIMPLER: dict[str, Callable[..., Expression | None]] = {
    "copy": lambda a: a,
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "power": _power,
    "line_sum": _line_sum,
}


# ------------------------------------------------------------------------------ whole trees


def in_order(*roots: Expression, known: Container[int] = ()) -> list[Expression]:
    """All subexpressions of the roots, operands first, each object once.

    Args:
        roots: expressions.
        known: ids of those that are left out, with what they alone are made of.
    """
    found: dict[int, Expression] = {}
    stack = [(root, False) for root in reversed(roots) if id(root) not in known]
    while stack:
        x, ready = stack.pop()
        if ready:
            found.setdefault(id(x), x)
        elif id(x) not in found:
            stack.append((x, True))
            stack += [(a, False) for a in reversed(x.args) if id(a) not in known]
    return list(found.values())


def substituted(x: Expression, replace: Callable[[int], Expression]) -> Expression:
    """Expression with its arguments replaced by `replace`."""
    made: dict[int, Expression] = {}
    for part in in_order(x):
        if part.primitive == "argument":
            made[id(part)] = replace(int(part.value))
        elif part.primitive == "constant":
            made[id(part)] = part
        else:
            made[id(part)] = apply(part.primitive, *(made[id(a)] for a in part.args))
    return made[id(x)]


def unified(x: Expression) -> Expression:
    """Expression in which equal parts are one object, so that their gradients meet."""
    made: dict[int, Expression] = {}
    known: dict[tuple[str, float, tuple[int, ...]], Expression] = {}
    for part in in_order(x):
        args = tuple(made[id(a)] for a in part.args)
        key = (part.primitive, part.value, tuple(map(id, args)))
        found = known.get(key)
        if found is None:
            new = apply(part.primitive, *args) if args else part
            found = known[key] = new
        made[id(part)] = found
    return made[id(x)]
