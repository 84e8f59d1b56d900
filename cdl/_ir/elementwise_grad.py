"""Derivatives of primitives and of expressions.

``GRADIENTS`` is the one place that knows a primitive's derivative, as an expression in primitives:
the core has no second formula. Where Keras has a choice (ties, corners) its JAX backend's is
taken, but
for abs, whose gradient at 0 is 0 as everywhere else in cdl.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from cdl import _core
from cdl._ir.elementwise import DY, Expression, Y, apply, in_order

E = Expression
Gradients = Iterable[Expression | None]


def _power_gradients(g: E, y: E, a: E, b: E) -> Gradients:
    base = apply("where", apply("equal", a, 0.0), 1.0, a)  # where a is 0, the gradient by b is 0
    return g * (b * apply("power", a, b - 1.0)), g * (apply("log", base) * y)


def _atan2_gradients(g: E, y: E, a: E, b: E) -> Gradients:
    size = apply("square", a) + apply("square", b)
    return g * (b / size), -(g * (a / size))


def _divide_gradients(g: E, y: E, a: E, b: E) -> Gradients:
    by_a = g * apply("reciprocal", b) if b.is_column else g / b  # one division a line
    return by_a, -(by_a * y)


def _relu_gradient(g: E, y: E, a: E) -> Gradients:
    """Sign of the result where it is read, else that of the argument: both tell the same."""
    known = y if y.primitive == "argument" else a
    return (apply("gate", known, g),)


def _extreme_gradients(g: E, y: E, a: E) -> Gradients:
    """All numbers that are equal to the extreme get equal shares."""
    equal = apply("equal", a, y)
    return (apply("where", equal, g / apply("line_sum", equal), 0.0),)


def _unit(a: E) -> E:
    """Stable 1 - a^2, exact for a near 1."""
    return (1.0 - a) * (1.0 + a)


# Gradients of primitives: from g, that by its result y, and its operands to those by the operands.
# None: no gradient flows, since it is 0 wherever there is one. Where two gradients meet, both count
# half (maximum, minimum); abs and sign have gradient 0 at 0, relu as well.
GRADIENTS: dict[str, Callable[..., Gradients]] = {
    "add": lambda g, y, a, b: (g, g),
    "subtract": lambda g, y, a, b: (g, -g),
    "multiply": lambda g, y, a, b: (g * b, g * a),
    "divide": _divide_gradients,
    "multiply_add": lambda g, y, a, b, c: (g * b, g * a, g),
    "negative": lambda g, y, a: (-g,),
    "reciprocal": lambda g, y, a: (-(g * apply("square", y)),),
    "abs": lambda g, y, a: (g * apply("sign", a),),
    "square": lambda g, y, a: (g * (a + a),),
    "sqrt": lambda g, y, a: ((g * 0.5) / y,),
    "rsqrt": lambda g, y, a: (((g * -0.5) * y) / a,),  # y / a is a power of -3: out of range
    "cbrt": lambda g, y, a: (g / (3.0 * apply("square", y)),),
    "power": _power_gradients,
    "exp": lambda g, y, a: (g * y,),
    "expm1": lambda g, y, a: (g * (y + 1.0),),
    "log": lambda g, y, a: (g / a,),
    "log1p": lambda g, y, a: (g / (1.0 + a),),
    "log2": lambda g, y, a: (g / (a * math.log(2.0)),),
    "log10": lambda g, y, a: (g / (a * math.log(10.0)),),
    "sin": lambda g, y, a: (g * apply("cos", a),),
    "cos": lambda g, y, a: (-(g * apply("sin", a)),),
    "tan": lambda g, y, a: (g * (1.0 + apply("square", y)),),
    "asin": lambda g, y, a: (g * apply("rsqrt", _unit(a)),),
    "acos": lambda g, y, a: (-(g * apply("rsqrt", _unit(a))),),
    "atan": lambda g, y, a: (g / (1.0 + apply("square", a)),),
    "atan2": _atan2_gradients,
    "sinh": lambda g, y, a: (g * apply("cosh", a),),
    "cosh": lambda g, y, a: (g * apply("sinh", a),),
    "tanh": lambda g, y, a: (g * _unit(y),),
    "asinh": lambda g, y, a: (g * apply("rsqrt", apply("square", a) + 1.0),),
    "acosh": lambda g, y, a: (g * apply("rsqrt", (a - 1.0) * (a + 1.0)),),
    "atanh": lambda g, y, a: (g / _unit(a),),
    "sigmoid": lambda g, y, a: (g * (y * (1.0 - y)),),
    "softplus": lambda g, y, a: (g * apply("sigmoid", a),),
    "erf": lambda g, y, a: (g * (apply("exp", -apply("square", a)) * (2.0 / math.sqrt(math.pi))),),
    "relu": _relu_gradient,
    "maximum": lambda g, y, a, b: (g * apply("above", a, b), g * apply("above", b, a)),
    "minimum": lambda g, y, a, b: (g * apply("above", b, a), g * apply("above", a, b)),
    "mod": lambda g, y, a, b: (g, -(g * apply("floor_divide", a, b))),
    "fmod": lambda g, y, a, b: (g, -(g * apply("trunc", a / b))),
    "where": lambda g, y, a, b, c: (None, apply("where", a, g, 0.0), apply("where", a, 0.0, g)),
    "gate": lambda g, y, a, b: (None, apply("gate", a, g)),
    "line_sum": lambda g, y, a: (g,),
    "line_dot": lambda g, y, a, b: ((g + g) * a, None) if a is b else (g * b, g * a),
    "line_max": _extreme_gradients,
    "line_min": _extreme_gradients,
}
FLAT = frozenset(_core.ELEMENTWISE) - set(GRADIENTS) - {"copy"}  # no gradient flows through these


def gradients(root: Expression, n: int) -> list[Expression | None]:
    """Gradient expression of each of the n arguments, given DY; None for no gradient."""
    by_result: dict[int, Expression | None] = {id(root): Expression("argument", (), DY)}
    by_argument: list[Expression | None] = [None] * n
    for x in reversed(in_order(root)):
        g = by_result.get(id(x))
        if g is None or x.primitive == "constant":
            continue
        if x.primitive == "argument":
            k = int(x.value)
            by_argument[k] = _sum(by_argument[k], g)
        elif x.primitive in GRADIENTS:
            y = Expression("argument", (), Y) if x is root else x
            is_of_columns = x.is_column and x.primitive not in _core.LINEWISE
            for a, gradient in zip(x.args, GRADIENTS[x.primitive](g, y, *x.args), strict=True):
                serves_line = a.is_column and not (
                    is_of_columns and gradient and gradient.is_column
                )
                if gradient is not None and serves_line:
                    gradient = apply("line_sum", gradient)
                by_result[id(a)] = _sum(by_result.get(id(a)), gradient)
    return by_argument


def _sum(a: Expression | None, b: Expression | None) -> Expression | None:
    return b if a is None else a if b is None else a + b
