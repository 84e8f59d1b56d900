"""Loss scaling: gradients multiplied by a factor that changes from step to step.

Float16 has no numbers below 6e-8, where gradients often are. They are scaled at the loss, and the
core divides the gradient of each weight by the same factor before the update.
"""

from __future__ import annotations

from cdl import _core
from cdl._ir.elementwise import argument
from cdl._ir.emit import broadcast, stop
from cdl._ir.instruction import Instruction
from cdl._ir.lowering import Lowering
from cdl._ir.program import Program, Value
from cdl._tracing.variable import Variable


def has_float16(program: Program) -> bool:
    """Whether a value or a weight is of float16."""
    return any(
        "float16" in i.param_dtypes or any(v.dtype == "float16" for v in i.outputs)
        for i in program.instructions
    )


def scale_gradients(program: Lowering, variable: Variable) -> None:
    """Multiply all gradients by a weight of one number that does not train.

    Args:
        program: with all its losses, not fused yet.
        variable: the number.
    """
    program.loss_scale = variable
    old, program.instructions = program.instructions, []
    factor = program.param(variable)
    producers = {id(v): i for i in old for v in i.outputs}
    readers = [id(v) for i in old if _core.OPS[i.op].gives_gradient for v in i.inputs]
    losses = [i for i in old if _core.OPS[i.op].reports and _core.OPS[i.op].gives_gradient]
    begin = {id(_start(i, producers, readers)) for i in losses}
    for i in old:
        if id(i) in begin:
            values = [
                _scaled(program, v, factor) if i.gives(k) else v for k, v in enumerate(i.inputs)
            ]
            i.inputs = tuple(values)
        if i.op == "activity":
            _append_penalty(program, i, factor)
        else:
            program.instructions.append(i)


def _append_penalty(program: Lowering, activity: Instruction, factor: Value) -> None:
    """Append a penalty whose gradient is not scaled twice: its input is divided first.

    The division is in float32, since its result may underflow in float16.
    """
    x, y = activity.inputs[0], activity.outputs[0]
    inner = program.value(x.shape, shared=x.shared)
    scaled = _scaled(program, program.cast(x, "float32"), factor)
    program.instructions.append(activity.giving((inner,), (scaled,)))
    divided = _scaled(program, inner, program.map(1.0 / argument(0), [factor]))
    program.instructions.append(Instruction("cast", (divided,), (y,), (), {"dtype": y.dtype}))


def _start(loss: Instruction, producers: dict[int, Instruction], readers: list[int]) -> Instruction:
    """The loss, or its fused activation before it."""
    before = producers.get(id(loss.inputs[0]))
    alone = readers.count(id(loss.inputs[0])) == 1
    return before if before is not None and before.op in _FUSED and alone else loss


_FUSED = ("activation", "softmax")


def _scaled(program: Program, value: Value, factor: Value) -> Value:
    """Value with a multiplied gradient: x + (factor - 1) (x - stop_gradient(x))."""
    number = broadcast(program, factor, value.shape)
    if not value.shared:
        number = program.broadcast_batch(number)
    x, same = argument(0), argument(1)
    formula = x + (argument(2) - 1.0) * (x - same)
    made = program.map(formula, [value, stop(program, value), number])
    made.mask = value.mask
    return made
