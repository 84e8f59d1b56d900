"""Elementwise functions as expressions, one row each, from which both exports are made.

An expression is of Python's syntax: of `x` and the parameters of an activation, or of `a`, `b` and
`c`, operands of a primitive of maps; with `where(condition, yes, no)` and the functions that
`c_formulas.py` and `onnx_formulas.py` have a row of. A primitive that is such a function has none
here.
"""

import ast
import operator
from collections.abc import Callable, Mapping

ACTIVATIONS = {
    "linear": "x",
    "relu": "relu(x, negative_slope, max_value, threshold)",
    "plain_relu": "positive(x)",
    "leaky_relu": "leaky(x, negative_slope)",
    "elu": "where(x > 0, x, alpha * expm1(x))",
    "selu": "1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * expm1(x))",
    "sigmoid": "sigmoid(x)",
    "tanh": "tanh(x)",
    "softplus": "softplus(x)",
    "gelu": "0.5 * x * erfc(-0.7071067811865476 * x)",
    "gelu_tanh": "x * sigmoid(1.5957691216057308 * x * (1 + 0.044715 * x * x))",
    "silu": "x * sigmoid(x)",
    "celu": "where(x > 0, x, alpha * expm1(x / alpha))",
    "exponential": "exp(x)",
    "hard_shrink": "where(abs(x) <= threshold, 0, x)",
    "hard_sigmoid": "clip(x + 3, 0, 6) / 6",
    "hard_silu": "x * (clip(x + 3, 0, 6) / 6)",
    "hard_tanh": "clip(x, -1, 1)",
    "log_sigmoid": "-softplus(-x)",
    "mish": "x * tanh(softplus(x))",
    "relu6": "clip(x, 0, 6)",
    "smooth_clip": "limit * (clip(x / limit, -1e9, 1e9)"
    " / sqrt(1 + clip(x / limit, -1e9, 1e9) * clip(x / limit, -1e9, 1e9)))",
    "soft_shrink": "where(x > threshold, x - threshold, "
    "where(x < -threshold, x + threshold, where(isnan(x), x, 0)))",
    "softsign": "x / (1 + abs(x))",
    "sparse_plus": "where(x < 1, 0.25 * clip(x + 1, 0, 2) * clip(x + 1, 0, 2), x)",
    "sparse_sigmoid": "clip(0.5 * (x + 1), 0, 1)",
    "squareplus": "squareplus(x, b)",
    "tanh_shrink": "tanh_shrink(x)",
    "threshold": "where(x <= threshold, default_value, x)",
}

ELEMENTWISE = {
    "copy": "a",
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "multiply_add": "a * b + c",
    "negative": "-a",
    "reciprocal": "1 / a",
    "square": "a * a",
    "rsqrt": "1 / sqrt(a)",
    "relu": "positive(a)",
    "above": "where(a > b, 1, where(a == b, 0.5, 0))",
    "floor_divide": "floor(a / b)",
    "equal": "a == b",
    "not_equal": "a != b",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "logical_and": "a != 0 and b != 0",
    "logical_or": "a != 0 or b != 0",
    "logical_xor": "(a != 0) != (b != 0)",
    "logical_not": "a == 0",
    "where": "where(a != 0, b, c)",
    "gate": "where(a > 0, b, 0)",
}

# Elementary functions that both languages have: C with an f behind the name, ONNX with a capital.
ELEMENTARY = (
    *("sqrt", "exp", "log", "erf", "floor", "ceil", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
# Functions that are true or false.
TRUTHS = ("isnan", "isinf", "isfinite")

_ARITHMETIC: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class _Folded(ast.NodeTransformer):
    """Parameters as their values, and arithmetic of constants done."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        self._parameters = parameters

    def visit_Name(self, node: ast.Name) -> ast.expr:
        known = self._parameters.get(node.id)
        return node if known is None else ast.Constant(known)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        match node.operand:
            case ast.Constant(value=int() | float() as x):
                return ast.Constant(-x)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        match node.left, node.right:
            case ast.Constant(value=int() | float() as a), ast.Constant(value=int() | float() as b):
                return ast.Constant(_ARITHMETIC[type(node.op)](a, b))
        return node


def read(row: str, parameters: Mapping[str, float]) -> ast.expr:
    """Expression of a row for given parameters."""
    found = _Folded(parameters).visit(ast.parse(row, mode="eval").body)
    assert isinstance(found, ast.expr)
    return found


def primitive(name: str, operands: int) -> str:
    """Row of a primitive of maps."""
    return ELEMENTWISE.get(name) or f"{name}({', '.join('abc'[:operands])})"


def is_truth(node: ast.expr) -> bool:
    """Whether an expression is true or false, no number."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in TRUTHS
    return isinstance(node, ast.Compare | ast.BoolOp)
