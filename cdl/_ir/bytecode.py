"""Bytecode of expressions for the core's op "map": compiler, reader and printer.

The numbers are: how many steps are forward, those, and the steps backward; constants are floats
beside them. A step is one whole number below 2^48, of bytes that say, from the lowest: the
primitive (its row in ``_core.ELEMENTWISE``), where the result goes, three operands, and what the
step is for: bit k if the gradient by input k needs it (forward: 1). An operand is a register (from
0), an input (from 32; 40 is the gradient by the result and 41 the result, backward only), an output
(from 64: the result, or the gradient by input k), or a constant (from 96).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdl import _core
from cdl._ir.elementwise import DY, Expression, Y, apply, argument, constant, in_order
from cdl._ir.elementwise_grad import gradients

Numbers = tuple[int, ...]
Constants = tuple[float, ...]

REGISTER, INPUT, OUTPUT, CONSTANT = 0, 32, 64, 96
_DY, _Y = INPUT + 8, INPUT + 9
_PRIMITIVES = list(_core.ELEMENTWISE)
_ROW = {name: row for row, name in enumerate(_PRIMITIVES)}
_COMMUTE = frozenset(("add", "multiply", "maximum", "minimum", "equal", "not_equal"))


class TooLongError(ValueError):
    """Expression with more steps, constants or live values than the core takes."""


class _Code:
    """Steps of one direction, with common subexpressions numbered once."""

    def __init__(self, roots: Mapping[int, Expression], constants: list[float]) -> None:
        self.constants = constants
        self.nodes: list[tuple[str, tuple[int, ...], float]] = []
        self.number: dict[tuple[str, tuple[int, ...], float], int] = {}
        of: dict[int, int] = {}
        for x in in_order(*roots.values()):
            of[id(x)] = self._numbered(x, tuple(of[id(a)] for a in x.args))
        self.roots = {k: of[id(root)] for k, root in roots.items()}  # by number of the output
        self.masks = self._masks()
        self._fuse_products()

    def _numbered(self, x: Expression, args: tuple[int, ...]) -> int:
        if x.primitive in _COMMUTE:
            args = tuple(sorted(args))
        key = (x.primitive, args, x.value)
        if key not in self.number:
            self.number[key] = len(self.nodes)
            self.nodes.append(key)
        return self.number[key]

    def _masks(self) -> list[int]:
        """Bit mask per value of the roots that need it."""
        masks = [0] * len(self.nodes)
        for k, root in self.roots.items():
            masks[root] |= 1 << k
        for v in range(len(self.nodes) - 1, -1, -1):
            for a in self.nodes[v][1]:
                masks[a] |= masks[v]
        return masks

    def _readers(self) -> list[int]:
        """Number of needed reads of each value, as operand or root."""
        users = [0] * len(self.nodes)
        for v, (_, args, _) in enumerate(self.nodes):
            for a in args if self.masks[v] else ():
                users[a] += 1
        for root in self.roots.values():
            users[root] += 1
        return users

    def _fuse_products(self) -> None:
        """Fuse a product that only a sum reads into a multiply-add."""
        users = self._readers()
        for v, (primitive, args, _) in enumerate(self.nodes):
            for p, other in ((args[0], args[1]), (args[1], args[0])) if primitive == "add" else ():
                if self.nodes[p][0] == "multiply" and users[p] == 1 and other != p:
                    self.nodes[v] = ("multiply_add", (*self.nodes[p][1], other), 0.0)
                    self.masks[p] = 0
                    break

    def steps(self) -> list[int]:
        """Steps as numbers, with registers reused after the last read."""
        users, found = self._readers(), []
        place: dict[int, int] = {}
        output = {v: k for k, v in self.roots.items()}
        free: list[int] = []
        used = 0
        for v, (primitive, args, value) in enumerate(self.nodes):
            if not self.masks[v]:
                continue
            if primitive in ("argument", "constant"):
                place[v] = self._leaf(primitive, value)
                continue
            operands = [place[a] for a in args]
            for a in args:
                users[a] -= 1
                if users[a] == 0 and place[a] < INPUT:
                    free.append(place[a])
            if v in output and users[v] == 1:
                to = OUTPUT + output[v]
            else:
                to = free.pop() if free else used
                used = max(used, to + 1)
            place[v] = to
            found.append(_step(primitive, to, operands, self.masks[v]))
        if used > _core.MAP_REGISTERS:
            raise TooLongError(
                f"expected at most {_core.MAP_REGISTERS} values at a time, got {used}"
            )
        copies = [(k, r) for k, r in self.roots.items() if place[r] != OUTPUT + k]
        return found + [_step("copy", OUTPUT + k, [place[r]], 1 << k) for k, r in copies]

    def _leaf(self, primitive: str, value: float) -> int:
        if primitive == "argument":
            return {DY: _DY, Y: _Y}.get(int(value), INPUT + int(value))
        known = [c.hex() for c in self.constants]
        if value.hex() not in known:  # 0.0 is not -0.0, and a NaN is itself
            self.constants.append(value)
            known.append(value.hex())
        return CONSTANT + known.index(value.hex())


def _step(primitive: str, to: int, operands: Sequence[int], mask: int) -> int:
    step = _ROW[primitive] | to << 8 | mask << 40
    for j, operand in enumerate(operands):
        step |= operand << 16 + 8 * j
    return step


def compiled(root: Expression, n: int) -> tuple[Numbers, Constants]:
    """Bytecode and constants of an expression of n arguments, with those of its gradients.

    Raises:
        TooLongError: if it has more steps, constants or values at a time than the core takes.
    """
    constants: list[float] = []
    forward = _Code({0: root}, constants).steps()
    found = {k: g for k, g in enumerate(gradients(root, n)) if g is not None}
    backward = _Code(found, constants).steps()
    if max(len(forward), len(backward)) > _core.MAP_STEPS or len(constants) > _core.MAP_CONSTANTS:
        raise TooLongError(
            f"expected at most {_core.MAP_STEPS} steps and {_core.MAP_CONSTANTS} constants, got "
            f"{len(forward)} forward, {len(backward)} backward, {len(constants)} constants"
        )
    return (len(forward), *forward, *backward), tuple(map(float, constants))


def derivatives(numbers: Numbers) -> int:
    """Bit mask of the inputs that get a gradient from an expression."""
    found = 0
    for step in numbers[1 + numbers[0] :]:
        found |= step >> 40
    return found


def read(numbers: Numbers, constants: Constants) -> Expression:
    """Expression of a bytecode and its constants."""
    values = {CONSTANT + k: constant(c) for k, c in enumerate(constants)}
    for step in numbers[1 : 1 + numbers[0]]:
        primitive, to = _PRIMITIVES[step & 255], step >> 8 & 255
        operands = [step >> 16 + 8 * j & 255 for j in range(_core.ELEMENTWISE[primitive])]
        args = [argument(o - INPUT) if INPUT <= o < OUTPUT else values[o] for o in operands]
        values[to] = apply(primitive, *args)
    return values[OUTPUT]


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "equal": "==",
          "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
          "greater_equal": ">="}  # fmt: skip


def text(numbers: Numbers, constants: Constants, names: Sequence[str]) -> str:
    """Text of a bytecode's expression, with names of arguments."""
    return text_of(read(numbers, constants), names)


def text_of(x: Expression, names: Sequence[str]) -> str:
    """Text of an expression, with names of arguments."""
    if x.primitive == "argument":
        return names[int(x.value)]
    if x.primitive == "constant":
        return f"{x.value:g}"
    parts = [text_of(a, names) for a in x.args]
    if x.primitive not in _SIGNS:
        return f"{x.primitive}({', '.join(parts)})"
    for k, a in enumerate(x.args):
        if a.primitive in _SIGNS:
            parts[k] = f"({parts[k]})"
    return f" {_SIGNS[x.primitive]} ".join(parts)
