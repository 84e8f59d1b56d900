"""Reverse mode as instructions: derivatives that are values, so that they have derivatives, too.

The core runs the backward pass of a program itself. If a program reads a derivative, as a loss with
a gradient penalty does, `gradients` appends the instructions of that backward pass, by one rule per
op (rules.py). The appended ops have rules too, so derivatives of any order follow. `tangents` is
forward mode: gradients are linear in their seeds, and the gradient of a linear function is its
transpose; the intermediate gradients are dead code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cdl._ir import emit
from cdl._ir.instruction import Instruction, Value
from cdl._ir.lowering import Lowering
from cdl._ir.reverse.composed import COMPOSED
from cdl._ir.reverse.parts import alike
from cdl._ir.reverse.rules import rule_of


def gradients(
    program: Lowering, ys: Sequence[Value], xs: Sequence[Value], seeds: Sequence[Value]
) -> list[Value]:
    """Gradients by xs of the sum of all elements of y * seed; 0 where nothing depends on one.

    Args:
        program: which has computed the ys from the xs, and to which the gradients are appended.
        ys: values that are differentiated.
        xs: values to differentiate by.
        seeds: of the shape of each y.

    Raises:
        ValueError: an op on the way has no rule.
    """
    found: dict[int, Value] = {}
    path = _path(program, xs)
    for y, seed in zip(ys, seeds, strict=True):
        _add(program, found, y, seed)
    for i, places in reversed(path):
        given = [found.get(id(v)) for v in i.outputs]
        if not any(given):
            continue
        by_inputs: Iterable[Value | None]
        if i.op in COMPOSED:
            leaves = [emit.leaf(program, v) for v in i.inputs]
            made = zip(COMPOSED[i.op](program, i.reading(leaves)), given, strict=True)
            pairs = [(value, seed) for value, seed in made if seed is not None]
            by_inputs = gradients(program, [v for v, _ in pairs], leaves, [g for _, g in pairs])
        elif (rule := rule_of(i)) is not None and given[0] is not None:
            by_inputs = rule(program, i, given[0])
        else:
            raise ValueError(
                f"grad: within code that is traced, such as a loss or a function that is "
                f"differentiated, no derivative goes through {i.op!r}, whose own derivative is not "
                "known as instructions; compute it from other functions of cdl.ops"
            )
        for k, gradient in enumerate(by_inputs):
            if gradient is not None and k in places:
                _add(program, found, i.inputs[k], gradient)
    return [found[id(x)] if id(x) in found else full(program, 0.0, x) for x in xs]


def tangents(
    program: Lowering, ys: Sequence[Value], xs: Sequence[Value], directions: Sequence[Value]
) -> list[Value]:
    """Derivatives of ys where each x moves in its direction: the Jacobian times these.

    Args:
        ys: as of `gradients`.
        xs: as of `gradients`.
        directions: of the shape of each x.
    """
    seeds = [emit.leaf(program, full(program, 0.0, y)) for y in ys]
    return gradients(program, gradients(program, ys, xs, seeds), seeds, directions)


def full(program: Lowering, number: float, like: Value) -> Value:
    """Value of equal numbers in the shape of another one."""
    return alike(program, program.constant(number), like)


def _path(program: Lowering, xs: Sequence[Value]) -> list[tuple[Instruction, list[int]]]:
    """Instructions that depend on xs by a derivative, with the numbers of inputs that do."""
    reached = set(map(id, xs))
    path = []
    for i in program.instructions:
        places = [k for k, v in enumerate(i.inputs) if id(v) in reached]
        if i.op not in ("loop", "line_loss"):  # whose compositions have more gradients
            places = [k for k in places if i.gives(k)]
        if places and i.outputs:
            path.append((i, places))
            reached.update(map(id, i.outputs))
    return path


def _add(program: Lowering, found: dict[int, Value], value: Value, gradient: Value) -> None:
    """Add a part of a value's gradient, in the value's shape and dtype."""
    if value.shared and not gradient.shared:
        gradient = program.batch_reduce(gradient, "sum")
    gradient = program.cast(alike(program, gradient, value), value.dtype)
    if before := found.get(id(value)):
        gradient = program.map("add", [before, gradient])
    found[id(value)] = gradient
