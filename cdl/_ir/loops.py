"""Loops in a program: a body that is a program, and a single instruction for it.

The instruction reads the initial carry, sequences, and captured values of the enclosing program. It
gives the final carry, and the results of all iterations. The body begins with an instruction
without operands for each input, and its outputs are those of an iteration; `flat` puts the body
behind the loop, as the core runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdl._ir.instruction import Instruction, Value

if TYPE_CHECKING:
    from cdl._ir.program import Program


OF_LOOPS = ("loop", "carried", "element", "captured")  # ops without a computation of their own


class Loop(Instruction):
    """Loop as one instruction; see the module's text.

    Attributes:
        body: an iteration.
        ways: use of each output of the body: "carry", of which the first belong to the carry of an
            iteration, or "collect".
    """

    __slots__ = ("body", "ways")

    def __init__(
        self,
        body: Program,
        ways: Sequence[str],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        attributes: dict[str, int],
    ) -> None:
        """Attributes: iterations, draws of an iteration, those before all, reverse, by_place."""
        super().__init__("loop", inputs, outputs, body.variables, attributes)
        self.body = body
        self.ways = tuple(ways)

    def giving(self, outputs: Sequence[Value], inputs: Sequence[Value] | None = None) -> Loop:
        read = self.inputs if inputs is None else inputs
        return Loop(self.body, self.ways, read, outputs, self.attributes)

    @property
    def entries(self) -> list[Instruction]:
        """Instructions of the body that stand for the inputs."""
        return self.body.instructions[: len(self.inputs)]

    def without_dead(self, read: set[int]) -> Loop | None:
        """Copy without dead outputs and their instructions; None if there are none.

        Args:
            read: ids of values that are read, outputs of the loop among them.
        """
        carried = [i.outputs[0] for i in self.entries if i.op == "carried"]
        live = {k for k, v in enumerate(self.outputs) if id(v) in read}
        while True:
            needed = {id(self.body.outputs[k]) for k in live}
            for i in reversed(self.body.instructions):
                if not needed.isdisjoint(map(id, i.outputs)):
                    needed.update(map(id, i.inputs))
            more = live | {k for k, v in enumerate(carried) if id(v) in needed}
            if more == live:
                break
            live = more
        pairs = list(zip(self.entries, self.inputs, strict=True))
        kept = [(i, v) for i, v in pairs if id(i.outputs[0]) in needed]
        keys = sorted(live)
        if len(kept) == len(pairs) and len(keys) == len(self.outputs):
            return None
        # Values carried only to be read behind the loop: the first has no reader within.
        body = self.body.empty()
        body.values = list(self.body.values)
        rest = self.body.instructions[len(pairs) :]
        body.instructions = [i for i, _ in kept]
        body.instructions += [i for i in rest if not needed.isdisjoint(map(id, i.outputs))]
        first = {id(v): k for k, v in enumerate(carried) if id(v) in needed}
        keys.sort(key=lambda k: (k not in first.values(), k))
        body.outputs = [self.body.outputs[k] for k in keys]
        ways, outputs = [self.ways[k] for k in keys], [self.outputs[k] for k in keys]
        return Loop(body, ways, [v for _, v in kept], outputs, self.attributes)

    def flat(self, program: Program, training: bool) -> list[Instruction]:
        """Loop, with its body after it, in values of the program.

        Args:
            program: the program of these values.
            training: whether gradients go through.
        """
        self.body.external_grads = self.body.outputs if training else []
        body = self.body.fused(training)
        given = body.external_grads if training else body.outputs
        known: dict[int, Value] = {}
        found: list[Instruction] = []
        n = len(body.instructions)
        carries = [n + k for k, way in enumerate(self.ways) if way == "carry"]
        # Outputs of a body are other values once they are rounded, but of the same numbers.
        carried = [i.outputs[0].index for i in self.entries if i.op == "carried"]
        reverse = self.attributes["reverse"]
        entries = zip(self.entries, self.inputs, strict=True)
        inputs = {i.outputs[0].index: v for i, v in entries}
        for at, i in enumerate(body.instructions):
            made = [program.value(v.shape, v.dtype, v.role, v.shared) for v in i.outputs]
            known.update((id(v), new) for v, new in zip(i.outputs, made, strict=True))
            reads = [known[id(v)] for v in i.inputs]
            if i.op in OF_LOOPS and (entry := inputs.get(i.outputs[0].index)):
                reads = [entry]
            found.append(i.giving(made, reads))
            if i.op == "element":
                found[-1].attributes = {"reverse": reverse}
            elif i.attributes.get("user_draw"):
                drawn = i.attributes["user_draw"] + self.attributes["drawn"]
                found[-1].attributes = {**i.attributes, "user_draw": drawn}
            elif i.op == "carried":
                found[-1].attributes = {"behind": carries[carried.index(i.outputs[0].index)] - at}
        for way, v, to in zip(self.ways, given, self.outputs, strict=True):
            more = {"reverse": reverse * self.attributes["by_place"]} if way == "collect" else {}
            found.append(Instruction(way, [known[id(v)]], [to], (), more))
        loop = {"iterations": self.attributes["iterations"], "draws": self.attributes["draws"]}
        return [Instruction("loop", (), (), (), {**loop, "body": len(found)}), *found]

    def __repr__(self) -> str:
        body = [*map(repr, self.body.instructions)]
        body += [f"{way} {v!r}" for way, v in zip(self.ways, self.body.outputs, strict=True)]
        return "\n    ".join([super().__repr__(), *body])
