"""Elementwise functions as nodes of ONNX."""

import ast
import math
from collections.abc import Callable
from typing import Any

from cdl.export import formulas
from cdl.export.to_onnx import Graph

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Or: "Or",
    ast.And: "And",
    ast.Eq: "Equal",
    ast.Lt: "Less",
    ast.LtE: "LessOrEqual",
    ast.Gt: "Greater",
    ast.GtE: "GreaterOrEqual",
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.Div: "Div",
}

Operand = str | float


class Writer:
    """Nodes of one expression; equal parts of it are one node."""

    def __init__(self, g: Graph, operands: dict[str, str]) -> None:
        self.g = g
        self._operands = operands
        self._known: dict[str, str] = {}

    def number(self, node: ast.expr) -> str:
        """Name of the value of an expression."""
        name = self._write(node)
        return self.g.number(name) if formulas.is_truth(node) else name

    def _write(self, node: ast.expr) -> str:
        key = ast.dump(node)
        if key not in self._known:
            self._known[key] = self._written(node)
        return self._known[key]

    def _written(self, node: ast.expr) -> str:
        g, write = self.g, self._write
        match node:
            case ast.Name(id=name):
                return self._operands[name]
            case ast.Constant(value=value):
                return g.constant(value)
            case ast.UnaryOp(operand=x):
                return g.node("Neg", write(x))
            case ast.BinOp(left=a, op=op, right=b):
                return g.node(_OPERATORS[type(op)], write(a), write(b))
            case ast.Compare(left=a, ops=[ast.NotEq()], comparators=[b]):
                return g.node("Not", g.node("Equal", write(a), write(b)))
            case ast.Compare(left=a, ops=[op], comparators=[b]):
                return g.node(_OPERATORS[type(op)], write(a), write(b))
            case ast.BoolOp(op=op, values=[a, b]):
                return g.node(_OPERATORS[type(op)], write(a), write(b))
            case ast.Call(func=ast.Name(id=name), args=args):
                function = FUNCTIONS[name]
                if isinstance(function, str):
                    return g.node(function, *map(write, args))
                # Constants come as numbers, for functions that ask for their values.
                given = (e.value if isinstance(e, ast.Constant) else write(e) for e in args)
                return function(g, *given)
        raise AssertionError(ast.dump(node))


def _add(g: Graph, a: str, b: Operand) -> str:
    return g.node("Add", a, _name(g, b))


def _sub(g: Graph, a: Operand, b: Operand) -> str:
    return g.node("Sub", _name(g, a), _name(g, b))


def _mul(g: Graph, a: Operand, b: Operand) -> str:
    return g.node("Mul", _name(g, a), _name(g, b))


def _div(g: Graph, a: Operand, b: Operand) -> str:
    return g.node("Div", _name(g, a), _name(g, b))


def _name(g: Graph, operand: Operand) -> str:
    return operand if isinstance(operand, str) else g.constant(operand)


def _where(g: Graph, condition: str, a: Operand, b: Operand) -> str:
    return g.node("Where", condition, _name(g, a), _name(g, b))


def _compare(g: Graph, op: str, a: str, b: Operand) -> str:
    return g.node(op, a, _name(g, b))


def _clip(g: Graph, x: str, low: float, high: float) -> str:
    return g.node("Clip", x, g.constant(low), g.constant(high))


def _relu(g: Graph, x: str, slope: float, top: float, threshold: float) -> str:
    above = _clip(g, x, 0.0, top) if math.isfinite(top) else x
    below: Operand = 0.0 if slope == 0 else _mul(g, _sub(g, x, threshold), slope)
    return _where(g, _compare(g, "LessOrEqual", x, threshold), below, above)


def _squareplus(g: Graph, x: str, b: float) -> str:
    root = g.node("Sqrt", _add(g, _mul(g, x, x), b))
    right = _mul(g, _add(g, x, root), 0.5)
    left = _div(g, 0.5 * b, _sub(g, root, x))
    return _where(g, _compare(g, "Less", x, 0.0), left, right)


