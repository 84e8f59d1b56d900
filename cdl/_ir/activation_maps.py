"""Activations as expressions: for maps, and for derivatives of any order.

The core computes an activation by a formula of its own, with the same numbers but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cdl._ir.elementwise import Expression, apply, constant


def _where(
    condition: str, a: Expression, b: float, yes: Expression | float, no: Expression | float
) -> Expression:
    return apply("where", apply(condition, a, b), yes, no)


def _relu(x: Expression, slope: float, most: float, threshold: float) -> Expression:
    """Expression of Keras's relu; at a corner in 0 the slope is the one above it."""
    above = x if math.isinf(most) else _between(x, 0.0, most)
    is_corner = threshold == 0.0 and slope != 0.0
    below = (x - threshold) * slope if slope else constant(0.0)
    return _where("greater_equal" if is_corner else "greater", x, threshold, above, below)


def _between(x: Expression, low: float, high: float) -> Expression:
    return _where("less", x, low, low, _where("greater", x, high, high, x))


def _relu6(x: Expression) -> Expression:
    """Expression between 0 and 6, at which the gradient is 0, as at NaN, which stays NaN."""
    above = apply("relu", x)
    return _where("greater_equal", above, 6.0, 6.0, above)


def _where_above(size: Expression, limit: float, x: Expression, other: float) -> Expression:
    """Expression where a size is above a limit, else a number; NaN stays NaN, with gradient 0."""
    rest = apply("where", apply("isnan", x), math.nan, other)
    return _where("greater", size, limit, x, rest)


def _elu(x: Expression, alpha: float, rate: float = 1.0) -> Expression:
    """Expression of x above 0, else alpha (exp(rate x) - 1); its gradient is finite above, too."""
    below = apply("expm1", _where("greater", x, 0.0, 0.0, x) * rate)
    return _where("greater", x, 0.0, x, below * alpha)


def _smooth_clip(x: Expression, limit: float) -> Expression:
    part = _between(x * (1.0 / limit), -1e9, 1e9)
    return part * apply("rsqrt", apply("square", part) + 1.0) * limit


def _soft_shrink(x: Expression, size: float) -> Expression:
    rest = apply("where", apply("isnan", x), x, 0.0)
    return _where("greater", x, size, x - size, _where("less", x, -size, x + size, rest))


def _sparse_plus(x: Expression) -> Expression:
    return _where("less", x, 1.0, apply("square", apply("relu", x + 1.0)) * 0.25, x)


# An expression of the argument and the parameters for each row of `_core.ACTIVATIONS`.
ACTIVATIONS: dict[str, Callable[..., Expression]] = {
    "linear": lambda x: x,
    "relu": _relu,
    "plain_relu": lambda x: apply("relu", x),
    "leaky_relu": lambda x, slope: _where("less", x, 0.0, x * slope, x),
    "elu": _elu,
    "selu": lambda x: _elu(x, 1.6732632423543772) * 1.0507009873554805,
    "sigmoid": lambda x: apply("sigmoid", x),
    "tanh": lambda x: apply("tanh", x),
    "softplus": lambda x: apply("softplus", x),
    "gelu": lambda x: x * (apply("erf", x * math.sqrt(0.5)) * 0.5 + 0.5),
    "gelu_tanh": lambda x: (
        x
        * apply("sigmoid", x * (apply("square", x) * 0.044715 + 1.0) * (2 * math.sqrt(2 / math.pi)))
    ),
    "silu": lambda x: x * apply("sigmoid", x),
    "celu": lambda x, alpha: _elu(x, alpha, 1.0 / alpha),
    "exponential": lambda x: apply("exp", x),
    "hard_shrink": lambda x, size: _where_above(apply("abs", x), size, x, 0.0),
    "hard_sigmoid": lambda x: _relu6(x + 3.0) * (1.0 / 6.0),
    "hard_silu": lambda x: x * (_relu6(x + 3.0) * (1.0 / 6.0)),
    "hard_tanh": lambda x: _between(x, -1.0, 1.0),
    "log_sigmoid": lambda x: -apply("softplus", -x),
    "mish": lambda x: x * apply("tanh", apply("softplus", x)),
    "relu6": _relu6,
    "smooth_clip": _smooth_clip,
    "soft_shrink": _soft_shrink,
    "softsign": lambda x: x / (apply("abs", x) + 1.0),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: _between((x + 1.0) * 0.5, 0.0, 1.0),
    "squareplus": lambda x, b: (x + apply("sqrt", apply("square", x) + b)) * 0.5,
    "tanh_shrink": lambda x: x - apply("tanh", x),
    "threshold": lambda x, least, other: _where_above(x, least, x, other),
}
