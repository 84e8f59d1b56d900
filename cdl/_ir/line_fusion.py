"""Fusion of reductions of lines with the maps that read them: one pass over memory for both.

A mean over the last axis that only maps of the same lines read is part of their expression, a
column: so a normalization or a softmax by hand is one instruction "map". It reads each line once,
forward and backward, where the single instructions write and read values of the full size.
"""

from __future__ import annotations

import math

from cdl import _core
from cdl._ir import elementwise, normalizing
from cdl._ir.bytecode import TooLongError, compiled, floats_of_lines, is_of_lines, read
from cdl._ir.elementwise import Expression, argument, in_order, substituted, unified
from cdl._ir.fusion import Rewriter
from cdl._ir.instruction import Instruction, Value
from cdl._ir.mapping import MOST_INPUTS, read_repeated, repeated, tidied

_PRIMITIVES = {"sum": "line_sum", "mean": "line_sum", "max": "line_max", "min": "line_min"}
# Primitives up to which a value of lines that depends on their sums is computed again, instead of
# written and read: differences to a mean, exponentials of differences to a maximum. None where that
# makes larger maps, or the core has no room.
_MOST_AGAIN = (2, 0)


def apply(program: Rewriter, training: bool) -> None:
    """Fuse broadcasts of rows, columns and numbers, and reductions of lines, into maps."""
    if read_repeated(program):
        program.cut_dead(training)
    if not program.instructions.of("reduce"):
        return
    again = {most: _steps_again(program, most) for most in _MOST_AGAIN}
    for root in reversed(program.instructions.of("map")):
        (result,) = root.outputs
        is_there = program.producer(result) is root
        if is_there and result.dtype == "float32" and result.shape[-1:] not in ((), (1,)):
            regions = [_Region(program, root, steps, most) for most, steps in again.items()]
            for region in sorted(regions, key=lambda region: -len(region.members)):
                if region.fuse():
                    break
    program.cut_dead(training)  # weights of normalizations, which were broadcast


def _steps_again(program: Rewriter, most: int) -> dict[int, int]:
    """Primitives to compute again for an element that depends on sums of lines, by its value.

    A value before it that takes up to `most` primitives is computed again as well.
    """
    columns: set[int] = set()
    spread: set[int] = set()
    steps: dict[int, int] = {}
    for i in program.instructions:
        if i.op == "reduce" and (i.attributes["inner"], i.inputs[0].shape[-1]) == (
            1,
            i.attributes["n"],
        ):
            columns.add(id(i.outputs[0]))
        elif i.op in ("reshape", "broadcast") and id(i.inputs[0]) in columns:
            (columns if i.op == "reshape" else spread).add(id(i.outputs[0]))
        elif i.op == "map":
            (out,) = i.outputs
            alike = [id(v) for v in i.inputs if v.shape == out.shape]
            if not columns.isdisjoint(alike):
                columns.add(id(out))
                continue
            before = sum(n for n in (steps.get(v, 0) for v in alike) if n <= most)
            if (
                before
                or is_of_lines(i.numbers)
                or not (columns | spread).isdisjoint(map(id, i.inputs))
            ):
                parts = in_order(read(i.numbers, i.data))
                own = sum(p.primitive not in ("argument", "constant") for p in parts)
                steps[id(out)] = before + own
    return steps


