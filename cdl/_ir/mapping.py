"""Instruction "map": emitted for an expression, merged with the maps it reads.

A chain of elementwise operations is one pass over memory: ``merge`` puts the expression of a map
into that of its only reader, as far as the core's limits go. Rows, columns and numbers that are
broadcast for a map are its operands as they are: ``read_repeated`` leaves the broadcast out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdl import _core
from cdl._ir.activation_maps import ACTIVATIONS
from cdl._ir.bytecode import TooLongError, compiled, floats_of_lines, is_of_lines, read
from cdl._ir.elementwise import (
    Expression,
    apply,
    argument,
    arguments,
    in_order,
    substituted,
)
from cdl._ir.instruction import Instruction, Value

if TYPE_CHECKING:
    from cdl._ir.fusion import Rewriter
    from cdl._ir.program import Program

MOST_INPUTS = 8


def emit(program: Program, expression: Expression | str, inputs: Sequence[Value]) -> Value:
    """Append an expression of values of one shape; see ``Program.map``."""
    if isinstance(expression, str):
        expression = apply(expression, *arguments(len(inputs)))
    if len({(v.shape, v.shared) for v in inputs}) != 1:
        raise ValueError(f"map: expected values of one shape, got {[v.shape for v in inputs]}")
    expression, inputs = tidied(expression, inputs)
    if expression.primitive == "argument":
        return inputs[0]
    if len(inputs) > MOST_INPUTS:
        return _in_pieces(program, expression, inputs)
    try:
        numbers, constants = compiled(expression, len(inputs))
    except TooLongError:
        return _in_pieces(program, expression, inputs)
    return program.emit("map", inputs, inputs[0].shape, numbers=numbers, data=constants)


def compiled_map(primitive: str, inputs: Sequence[Value], outputs: Sequence[Value]) -> Instruction:
    """Instruction that computes a primitive of values of one shape into another value."""
    expression = apply(primitive, *arguments(len(inputs)))
    return Instruction("map", inputs, outputs, (), {}, *compiled(expression, len(inputs)))


def tidied(expression: Expression, inputs: Sequence[Value]) -> tuple[Expression, list[Value]]:
    """Expression over its distinct read inputs; at least one, which has the shape."""
    used: dict[int, int] = {}  # by id of the value: its new number
    kept: list[Value] = []
    for x in in_order(expression):
        if x.primitive == "argument":
            value = inputs[int(x.value)]
            if used.setdefault(id(value), len(kept)) == len(kept):
                kept.append(value)
    expression = substituted(expression, lambda k: argument(used[id(inputs[k])]))
    return expression, kept or list(inputs[:1])


def _in_pieces(program: Program, expression: Expression, inputs: Sequence[Value]) -> Value:
    """Append a too long expression primitive by primitive; ``merge`` joins what fits."""
    made: dict[int, Value] = {}
    for x in in_order(expression):
        if x.primitive == "argument":
            made[id(x)] = inputs[int(x.value)]
        elif parts := [a for a in x.args if id(a) in made]:  # the others are of constants alone
            leaves = iter(arguments(len(parts)))
            operands = (next(leaves) if id(a) in made else a for a in x.args)
            made[id(x)] = emit(program, apply(x.primitive, *operands), [made[id(a)] for a in parts])
    return made[id(expression)]


# Activations of a few comparisons, which become maps: a pass over memory takes longer than they do.
# Of others the map would compute an exponential again for the gradient.
_CHEAP = (
    *("plain_relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_shrink"),
    "threshold",
)


def name_expressions(program: Rewriter) -> None:
    """Make activations next to maps maps themselves, so that one pass computes both."""
    for i in program.instructions.of("activation"):
        kind = str(i.attributes["kind"])
        (x,), (y,) = i.inputs, i.outputs
        if kind not in _CHEAP or {x.dtype, y.dtype} != {"float32"} or y.rounded_to:
            continue
        source, reader = program.producer(x), program.instructions.only_reader(y)
        behind = source is not None and source.op == "map" and program.read_once(x)
        ahead = reader is not None and reader.op == "map" and program.read_once(y)
        if not behind and not (ahead and reader and reader.outputs[0].shape == y.shape):
            continue
        parameters = (float(i.attributes[name]) for name in _core.ACTIVATIONS[kind])
        code = compiled(ACTIVATIONS[kind](argument(0), *parameters), 1)
        program.swap(i, Instruction("map", [x], [y], (), {}, *code))


def merge(program: Rewriter) -> None:
    """Merge each map whose only reader is another map into that one."""
    # Maps with sums of lines stay: the core may have no room for more, and sums cost time.
    found = [i for i in program.instructions.of("map") if not is_of_lines(i.numbers)]
    if len(found) < 2:
        return
    kept = {id(v) for v in (*program.outputs, *program.external_grads)}
    users: dict[int, int] = {}
    for i in program.instructions:
        for v in set(i.inputs):
            users[id(v)] = users.get(id(v), 0) + 1
    maps: dict[int, Instruction] = {}  # by id of what it gives
    gone: set[int] = set()
    for i in found:
        new, read_by_it = i, list(i.inputs)
        for v in read_by_it:
            before = maps.get(id(v))
            if before is None or users[id(v)] > 1 or id(v) in kept or id(v) in gone:
                continue
            if v.shape != i.outputs[0].shape:  # it would be computed for each repetition
                continue
            merged = _merged(new, v, before)
            if merged is not None:
                gone.add(id(v))
                for w in set(before.inputs):  # which one less reads, if both did
                    users[id(w)] -= any(w is u for u in new.inputs)
                read_by_it += before.inputs
                new = merged
        if new is not i:
            program.swap(i, new)
        maps[id(i.outputs[0])] = new
    for i in program.instructions.of("map"):
        if id(i.outputs[0]) in gone:
            program.instructions.remove(i)


def read_repeated(program: Rewriter) -> bool:
    """Let maps read the operand of a broadcast that repeats each line equally often.

    Returns:
        Whether any does, so that the broadcast may be dead.
    """
    found = False
    for i in program.instructions.of("map"):
        sources = [repeated(program, v) for v in i.inputs]
        if all(sources):  # one operand has the shape of the result
            sources[0] = None
        inputs = [s or v for s, v in zip(sources, i.inputs, strict=True)]
        is_float32 = i.outputs[0].dtype == "float32"
        if any(sources) and is_float32 and len(set(map(id, inputs))) == len(inputs):
            program.swap(i, i.reading(inputs))
            found = True
    return found


def repeated(program: Rewriter, value: Value) -> Value | None:
    """Operand of a broadcast that repeats lines or numbers in place; None for other values."""
    source = program.producer(value)
    if source is None or source.op != "broadcast" or value.shape[-1] == 1:
        return None
    (x,) = source.inputs
    aligned = (1,) * (len(value.shape) - len(x.shape)) + x.shape
    same = 0  # leading axes that are not repeated
    while same < len(aligned) and aligned[same] == value.shape[same]:
        same += 1
    in_place = math.prod(aligned[same:-1]) == 1
    return x if in_place and x.dtype == value.dtype and x.shared == value.shared else None


def read_shared(program: Rewriter) -> bool:
    """Let maps read shared values as they are, instead of a copy for each sample.

    Returns:
        Whether any does, so that copies may be dead.
    """
    if program.instructions.of("carried", "element", "captured"):  # the body of a loop
        return False
    found = False
    for i in program.instructions.of("map"):
        (y,) = i.outputs
        if y.shape[-1:] in ((), (1,)) or y.dtype != "float32" or y.rounded_to:
            continue
        sources = [program.producer(v) for v in i.inputs]
        inputs = [
            s.inputs[0] if s is not None and s.op == "broadcast_batch" else v
            for v, s in zip(i.inputs, sources, strict=True)
        ]
        each = any(not v.shared for v in inputs)
        if each and inputs != list(i.inputs) and has_room(i, inputs):
            program.swap(i, i.reading(inputs))
            found = True
    return found


def has_room(i: Instruction, inputs: Sequence[Value]) -> bool:
    """Whether a map of lines may read these inputs, which differ from each other."""
    (y,) = i.outputs
    if len(set(map(id, inputs))) < len(inputs) or any(v.dtype != "float32" for v in inputs):
        return False
    repeated = sum(v.shape != y.shape or v.shared != y.shared for v in inputs)
    floats = floats_of_lines(i.numbers, y.shape[-1], repeated) if is_of_lines(i.numbers) else 0
    return floats <= _core.MAP_ROOM_OF_LINES


def _merged(user: Instruction, value: Value, before: Instruction) -> Instruction | None:
    """Reader of a value, with the value's expression in its own; None if that is too long."""
    inputs = [v for v in user.inputs if v is not value]
    inputs += [v for v in before.inputs if not any(v is w for w in inputs)]
    if len(inputs) > MOST_INPUTS:
        return None
    number = {id(v): k for k, v in enumerate(inputs)}
    inner = substituted(
        read(before.numbers, before.data), lambda k: argument(number[id(before.inputs[k])])
    )

    def replace(k: int) -> Expression:
        v = user.inputs[k]
        return inner if v is value else argument(number[id(v)])

    expression, inputs = tidied(substituted(read(user.numbers, user.data), replace), inputs)
    try:
        code = compiled(expression, len(inputs))
    except TooLongError:
        return None
    return Instruction("map", inputs, user.outputs, (), {}, *code)
