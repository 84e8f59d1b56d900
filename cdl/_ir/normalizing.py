"""Normalizations of lines by hand, which become the instruction of the layers.

A line less its mean, or as it is, times one over the root of the mean of its squares plus a number,
scaled and shifted by weights or not: that is what LayerNormalization and RMSNormalization compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdl import _core
from cdl._ir.bytecode import compiled
from cdl._ir.elementwise import Expression, apply, in_order, is_constant
from cdl._ir.instruction import Instruction, Value
from cdl._ir.mapping import tidied
from cdl._ir.peepholes import repeated_weight

if TYPE_CHECKING:
    from cdl._ir.fusion import Rewriter
    from cdl._tracing.variable import Variable


def instruction(
    program: Rewriter, root: Instruction, expression: Expression, inputs: Sequence[Value]
) -> Instruction | None:
    """Instruction "normalize" for the map of an expression of lines, or None if it is another."""
    (result,) = root.outputs
    factors, shift = _scaled_and_shifted(expression)
    inverse = next((x for x in factors if x.primitive == "rsqrt"), None)
    parts = None if inverse is None else _line_and_epsilon(inverse, float(result.shape[-1]))
    if inverse is None or parts is None or parts[1] <= 0.0 or result.shared:
        return None
    line, epsilon = parts
    if line not in factors:
        return None
    factors.remove(inverse)
    factors.remove(line)
    scale = factors[0] if factors else None
    gamma, beta = (_weight(program, x, inputs, result.shape[-1]) for x in (scale, shift))
    missing = (scale is not None and gamma is None) or (shift is not None and beta is None)
    if len(factors) > 1 or missing or (gamma is beta is not None):  # it would have two gradients
        return None
    about_mean = int(_of_differences(line, float(result.shape[-1])) is not None)
    value = _value(program, root, line.args[0] if about_mean else line, inputs)
    if value is None:
        return None
    attributes = {"measure": 1 - about_mean, "subtracts_mean": about_mean, "epsilon": epsilon}
    return Instruction("normalize", [value], [result], (gamma, beta), attributes)


def _scaled_and_shifted(x: Expression) -> tuple[list[Expression], Expression | None]:
    """Factors of a product, and the argument that is added to it or None."""
    if x.primitive == "multiply_add" and x.args[2].primitive == "argument":
        return [*_factors(x.args[0]), *_factors(x.args[1])], x.args[2]
    if x.primitive == "add":
        for product, shift in (x.args, x.args[::-1]):
            if shift.primitive == "argument":
                return _factors(product), shift
    return _factors(x), None


def _factors(x: Expression) -> list[Expression]:
    return [f for a in x.args for f in _factors(a)] if x.primitive == "multiply" else [x]


def _line_and_epsilon(root: Expression, n: float) -> tuple[Expression, float] | None:
    """Line and epsilon of a root's argument `mean(line^2) + epsilon`; None for another argument."""
    (total,) = root.args
    if total.primitive == "multiply_add":  # where n is a power of 2
        mean, epsilon = apply("multiply", *total.args[:2]), total.args[2]
    elif total.primitive == "add":
        mean, epsilon = sorted(total.args, key=is_constant)
    else:
        return None
    dot = _summed(mean, n)
    if dot is None or dot.primitive != "line_dot" or dot.args[0] is not dot.args[1]:
        return None
    return (dot.args[0], epsilon.value) if is_constant(epsilon) else None


def _of_differences(x: Expression, n: float) -> Expression | None:
    """Line x of an expression `x - mean(x)`; None for another expression."""
    total = _summed(x.args[1], n) if x.primitive == "subtract" else None
    if total is None or total.primitive != "line_sum" or total.args[0] is not x.args[0]:
        return None
    return x.args[0]


def _summed(mean: Expression, n: float) -> Expression | None:
    """Sum in a mean of n numbers, `sum / n` or `sum * (1 / n)`; None for no mean."""
    if mean.primitive == "divide" and is_constant(mean.args[1], n):
        return mean.args[0]
    if mean.primitive != "multiply":
        return None
    total, factor = sorted(mean.args, key=is_constant)
    return total if is_constant(factor, 1.0 / n) else None


def _weight(
    program: Rewriter, x: Expression | None, inputs: Sequence[Value], n: int
) -> Variable | None:
    """Weight of shape (n,) behind an expression that is one argument; None for any other."""
    if x is None or x.primitive != "argument":
        return None
    weight = repeated_weight(program, inputs[int(x.value)])
    return weight if weight is not None and weight.shape == (n,) else None


def _value(
    program: Rewriter, root: Instruction, x: Expression, inputs: Sequence[Value]
) -> Value | None:
    """Value of an expression in the result's shape, by a new map if it is no input; or None."""
    (result,) = root.outputs
    x, read = tidied(x, inputs)
    if all(v.shape != result.shape for v in read):
        return None
    if x.primitive == "argument":
        return read[0]
    if any(part.primitive in _core.LINEWISE for part in in_order(x)):
        return None
    value = Value(len(program.values), result.shape, result.dtype, None, False)
    program.values.append(value)
    code = compiled(x, len(read))
    program.instructions.put_before(root, Instruction("map", read, [value], (), {}, *code))
    return value