class _Region:
    """Instructions that only a map reads, itself included, among them reductions of its lines.

    Their values are of the shape of the map's, or columns: a number for each line of it.
    """

    def __init__(
        self, program: Rewriter, root: Instruction, again: dict[int, int], most_again: int
    ) -> None:
        self.program = program
        self.root = root
        self.again = again
        self.most_again = most_again
        (self.result,) = root.outputs
        self.shape = self.result.shape
        self.lines = math.prod(self.shape[:-1])
        self.members = {id(self.result): root}  # by what they give
        self.inputs: list[Value] = []
        self._grow()
        self._shrink()

    def fuse(self) -> bool:
        """Replace the members by one instruction; False if there is no reduction, or no room."""
        if all(i.op != "reduce" for i in self.members.values()):
            return False
        expression, inputs = tidied(unified(self._expression(self.result, {})), self.inputs)
        fused = normalizing.instruction(self.program, self.root, expression, inputs)
        if fused is None:
            fused = self._as_map(expression, inputs)
        if fused is None:
            return False
        for i in self.members.values():
            if i is not self.root:
                self.program.instructions.remove(i)
        self.program.swap(self.root, fused)
        return True

    def _as_map(self, expression: Expression, inputs: list[Value]) -> Instruction | None:
        """Map of an expression, or None where the core has no room for it."""
        width, n_repeated = self.shape[-1], sum(v.shape != self.shape for v in inputs)
        if len(inputs) > MOST_INPUTS or n_repeated == len(inputs):  # one has the result's shape
            return None
        try:
            code = compiled(expression, len(inputs))
        except TooLongError:
            return None
        if floats_of_lines(code[0], width, n_repeated) > _core.MAP_ROOM_OF_LINES:
            return None
        return Instruction("map", inputs, self.root.outputs, (), {}, *code)

    def _grow(self) -> None:
        """Add instructions that only members read, until there are none."""
        grows = True
        while grows:
            grows = False
            for v in [v for i in self.members.values() for v in i.inputs]:
                i = self.program.producer(v)
                if i is None or id(v) in self.members or not self._only_members_read(v):
                    continue
                if self._fits(i):
                    self.members[id(v)] = i
                    grows = True

    def _only_members_read(self, value: Value) -> bool:
        if value in self.program.outputs or value in self.program.external_grads:
            return False
        return all(
            u.outputs and id(u.outputs[0]) in self.members and self._reads_in_place(u, value)
            for u in self.program.users(value)
        )

    def _reads_in_place(self, reader: Instruction, value: Value) -> bool:
        """Whether a member reads a value by elements or as a column, not as a row as long."""
        is_of_elements = reader.op in ("map", "broadcast") and reader.outputs[0].shape == self.shape
        return not is_of_elements or value.shape == self.shape or value.shape[-1:] in ((), (1,))

    def _shrink(self) -> None:
        """Drop members whose operands would be others for the root, and those that these read."""
        shrinks = True
        while shrinks:
            before = len(self.members)
            self.members = {
                v: i
                for v, i in self.members.items()
                if i is self.root or (self._only_members_read(i.outputs[0]) and self._reads_well(i))
            }
            shrinks = len(self.members) < before

    def _fits(self, i: Instruction) -> bool:
        out = i.outputs[0]
        values = (*i.outputs, *i.inputs)
        if any(v.dtype != "float32" or v.shared != self.result.shared for v in values):
            return False
        if out.rounded_to:
            return False
        if i.op == "reduce":
            is_of_lines = i.attributes["inner"] == 1 and i.attributes["n"] == self.shape[-1]
            fits = i.attributes["kind"] in _PRIMITIVES and i.inputs[0].shape == self.shape
            return is_of_lines and fits
        if i.op == "reshape":
            return self._is_column(out)
        if i.op == "broadcast":
            return out.shape == self.shape and repeated(self.program, out) is not None
        if i.op != "map" or not (self._is_column(out) or out.shape == self.shape):
            return False
        return self._is_column(out) or self.again.get(id(out), 0) <= self.most_again

    def _is_column(self, value: Value) -> bool:
        return math.prod(value.shape) == self.lines

    def _reads_well(self, i: Instruction) -> bool:
        """Whether what a member reads from outside is an operand of the root's shape as well."""
        outside = [v for v in i.inputs if id(v) not in self.members]
        if i.op == "reshape":
            return not outside
        if i.op != "map" or i.outputs[0].shape == self.shape:
            return True
        column = (*self.shape[:-1], 1)
        return i.outputs[0].shape == column or not outside

    def _expression(self, value: Value, made: dict[int, Expression]) -> Expression:
        """Expression of a value over `inputs`, to which what it needs is added."""
        if id(value) in made:
            return made[id(value)]
        i = self.members.get(id(value))
        if i is None:
            self.inputs.append(value)
            found = argument(len(self.inputs) - 1)
        elif i.op == "map":
            args = [self._expression(v, made) for v in i.inputs]
            found = substituted(read(i.numbers, i.data), args.__getitem__)
        else:
            found = self._expression(i.inputs[0], made)
            if i.op == "reduce":
                found = elementwise.apply(_PRIMITIVES[str(i.attributes["kind"])], found)
            if i.attributes.get("kind") == "mean":
                found = found / float(self.shape[-1])
        made[id(value)] = found
        return found
