"""Vectorization of a step over all steps: values get a leading axis.

So a layer on each step of a sequence has as many instructions as on one step. A loop remains for
instructions that a leading axis would change: statistics of a batch, which are those of a step,
reads of another step, and effects beside outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cdl._ir import emit
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.program import Program

# From an instruction, the number of steps and which of its inputs differ from step to step to its
# numbers and attributes for all steps; None where there are none.
Parts = tuple[Sequence[int], dict[str, Any]] | None
Rule = Callable[[Instruction, int, Sequence[bool]], Parts]


def _same(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    return i.numbers, i.attributes


def _outer(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    return i.numbers, {**i.attributes, "outer": i.attributes["outer"] * n}


def _window(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    """Window with another axis of one tap, stride and dilation 1, unpadded; there are three."""
    return ((1, 1, 1, 0, *i.numbers), i.attributes) if len(i.numbers) < 12 else None


def _order(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    return (0, *(axis + 1 for axis in i.numbers)), i.attributes


def _axis(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    return i.numbers, {**i.attributes, "axis": i.attributes["axis"] + 1}


def _pattern(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    """Bit mask with a step axis: bit 0 is the batch, the others are axes of a sample."""
    common = int(i.attributes["common"])
    return i.numbers, {**i.attributes, "common": common & 1 | common >> 1 << 2}


def _columns(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    """Instruction over columns, with weights that all lines share."""
    width = i.inputs[0].shape[-1] if i.inputs[0].shape else 0
    fits = len(i.inputs) == 1 and all(p is None or math.prod(p.shape) == width for p in i.params)
    return (i.numbers, i.attributes) if fits else None


def _table(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    return None if any(differ[1:]) else (i.numbers, i.attributes)


def _matrices(i: Instruction, n: int, differ: Sequence[bool]) -> Parts:
    """Product of matrices, with the place of each in the batch of products."""
    count = math.prod(i.outputs[0].shape[:-2])
    fits = len(i.inputs) == 2 and all(
        len(v.shape) > 1 and (math.prod(v.shape[:-2]) == count or not own)
        for v, own in zip(i.inputs, differ, strict=True)
    )
    return (i.numbers, i.attributes) if fits else None


_ELEMENTS = ("activation", "activity", "cast", "dropout", "exact", "map", "noise", "stop")
_LINES = ("dense", "glu", "log_softmax", "mask", "softmax", "sort", "sparsemax")
_RULES: dict[str, Rule] = {
    **dict.fromkeys((*_ELEMENTS, *_LINES, "broadcast", "reshape"), _same),
    **dict.fromkeys(("affine", "batch_norm", "normalize", "prelu"), _columns),
    **dict.fromkeys(("arg", "cumulate", "pick", "reduce", "take_along"), _outer),
    **dict.fromkeys(("conv", "conv_transpose", "depthwise_conv", "pool"), _window),
    "concat": _axis,
    "gather": _table,
    "patterned_dropout": _pattern,
    "permute": _order,
    "product": _matrices,
}
_ALIKE = ("constant", "param", "broadcast_batch", "stop")  # may stand where nothing differs


def fits(body: Lowering, elements: Iterable[Value]) -> bool:
    """Whether the instructions of a step can run for all steps at once.

    Args:
        body: the step.
        elements: what differs from step to step.
    """
    differ = set(map(id, elements))
    for i in body.instructions:
        own = [id(v) in differ for v in i.inputs]
        if not any(own):
            if i.op not in _RULES.keys() | set(_ALIKE) or i.op in (*emit.NOISES, "activity"):
                return False
            continue
        by_batch = i.op == "batch_norm" and body.mode.trains and not i.attributes.get("frozen")
        if by_batch or i.op not in _RULES or _RULES[i.op](i, 2, own) is None:
            return False
        differ |= {id(v) for v in i.outputs}
    return True


def append(
    program: Program, body: Program, known: dict[int, Value], once: set[int], n: int
) -> None:
    """Append the instructions of a step for all steps.

    Args:
        body: the step.
        known: values of the program by the ids of the step's; they become more.
        once: which of these are the same in each step.
    """
    for i in body.instructions:
        own = [id(v) not in once for v in i.inputs]
        if not any(own):
            continue
        parts = _RULES[i.op](i, n, own)
        assert parts is not None
        inputs = [
            known[id(v)] if differs else _kept(program, i, k, known[id(v)], n)
            for k, (v, differs) in enumerate(zip(i.inputs, own, strict=True))
        ]
        if i.op == "broadcast":
            missing = len(i.outputs[0].shape) - len(i.inputs[0].shape)
            shape = (n, *[1] * missing, *i.inputs[0].shape)
            inputs = [emit.reshape(program, inputs[0], shape)]
        made = [program.value((n, *v.shape), v.dtype, v.role) for v in i.outputs]
        known.update((id(v), o) for v, o in zip(i.outputs, made, strict=True))
        appended = i.giving(made, inputs)
        appended.numbers, appended.attributes = tuple(parts[0]), parts[1]
        program.instructions.append(appended)


def _kept(program: Program, i: Instruction, k: int, value: Value, n: int) -> Value:
    """Input k of an instruction that is the same in each step."""
    is_one = i.op == "product" and math.prod(i.inputs[k].shape[:-2]) == 1
    return value if is_one or (i.op == "gather" and k > 0) else repeated(program, value, n)


def repeated(program: Program, value: Value, n: int) -> Value:
    """Value repeated for each of n steps."""
    one = emit.reshape(program, value, (1, *value.shape))
    return program.broadcast_batch(emit.broadcast(program, one, (n, *value.shape)))
