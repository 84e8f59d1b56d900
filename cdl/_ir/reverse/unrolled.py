"""Loops iteration by iteration, for derivatives of any order."""

from __future__ import annotations

from cdl import _core
from cdl._ir import emit
from cdl._ir.instruction import Instruction, Value
from cdl._ir.loops import Loop
from cdl._ir.lowering import Lowering


def loop(p: Lowering, i: Instruction) -> list[Value]:
    """Values that a loop leaves: what its last iteration carries on, and what all of them give."""
    assert isinstance(i, Loop)
    body, n, numbers = i.body, int(i.attributes["iterations"]), i.attributes
    rest = body.instructions[len(i.inputs) :]
    if any(each.draws or each.op in emit.NOISES or _core.OPS[each.op].effects for each in rest):
        raise ValueError(
            "grad: within code that is traced no derivative goes through a loop that draws random "
            "numbers, or that assigns weights"
        )
    entries = list(zip(i.entries, i.inputs, strict=True))
    carried = [v for entry, v in entries if entry.op == "carried"]
    collected: list[list[Value]] = [[] for _ in i.outputs]
    for t in range(n):
        place = n - 1 - t if numbers["reverse"] else t
        left, known = iter(carried), {}
        for entry, v in entries:
            if entry.op == "carried":
                v = next(left)
            elif entry.op == "element":
                v = emit.index(p, v, [place])
            known[id(entry.outputs[0])] = v
        for each in rest:
            made = [p.value(v.shape, v.dtype, v.role, v.shared) for v in each.outputs]
            p.instructions.append(each.giving(made, [known[id(v)] for v in each.inputs]))
            known.update((id(v), new) for v, new in zip(each.outputs, made, strict=True))
        given = [known[id(v)] for v in body.outputs]
        carried = given[: len(carried)]
        for values, value in zip(collected, given, strict=True):
            values.append(value)
    found = []
    for way, values in zip(i.ways, collected, strict=True):
        if way == "carry":
            found.append(values[-1])
            continue
        if numbers["reverse"] * numbers["by_place"]:
            values.reverse()
        lines = [emit.reshape(p, v, (1, *v.shape)) for v in values]
        found.append(emit.concat(p, lines, 0))
    return found
