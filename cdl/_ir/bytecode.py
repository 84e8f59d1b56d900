"""Bytecode of expressions for the core's op "map": compiler, reader and printer.

The numbers are: how many steps are forward, those, and the steps backward; constants are floats
beside them. A step is one whole number below 2^48, of bytes that say, from the lowest: the
primitive (its row in ``_core.ELEMENTWISE``), where the result goes, three operands, and what the
step is for: bit k if the gradient by input k needs it (forward: 1). An operand is a register (from
0), a register of a column, a number for each line (from 16), an input (from 32; 40 is the gradient
by the result and 41 the result, backward only), an output (from 64: the result, or the gradient by
input k), or a constant (from 96). A step that writes a column reads columns and constants, unless
it is one of lines (``_core.LINEWISE``). One of elements reads a `spread` of a column, or itself
where ``_core.MIXED`` has the primitive with that operand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdl import _core
from cdl._ir.elementwise import DY, Expression, Y, apply, argument, constant, in_order
from cdl._ir.elementwise_grad import gradients

Numbers = tuple[int, ...]
Constants = tuple[float, ...]

REGISTER, COLUMN, INPUT, OUTPUT, CONSTANT = 0, 16, 32, 64, 96
_DY, _Y = INPUT + 8, INPUT + 9
_PRIMITIVES = [*_core.ELEMENTWISE, *_core.LINEWISE]
_ARITY = [*_core.ELEMENTWISE.values(), *_core.LINEWISE.values()]
_ROW = {name: row for row, name in enumerate(_PRIMITIVES)}
_COMMUTE = frozenset(("add", "multiply", "maximum", "minimum", "equal", "not_equal"))


class TooLongError(ValueError):
    """Expression with more steps, constants or live values than the core takes."""


class _Code:
    """Steps of one direction, with common subexpressions numbered once."""

    def __init__(self, roots: Mapping[int, Expression], constants: list[float]) -> None:
        self.constants = constants
        self.nodes: list[tuple[str, tuple[int, ...], float]] = []
        self.columns: set[int] = set()
        self.number: dict[tuple[str, tuple[int, ...], float], int] = {}
        of: dict[int, int] = {}
        for x in in_order(*roots.values()):
            args = tuple(of[id(a)] for a in x.args)
            if x.primitive in _COMMUTE:
                args = tuple(sorted(args, key=lambda v: (v in self.columns, v)))
            elif x.primitive == "multiply_add" and args[0] in self.columns:
                args = (args[1], args[0], args[2])
            if x.primitive in _core.LINEWISE:  # these read no constants
                args = tuple(map(self._of_elements, args))
            if not (x.is_column and x.primitive not in _core.LINEWISE):
                args = self._readable(x.primitive, args)
            of[id(x)] = self._numbered(x.primitive, args, x.value)
            if x.is_column:
                self.columns.add(of[id(x)])
        # Roots by number of the output.
        self.roots = {k: self._spread(of[id(root)]) for k, root in roots.items()}
        self.masks = self._masks()
        self._fuse_products()

    def _readable(self, primitive: str, args: tuple[int, ...]) -> tuple[int, ...]:
        """Operands of a step that writes no column, columns among them spread where they must."""
        columns = sum(1 << j for j, v in enumerate(args) if v in self.columns)
        return args if (primitive, columns) in _core.MIXED else tuple(map(self._spread, args))

    def _of_elements(self, v: int) -> int:
        """Value as an operand of a step that reads lines: a constant is copied to one."""
        return self._numbered("copy", (v,), 0.0) if self.nodes[v][0] == "constant" else v

    def _spread(self, v: int) -> int:
        """Value as one of elements."""
        return self._numbered("spread", (v,), 0.0) if v in self.columns else v

    def _numbered(self, primitive: str, args: tuple[int, ...], value: float) -> int:
        key = (primitive, args, value)
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
                is_of_one_kind = (p in self.columns) == (v in self.columns)
                once = users[p] == 1 and other != p
                if self.nodes[p][0] == "multiply" and once and is_of_one_kind:
                    self.nodes[v] = ("multiply_add", (*self.nodes[p][1], other), 0.0)
                    self.masks[p] = 0
                    break

    def steps(self) -> list[int]:
        """Steps as numbers, with registers reused after the last read."""
        users, found = self._readers(), []
        place: dict[int, int] = {}
        output = {v: k for k, v in self.roots.items()}
        free: dict[int, list[int]] = {REGISTER: [], COLUMN: []}
        used = {REGISTER: REGISTER, COLUMN: COLUMN}
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
                    free[COLUMN if a in self.columns else REGISTER].append(place[a])
            if v in output and users[v] == 1:
                to = OUTPUT + output[v]
            else:
                kind = COLUMN if v in self.columns else REGISTER
                to = free[kind].pop() if free[kind] else used[kind]
                used[kind] = max(used[kind], to + 1)
            place[v] = to
            found.append(_step(primitive, to, operands, self.masks[v]))
        most = max(to - first for first, to in used.items())
        if most > _core.MAP_REGISTERS:
            raise TooLongError(
                f"expected at most {_core.MAP_REGISTERS} values at a time, got {most}"
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


def compiled(
    root: Expression, n: int, wanted: Sequence[Expression | None] | None = None
) -> tuple[Numbers, Constants]:
    """Bytecode and constants of an expression of n arguments, with those of its gradients.

    Args:
        root: the expression.
        n: how many arguments there are.
        wanted: gradient of each of the first arguments, None for none; without it, derivatives.

    Raises:
        TooLongError: if it has more steps, constants or values at a time than the core takes.
    """
    constants: list[float] = []
    forward = _Code({0: root}, constants).steps()
    by_argument = gradients(root, n) if wanted is None else wanted
    backward = _Code({k: g for k, g in enumerate(by_argument) if g is not None}, constants).steps()
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


def is_of_lines(numbers: Numbers) -> bool:
    """Whether a step makes a column of whole lines."""
    return any(step & 255 >= len(_core.ELEMENTWISE) for step in numbers[1 : 1 + numbers[0]])


def floats_of_lines(numbers: Numbers, width: int, repeated: int) -> int:
    """Floats that the core keeps at once of lines of a width, each of which a step reads whole.

    Args:
        numbers: the bytecode.
        width: of a line.
        repeated: how many inputs are repeated along the lines.
    """
    forward, backward = numbers[1 : 1 + numbers[0]], numbers[1 + numbers[0] :]
    most = 0
    for steps, of_repeated in ((forward, 1), (backward, 2)):
        named: set[int] = set()
        for step in steps:
            if not COLUMN <= (step >> 8 & 255) < INPUT:
                named.update(_operands(step), [step >> 8 & 255])
        kept = [o for o in named if o < COLUMN or o >= CONSTANT]
        most = max(most, len(kept) + of_repeated * repeated)
    return most * -(-width // 64) * 64


def _operands(step: int) -> list[int]:
    return [step >> 16 + 8 * j & 255 for j in range(_ARITY[step & 255])]


def read(numbers: Numbers, constants: Constants) -> Expression:
    """Expression of a bytecode and its constants."""
    return _read(numbers[1 : 1 + numbers[0]], constants)[OUTPUT]


def read_gradients(numbers: Numbers, constants: Constants, n: int) -> list[Expression | None]:
    """Gradient of each of n arguments, by a bytecode and its constants; None for none."""
    values = _read(numbers[1 + numbers[0] :], constants)
    return [values.get(OUTPUT + k) for k in range(n)]


def _read(steps: Sequence[int], constants: Constants) -> dict[int, Expression]:
    """Values of registers and outputs after some steps."""
    values = {CONSTANT + k: constant(c) for k, c in enumerate(constants)}
    leaves = {_DY: DY, _Y: Y}
    for step in steps:
        primitive, to = _PRIMITIVES[step & 255], step >> 8 & 255
        args = [
            argument(leaves.get(o, o - INPUT)) if INPUT <= o < OUTPUT else values[o]
            for o in _operands(step)
        ]
        values[to] = args[0] if primitive == "spread" else apply(primitive, *args)
    return values


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "equal": "==",
          "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
          "greater_equal": ">="}  # fmt: skip


def text(numbers: Numbers, constants: Constants, names: Sequence[str]) -> str:
    """Text of a bytecode's expression, with names of arguments and of columns, which follow."""
    root = read(numbers, constants)
    columns = [x for x in in_order(root) if x.primitive in _core.LINEWISE]
    known = {id(x): f"c{k}" for k, x in enumerate(columns)}
    whole = text_of(root, names, known)
    return ", ".join(
        [whole, *(f"{known.pop(id(x))} = {text_of(x, names, known)}" for x in columns[::-1])]
    )


def text_of(x: Expression, names: Sequence[str], known: Mapping[int, str] | None = None) -> str:
    """Text of an expression, with names of arguments, and of parts by id where they are known."""
    if known and id(x) in known:
        return known[id(x)]
    if x.primitive == "argument":
        return names[int(x.value)]
    if x.primitive == "constant":
        return f"{x.value:g}"
    parts = [text_of(a, names, known) for a in x.args]
    if x.primitive not in _SIGNS:
        return f"{x.primitive}({', '.join(parts)})"
    for k, a in enumerate(x.args):
        if a.primitive in _SIGNS and not (known and id(a) in known):
            parts[k] = f"({parts[k]})"
    return f" {_SIGNS[x.primitive]} ".join(parts)
