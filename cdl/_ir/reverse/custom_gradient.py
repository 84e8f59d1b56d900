"""Instruction "custom_gradient": a value whose gradient is what the user's code makes of it.

That code is lowered in place, on a stand-in for the gradient by the value. What it appends that
depends on the stand-in becomes an expression, which the core computes on the way back; the rest is
computed on the way forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cdl import _core
from cdl._ir import bytecode
from cdl._ir.activation_maps import ACTIVATIONS
from cdl._ir.elementwise import DY, Expression, argument, substituted
from cdl._ir.emit import stop
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.mapping import MOST_INPUTS


class NotElementwiseError(ValueError):
    """Gradient that the core cannot compute element by element."""


def emit(
    program: Lowering,
    value: Value,
    operands: Sequence[Value],
    gradient: Callable[[Value], Sequence[Value | None]],
) -> Value:
    """Append a value with gradients of its own.

    Args:
        value: what comes out.
        operands: what the gradients are by.
        gradient: appends, from the gradient by the value, that by each operand; None for none.

    Raises:
        NotElementwiseError: a gradient is no expression of numbers in the same place.
    """
    start = len(program.instructions)
    upstream = stop(program, value)
    found = gradient(upstream)
    tail = program.instructions[start + 1 :]
    inputs = _Inputs(value)
    known: dict[int, Expression] = {id(upstream): argument(DY)}
    program.instructions[start:] = [i for i in tail if not _is_backward(i, known, inputs)]
    wanted: list[Expression | None] = []
    for operand, by in zip(operands, found, strict=True):
        if by is None:
            continue
        place = int(inputs.of(operand).value)
        wanted += [None] * (place + 1 - len(wanted))
        expression = known.get(id(by)) or inputs.of(by)
        before = wanted[place]
        wanted[place] = expression if before is None else before + expression
    if len(inputs.values) > MOST_INPUTS:
        raise NotElementwiseError(
            f"it reads {len(inputs.values)} values, of which the core takes {MOST_INPUTS}"
        )
    numbers, constants = bytecode.compiled(argument(0), len(inputs.values), wanted)
    return program.emit(
        "custom_gradient", inputs.values, value.shape, numbers=numbers, data=constants
    )


class _Inputs:
    """Values that an instruction reads, all of one shape, each once."""

    def __init__(self, first: Value) -> None:
        self.values = [first]

    def of(self, value: Value) -> Expression:
        """Argument that stands for a value."""
        first = self.values[0]
        if (value.shape, value.shared) != (first.shape, first.shared):
            raise NotElementwiseError(
                f"it needs numbers of shape {_text(first)}, got {_text(value)}"
            )
        for k, known in enumerate(self.values):
            if known is value:
                return argument(k)
        self.values.append(value)
        return argument(len(self.values) - 1)


def _text(value: Value) -> str:
    return str(value.shape if value.shared else (None, *value.shape))


def _is_backward(i: Instruction, known: dict[int, Expression], inputs: _Inputs) -> bool:
    """Whether an instruction depends on the stand-in; what it gives becomes an expression."""
    if not any(id(v) in known for v in i.inputs):
        return False
    operands = [known.get(id(v)) or inputs.of(v) for v in i.inputs]
    out = i.outputs[0]
    if i.op == "map":
        whole = bytecode.read(i.numbers, i.data)
        known[id(out)] = substituted(whole, lambda k: operands[k])
    elif i.op == "activation":
        kind = str(i.attributes["kind"])
        parameters = (float(i.attributes[name]) for name in _core.ACTIVATIONS[kind])
        known[id(out)] = ACTIVATIONS[kind](operands[0], *parameters)
    elif i.op in ("exact", "stop", "cast", "custom_gradient"):
        known[id(out)] = operands[0]
    else:
        raise NotElementwiseError(f"it has the operation {i.op!r}")
    return True
