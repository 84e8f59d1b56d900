"""The primitives of expressions in NumPy float64, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reference_activations import Array, sigmoid

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _power(a: Array, b: Array) -> Array:
    return np.float_power(a, b)


def _true(x: Array) -> Array:
    return np.asarray(x, np.float64)


ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "copy": np.positive,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "multiply_add": lambda a, b, c: a * b + c,
    "negative": np.negative,
    "reciprocal": lambda a: 1 / a,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "cbrt": np.cbrt,
    "power": _power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sigmoid": sigmoid,
    "softplus": lambda a: np.logaddexp(a, 0),
    "erf": _erf,
    "relu": lambda a: np.maximum(a, 0),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "above": lambda a, b: (a > b) + 0.5 * (a == b),
    "floor_divide": np.floor_divide,
    "mod": np.mod,
    "fmod": np.fmod,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "equal": lambda a, b: _true(a == b),
    "not_equal": lambda a, b: _true(a != b),
    "less": lambda a, b: _true(a < b),
    "less_equal": lambda a, b: _true(a <= b),
    "greater": lambda a, b: _true(a > b),
    "greater_equal": lambda a, b: _true(a >= b),
    "logical_and": lambda a, b: _true(np.logical_and(a, b)),
    "logical_or": lambda a, b: _true(np.logical_or(a, b)),
    "logical_xor": lambda a, b: _true(np.logical_xor(a, b)),
    "logical_not": lambda a: _true(np.logical_not(a)),
    "isnan": lambda a: _true(np.isnan(a)),
    "isinf": lambda a: _true(np.isinf(a)),
    "isfinite": lambda a: _true(np.isfinite(a)),
    "where": lambda a, b, c: np.where(a != 0, b, c),
    "gate": lambda a, b: np.where(a > 0, b, 0),
}

# Domains in which a primitive is smooth, by operands, for its gradients; (-2, 2) for all others.
SMOOTH: dict[str, tuple[tuple[float, float], ...]] = {
    "divide": ((-2, 2), (0.5, 2)),
    "reciprocal": ((0.3, 2),),
    "abs": ((0.3, 2),),
    "sqrt": ((0.3, 2),),
    "rsqrt": ((0.3, 2),),
    "cbrt": ((0.3, 2),),
    "power": ((0.3, 2), (-2, 2)),
    "log": ((0.3, 2),),
    "log1p": ((-0.7, 2),),
    "log2": ((0.3, 2),),
    "log10": ((0.3, 2),),
    "tan": ((-1, 1),),
    "asin": ((-0.9, 0.9),),
    "acos": ((-0.9, 0.9),),
    "atan2": ((0.3, 2), (-2, 2)),
    "acosh": ((1.3, 3),),
    "atanh": ((-0.9, 0.9),),
    "relu": ((0.1, 2),),
    "maximum": ((-2, 0), (0.1, 2)),
    "minimum": ((-2, 0), (0.1, 2)),
    "mod": ((0.2, 0.8), (0.9, 2)),
    "fmod": ((0.2, 0.8), (0.9, 2)),
}


def smooth_operands(name: str, arity: int, shape: Any, rng: np.random.Generator) -> list[Any]:
    """Operands at which the primitive has gradients, in float32."""
    ranges = SMOOTH.get(name, ((-2, 2),) * 3)
    made = [rng.uniform(*ranges[k], size=shape).astype(np.float32) for k in range(arity)]
    if name == "where":
        made[0] = (made[0] > 0).astype(np.float32)
    return made
