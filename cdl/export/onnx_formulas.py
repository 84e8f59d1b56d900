"""Elementwise functions as nodes of ONNX: one row each.

A row is a function of the graph, of the name of x (and of further operands), and, for an
activation, of its parameters; it returns the name of the result.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cdl.export.to_onnx import Graph

Parameters = dict[str, float]


def _add(g: "Graph", a: str, b: str | float) -> str:
    return g.node("Add", a, _name(g, b))


def _sub(g: "Graph", a: str | float, b: str | float) -> str:
    return g.node("Sub", _name(g, a), _name(g, b))


def _mul(g: "Graph", a: str | float, b: str | float) -> str:
    return g.node("Mul", _name(g, a), _name(g, b))


def _div(g: "Graph", a: str | float, b: str | float) -> str:
    return g.node("Div", _name(g, a), _name(g, b))


def _name(g: "Graph", operand: str | float) -> str:
    return operand if isinstance(operand, str) else g.constant(operand)


def _where(g: "Graph", condition: str, a: str | float, b: str | float) -> str:
    return g.node("Where", condition, _name(g, a), _name(g, b))


def _compare(g: "Graph", op: str, a: str, b: str | float) -> str:
    return g.node(op, a, _name(g, b))


def _clip(g: "Graph", x: str, low: float, high: float) -> str:
    return g.node("Clip", x, g.constant(low), g.constant(high))


def _plain(op: str) -> Callable[..., str]:
    """Operator of ONNX itself."""
    return lambda g, *operands: g.node(op, *operands[: len(operands)])


def _of_x(op: str) -> Callable[..., str]:
    return lambda g, x, p: g.node(op, x)


def _relu(g: "Graph", x: str, p: Parameters) -> str:
    above, slope, threshold = x, p["negative_slope"], p["threshold"]
    if math.isfinite(p["max_value"]):
        above = _clip(g, x, 0.0, p["max_value"])
    below: str | float = 0.0 if slope == 0 else _mul(g, _sub(g, x, threshold), slope)
    return _where(g, _compare(g, "Greater", x, threshold), above, below)


def _celu(g: "Graph", x: str, p: Parameters) -> str:
    bent = _mul(g, _expm1(g, _div(g, x, p["alpha"])), p["alpha"])
    return _where(g, _compare(g, "Greater", x, 0.0), x, bent)


def _elu(g: "Graph", x: str, p: Parameters) -> str:
    bent = _mul(g, _expm1(g, x), p["alpha"])
    return _where(g, _compare(g, "Greater", x, 0.0), x, bent)


def _selu(g: "Graph", x: str, p: Parameters) -> str:
    return _mul(g, _elu(g, x, {"alpha": 1.6732632423543772}), 1.0507009873554805)


def _gelu(g: "Graph", x: str, p: Parameters) -> str:
    share = _add(g, g.node("Erf", _mul(g, x, math.sqrt(0.5))), 1.0)
    return _mul(g, _mul(g, x, 0.5), share)


def _gelu_tanh(g: "Graph", x: str, p: Parameters) -> str:
    bend = _add(g, _mul(g, _mul(g, x, x), 0.044715), 1.0)
    return _mul(g, x, g.node("Sigmoid", _mul(g, _mul(g, x, 1.5957691216057308), bend)))


def _hard_sigmoid(g: "Graph", x: str, p: Parameters) -> str:
    return _mul(g, _clip(g, _add(g, x, 3.0), 0.0, 6.0), 1 / 6)


def _soft_shrink(g: "Graph", x: str, p: Parameters) -> str:
    t = p["threshold"]
    below = _where(g, _compare(g, "Less", x, -t), _add(g, x, t), 0.0)
    return _where(g, _compare(g, "Greater", x, t), _sub(g, x, t), below)


def _sparse_plus(g: "Graph", x: str, p: Parameters) -> str:
    half = _mul(g, _clip(g, _add(g, x, 1.0), 0.0, 2.0), 0.5)
    return _where(g, _compare(g, "Less", x, 1.0), _mul(g, half, half), x)


def _squareplus(g: "Graph", x: str, p: Parameters) -> str:
    root = g.node("Sqrt", _add(g, _mul(g, x, x), p["b"]))
    right = _mul(g, _add(g, x, root), 0.5)
    left = _div(g, 0.5 * p["b"], _sub(g, root, x))
    return _where(g, _compare(g, "Less", x, 0.0), left, right)


def _tanh_shrink(g: "Graph", x: str, p: Parameters) -> str:
    """Stable x - tanh(x): x^3 / 3 - 2 x^5 / 15 + 17 x^7 / 315 near 0."""
    square = _mul(g, x, x)
    series = _add(g, _mul(g, _add(g, _mul(g, square, 17 / 315), -2 / 15), square), 1 / 3)
    near = _mul(g, _mul(g, square, x), series)
    small = _compare(g, "Less", g.node("Abs", x), 0.1)
    return _where(g, small, near, _sub(g, x, g.node("Tanh", x)))


ACTIVATIONS: dict[str, Callable[["Graph", str, Parameters], str]] = {
    "linear": lambda g, x, p: x,
    "relu": _relu,
    "plain_relu": _of_x("Relu"),
    "leaky_relu": lambda g, x, p: g.node("LeakyRelu", x, alpha=p["negative_slope"]),
    "elu": _elu,
    "selu": _selu,
    "sigmoid": _of_x("Sigmoid"),
    "tanh": _of_x("Tanh"),
    "softplus": _of_x("Softplus"),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda g, x, p: _mul(g, x, g.node("Sigmoid", x)),
    "celu": _celu,
    "exponential": _of_x("Exp"),
    "hard_shrink": lambda g, x, p: _where(
        g, _compare(g, "LessOrEqual", g.node("Abs", x), p["threshold"]), 0.0, x
    ),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda g, x, p: _mul(g, x, _hard_sigmoid(g, x, p)),
    "hard_tanh": lambda g, x, p: _clip(g, x, -1.0, 1.0),
    "log_sigmoid": lambda g, x, p: g.node("Neg", g.node("Softplus", g.node("Neg", x))),
    "mish": lambda g, x, p: _mul(g, x, g.node("Tanh", g.node("Softplus", x))),
    "relu6": lambda g, x, p: _clip(g, x, 0.0, 6.0),
    "soft_shrink": _soft_shrink,
    "softsign": lambda g, x, p: _div(g, x, _add(g, g.node("Abs", x), 1.0)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda g, x, p: _clip(g, _mul(g, _add(g, x, 1.0), 0.5), 0.0, 1.0),
    "squareplus": _squareplus,
    "tanh_shrink": _tanh_shrink,
    "threshold": lambda g, x, p: _where(
        g, _compare(g, "LessOrEqual", x, p["threshold"]), p["default_value"], x
    ),
}


def _expm1(g: "Graph", a: str) -> str:
    """Stable e^a - 1 = 2 sinh(a / 2) e^(a / 2), exact near 0."""
    half = _mul(g, g.node("Max", a, g.constant(-80.0)), 0.5)
    return _mul(g, _mul(g, g.node("Sinh", half), 2.0), g.node("Exp", half))


def _log1p(g: "Graph", a: str) -> str:
    """Stable log(1 + a), near 0 as 2 atanh(a / (2 + a))."""
    near = _mul(g, g.node("Atanh", _div(g, a, _add(g, a, 2.0))), 2.0)
    small = _compare(g, "Less", g.node("Abs", a), 0.5)
    return _where(g, small, near, g.node("Log", _add(g, a, 1.0)))


def _cbrt(g: "Graph", a: str) -> str:
    return _mul(g, g.node("Sign", a), g.node("Pow", g.node("Abs", a), g.constant(1 / 3)))


def _atan2(g: "Graph", a: str, b: str) -> str:
    turn = _where(g, _compare(g, "Less", a, 0.0), -math.pi, math.pi)
    turned = _where(g, _compare(g, "Less", b, 0.0), turn, 0.0)
    level = _compare(g, "Equal", b, 0.0)
    upright = _mul(g, g.node("Sign", a), math.pi / 2)
    plain = g.node("Atan", g.node("Div", a, _where(g, level, 1.0, b)))
    return _where(g, level, upright, _add(g, plain, turned))


def _mod(g: "Graph", a: str, b: str) -> str:
    rest = g.node("Mod", a, b, fmod=1)
    signs = [_compare(g, "Less", each, 0.0) for each in (rest, b)]
    other = g.node("And", g.truth(rest), g.node("Xor", *signs))
    return _where(g, other, _add(g, rest, b), rest)


def _above(g: "Graph", a: str, b: str) -> str:
    even = _where(g, _compare(g, "Equal", a, b), 0.5, 0.0)
    return _where(g, _compare(g, "Greater", a, b), 1.0, even)


def _compared(op: str, negated: bool = False) -> Callable[..., str]:
    def write(g: "Graph", a: str, b: str) -> str:
        found = g.node(op, a, b)
        return g.number(g.node("Not", found) if negated else found)

    return write


def _logical(op: str) -> Callable[..., str]:
    return lambda g, *operands: g.number(g.node(op, *(g.truth(each) for each in operands)))


ELEMENTWISE: dict[str, Callable[..., str]] = {
    "copy": lambda g, a: a,
    "add": _plain("Add"),
    "subtract": _plain("Sub"),
    "multiply": _plain("Mul"),
    "divide": _plain("Div"),
    "multiply_add": lambda g, a, b, c: g.node("Add", g.node("Mul", a, b), c),
    "negative": _plain("Neg"),
    "reciprocal": _plain("Reciprocal"),
    "abs": _plain("Abs"),
    "sign": _plain("Sign"),
    "square": lambda g, a: g.node("Mul", a, a),
    "sqrt": _plain("Sqrt"),
    "rsqrt": lambda g, a: g.node("Reciprocal", g.node("Sqrt", a)),
    "cbrt": _cbrt,
    "power": _plain("Pow"),
    "exp": _plain("Exp"),
    "expm1": _expm1,
    "log": _plain("Log"),
    "log1p": _log1p,
    "log2": lambda g, a: _mul(g, g.node("Log", a), 1 / math.log(2)),
    "log10": lambda g, a: _mul(g, g.node("Log", a), 1 / math.log(10)),
    "sin": _plain("Sin"),
    "cos": _plain("Cos"),
    "tan": _plain("Tan"),
    "asin": _plain("Asin"),
    "acos": _plain("Acos"),
    "atan": _plain("Atan"),
    "atan2": _atan2,
    "sinh": _plain("Sinh"),
    "cosh": _plain("Cosh"),
    "tanh": _plain("Tanh"),
    "asinh": _plain("Asinh"),
    "acosh": _plain("Acosh"),
    "atanh": _plain("Atanh"),
    "sigmoid": _plain("Sigmoid"),
    "softplus": _plain("Softplus"),
    "erf": _plain("Erf"),
    "relu": _plain("Relu"),
    "maximum": _plain("Max"),
    "minimum": _plain("Min"),
    "above": _above,
    "floor_divide": lambda g, a, b: g.node("Floor", g.node("Div", a, b)),
    "mod": _mod,
    "fmod": lambda g, a, b: g.node("Mod", a, b, fmod=1),
    "floor": _plain("Floor"),
    "ceil": _plain("Ceil"),
    "round": _plain("Round"),
    "trunc": lambda g, a: g.node("Mul", g.node("Sign", a), g.node("Floor", g.node("Abs", a))),
    "equal": _compared("Equal"),
    "not_equal": _compared("Equal", negated=True),
    "less": _compared("Less"),
    "less_equal": _compared("LessOrEqual"),
    "greater": _compared("Greater"),
    "greater_equal": _compared("GreaterOrEqual"),
    "logical_and": _logical("And"),
    "logical_or": _logical("Or"),
    "logical_xor": _logical("Xor"),
    "logical_not": _logical("Not"),
    "isnan": lambda g, a: g.number(g.node("IsNaN", a)),
    "isinf": lambda g, a: g.number(g.node("IsInf", a)),
    "isfinite": lambda g, a: g.number(_compare(g, "Less", g.node("Abs", a), float(np.inf))),
    "where": lambda g, a, b, c: g.node("Where", g.truth(a), b, c),
}


def activation(g: "Graph", kind: str, attributes: dict[str, Any], x: str) -> str:
    """Activation of x, with its parameters among the attributes of an instruction."""
    parameters = {
        name: float(value) for name, value in attributes.items() if not isinstance(value, str)
    }
    return ACTIVATIONS[kind](g, x, parameters)