def _tanh_shrink(g: Graph, x: str) -> str:
    """Stable x - tanh(x): x^3 / 3 - 2 x^5 / 15 + 17 x^7 / 315 near 0."""
    square = _mul(g, x, x)
    series = _add(g, _mul(g, _add(g, _mul(g, square, 17 / 315), -2 / 15), square), 1 / 3)
    near = _mul(g, _mul(g, square, x), series)
    small = _compare(g, "Less", g.node("Abs", x), 0.1)
    return _where(g, small, near, _sub(g, x, g.node("Tanh", x)))


def _expm1(g: Graph, a: str) -> str:
    """Stable e^a - 1 = 2 sinh(a / 2) e^(a / 2), exact near 0."""
    half = _mul(g, g.node("Max", a, g.constant(-80.0)), 0.5)
    return _mul(g, _mul(g, g.node("Sinh", half), 2.0), g.node("Exp", half))


def _log1p(g: Graph, a: str) -> str:
    """Stable log(1 + a), near 0 as 2 atanh(a / (2 + a))."""
    near = _mul(g, g.node("Atanh", _div(g, a, _add(g, a, 2.0))), 2.0)
    small = _compare(g, "Less", g.node("Abs", a), 0.5)
    return _where(g, small, near, g.node("Log", _add(g, a, 1.0)))


def _atan2(g: Graph, a: str, b: str) -> str:
    turn = _where(g, _compare(g, "Less", a, 0.0), -math.pi, math.pi)
    turned = _where(g, _compare(g, "Less", b, 0.0), turn, 0.0)
    level = _compare(g, "Equal", b, 0.0)
    upright = _mul(g, g.node("Sign", a), math.pi / 2)
    plain = g.node("Atan", g.node("Div", a, _where(g, level, 1.0, b)))
    return _where(g, level, upright, _add(g, plain, turned))


def _mod(g: Graph, a: str, b: str) -> str:
    rest = g.node("Mod", a, b, fmod=1)
    signs = [_compare(g, "Less", each, 0.0) for each in (rest, b)]
    other = g.node("And", g.truth(rest), g.node("Xor", *signs))
    return _where(g, other, _add(g, rest, b), rest)


# Functions of expressions: ONNX's own, or what writes their nodes. Constants come as numbers.
FUNCTIONS: dict[str, str | Callable[..., str]] = {
    **{name: name.capitalize() for name in formulas.ELEMENTARY},
    "abs": "Abs",
    "sign": "Sign",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "round": "Round",
    "where": "Where",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "positive": "Relu",
    "isnan": "IsNaN",
    "isinf": "IsInf",
    "isfinite": lambda g, a: _compare(g, "Less", g.node("Abs", a), math.inf),
    "leaky": lambda g, x, slope: g.node("LeakyRelu", x, alpha=slope),
    "clip": _clip,
    "relu": _relu,
    "squareplus": _squareplus,
    "tanh_shrink": _tanh_shrink,
    "erfc": lambda g, a: _sub(g, 1.0, g.node("Erf", a)),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda g, a: _mul(g, g.node("Log", a), 1 / math.log(2)),
    "log10": lambda g, a: _mul(g, g.node("Log", a), 1 / math.log(10)),
    "cbrt": lambda g, a: _mul(
        g, g.node("Sign", a), g.node("Pow", g.node("Abs", a), g.constant(1 / 3))
    ),
    "atan2": _atan2,
    "mod": _mod,
    "fmod": lambda g, a, b: g.node("Mod", a, b, fmod=1),
    "trunc": lambda g, a: g.node("Mul", g.node("Sign", a), g.node("Floor", g.node("Abs", a))),
}


def expression(g: Graph, row: str, operands: dict[str, str], parameters: dict[str, float]) -> str:
    """Nodes of a row of `formulas`; the name of its value."""
    return Writer(g, operands).number(formulas.read(row, parameters))


def primitive(g: Graph, name: str, operands: list[str]) -> str:
    """Nodes of a primitive of maps; the name of its value."""
    named = dict(zip("abc", operands, strict=False))
    return expression(g, formulas.primitive(name, len(operands)), named, {})


def activation(g: Graph, kind: str, attributes: dict[str, Any], x: str) -> str:
    """Activation of x, with its parameters among the attributes of an instruction."""
    parameters = {
        name: float(value) for name, value in attributes.items() if not isinstance(value, str)
    }
    return expression(g, formulas.ACTIVATIONS[kind], {"x": x}, parameters)
