"""Values of bfloat16 and float16 in the core: two bytes each, or rounded floats.

The core keeps a value of bfloat16 in two bytes a number, which few ops read and give; for all
others it is floats that were rounded. So a value may be there in both forms, with a cast between
them. One of float16 is always floats. A cast stands behind what gives numbers that are not rounded
yet. Within loops all is floats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cdl import _core
from cdl._ir.emit import PLACES
from cdl._ir.instruction import LOW_DTYPES, Instruction, Value
from cdl._ir.loops import OF_LOOPS

if TYPE_CHECKING:
    from cdl._ir.fusion import Rewriter

# Whether products of bfloat16 are tiles: by others a convolution of floats is the faster one.
HAS_TILES = _core.info()["isa"] == "amx"

# Columns of images and of maps, and their product, from which on that pays.
LEAST, LEAST_PRODUCT = 16, 512

# Weights of a dense layer from which on it reads numbers of two bytes, unless these are there
# anyway. With fewer the casts cost more than tiles gain; without tiles floats take less time, and
# the values of a batch less memory than the weights of other layers.
LEAST_DENSE = 1536 if HAS_TILES else 1 << 17

# Ops whose outputs are numbers that they read, in other places.
_MOVES = {
    *("reshape", "permute", "broadcast", "concat", "pick", "take_along", "gather"),
    *("param", "broadcast_batch", "stop", "probe"),
}


# Ops of floats that read and give values of two bytes, if samples of these are no larger: a block
# of them is there as floats.
_NARROW = {"activation", "map", "dropout", "reshape", "batch_norm"}
_MOST_NARROW = 8192
_ELEMENTWISE = ("activation", "map", "dropout")


def sink_casts(program: Rewriter) -> None:
    """Move casts after reshapes that alone read them, so that inputs reshape for free."""
    for i in program.instructions.of("cast"):
        cast, x = i, i.inputs[0]
        while program.read_once(cast.outputs[0]) and x.dtype != "int32":
            reader = program.instructions.only_reader(cast.outputs[0])
            if reader is None or reader.op != "reshape":
                break
            y = reader.outputs[0]
            x = program.like(y, x.dtype)
            program.swap(reader, behind := cast.giving([y], [x]))
            program.swap(cast, reader.giving([x], cast.inputs))
            cast = behind


def widen(program: Rewriter) -> None:
    """Leave values between elementwise operations in float32 where two bytes would not hold them.

    A rounding there is a pass over memory, and keeps the operations on both sides from fusing.
    """
    kept = {id(v) for v in (*program.outputs, *program.external_grads)}
    for i in program.instructions.of(*_ELEMENTWISE):
        (v,), users = i.outputs, program.users(i.outputs[0])
        if v.dtype != "bfloat16" or id(v) in kept or not users:
            continue
        if any(user.op not in _ELEMENTWISE for user in users):
            continue
        if not (_may_be_short(i) and any(_may_be_short(user) for user in users)):
            wide = program.like(v, "float32")
            program.swap(program.current(i), program.current(i).giving([wide]))
            program.read_instead(v, wide)


def _may_be_short(i: Instruction) -> bool:
    return all(_is_narrow_value(v) for v in (*i.inputs, *i.outputs))


def apply(program: Rewriter) -> None:
    """Insert casts where a value is read in another form than it has, or is rounded."""
    if not any(v.dtype in LOW_DTYPES for v in program.values):
        return
    narrow(program)
    round_inputs(program)
    _Rounding(program).run()


def narrow(program: Rewriter) -> None:
    """Fuse casts from and to bfloat16 around batch normalizations into these.

    The core computes them in float32 all the same, and their values take two bytes a number.
    """
    for i in program.instructions.of("batch_norm"):
        before = program.producer(i.inputs[0])
        behind = program.instructions.only_reader(i.outputs[0])
        if not program.read_once(i.outputs[0]) or before is None or behind is None:
            continue
        if {before.op, behind.op} != {"cast"}:
            continue
        x, y = before.inputs[0], behind.outputs[0]
        if x.dtype == y.dtype == "bfloat16" and _is_narrow_value(x):
            program.swap(i, i.giving([y], [x, *i.inputs[1:]]))
            program.instructions.remove(behind)
            if not (program.users(kept := before.outputs[0]) or kept in program.outputs):
                program.instructions.remove(before)


def round_inputs(program: Rewriter) -> None:
    """Convert inputs that only a cast to bfloat16 reads to that dtype.

    Not where Python computes a loss, of which they may be arguments.
    """
    for v in [] if program.is_scored_by_caller else list(program.inputs):
        cast = program.instructions.only_reader(v)
        if cast is None or cast.op != "cast" or v.dtype != "float32" or not program.read_once(v):
            continue
        y = cast.outputs[0]
        if y.dtype == "bfloat16" and _is_narrow_value(y):
            program.instructions.remove(cast)
            program.inputs.replace(v, y)
            y.role = v.role


class _Rounding:
    def __init__(self, program: Rewriter) -> None:
        self.program = program
        self.two_bytes: set[int] = set()  # ids of values of bfloat16 that are there in that form
        self.floats: dict[int, Value] = {}  # as floats, by id of the value of bfloat16
        self.in_loop = bool(program.instructions.of(*OF_LOOPS[1:]))

    def run(self) -> None:
        program = self.program
        steps = list(program.instructions)
        for v in program.inputs:
            if v.dtype == "bfloat16" and not self._is_fed_in_two_bytes(v):
                given = program.like(v, "float32")
                given.role = v.role
                program.inputs.replace(v, given)
                program.instructions.put_first(self._rounded(given, v))
        for i in steps:
            self._round(program.current(i))  # one before may have changed what it reads
        for ends in (program.outputs, program.external_grads):
            for v in list(ends):
                if v.dtype == "bfloat16":
                    ends.replace(v, self._as_floats(v))
        self._choose_before_rounding()

    def _choose_before_rounding(self) -> None:
        """Move casts after an op that only selects the largest numbers."""
        program = self.program
        for cast in program.instructions.of("cast"):
            x, y = cast.inputs[0], cast.outputs[0]
            reader = program.instructions.only_reader(y)
            floats = x.dtype == y.dtype == "float32" and y.rounded_to is not None
            alone = program.read_once(x) and program.read_once(y)
            if floats and alone and reader is not None and _chooses(reader):
                program.instructions.remove(cast)
                program.read_instead(y, x)

    def _is_fed_in_two_bytes(self, v: Value) -> bool:
        self.two_bytes.add(id(v))
        short = any(self._is_short(user) for user in self.program.users(v))
        if not (short and _is_narrow_value(v)):
            self.two_bytes.remove(id(v))
        return id(v) in self.two_bytes

    def _round(self, i: Instruction) -> None:
        if i.op == "cast":
            self._round_cast(i)
            return
        short = self._is_short(i)
        inputs = [
            v if v.dtype != "bfloat16" else self._in_two_bytes(v) if short else self._as_floats(v)
            for v in i.inputs
        ]
        outputs, casts = [], []
        for v in i.outputs:
            keeps = i.op in OF_LOOPS or _only_moves(i)  # what it gives is rounded
            if v.dtype not in LOW_DTYPES or short or (v.dtype == "float16" and keeps):
                outputs.append(v)
                if v.dtype == "bfloat16":
                    self.two_bytes.add(id(v))
                continue
            outputs.append(self.program.like(v, "float32"))
            if keeps:
                outputs[-1].index = v.index  # by which a loop knows the values of its body
                outputs[-1].rounded_to = v.dtype
                self.floats[id(v)] = outputs[-1]
            else:
                casts.append(self._rounded(outputs[-1], v))
        if outputs != list(i.outputs) or inputs != list(i.inputs):
            new = i.giving(outputs, inputs)
            self.program.swap(i, new)
            for cast in casts:
                self.program.instructions.put_behind(new, cast)

    def _round_cast(self, i: Instruction) -> None:
        (x,), (y,) = i.inputs, i.outputs
        if y.dtype == "float32" and id(x) in self.two_bytes and id(x) not in self.floats:
            self.floats[id(x)] = y
        elif y.dtype == "float32" and x.dtype == "bfloat16":
            self.program.instructions.remove(i)
            self.program.read_instead(y, self._as_floats(x))
        elif x.dtype == "bfloat16" or y.dtype == "bfloat16":
            given = self._as_floats(x) if x.dtype == "bfloat16" else x
            new = self._rounded(given, y) if y.dtype == "bfloat16" else i.reading([given])
            self.program.swap(i, new)

    def _rounded(self, given: Value, v: Value) -> Instruction:
        """Cast of floats whose value is read in that form, if there is one."""
        if v.dtype == "bfloat16":
            if not any(self._is_short(user) for user in self.program.users(v)):
                self.floats[id(v)] = self._like(v)
                return _cast(given, self.floats[id(v)], v.dtype)
            self.two_bytes.add(id(v))
        return _cast(given, v, v.dtype)

    def _in_two_bytes(self, v: Value) -> Value:
        if id(v) not in self.two_bytes:
            self._put(self.floats[id(v)], v)
            self.two_bytes.add(id(v))
        return v

    def _as_floats(self, v: Value) -> Value:
        if id(v) not in self.floats:
            self.floats[id(v)] = self._like(v)
            self._put(v, self.floats[id(v)])
        return self.floats[id(v)]

    def _like(self, v: Value) -> Value:
        new = self.program.like(v, "float32")
        new.rounded_to = v.dtype
        return new

    def _put(self, given: Value, wanted: Value) -> None:
        before = self.program.producer(given)
        cast = _cast(given, wanted, wanted.dtype)
        if before is None:
            self.program.instructions.put_first(cast)
        else:
            self.program.instructions.put_behind(before, cast)

    def _is_short(self, i: Instruction) -> bool:
        """Whether the core has an instruction for bfloat16 in two bytes."""
        if i.op == "pool":
            return id(i.inputs[0]) in self.two_bytes and _chooses(i)
        if i.op in _NARROW:
            masked = i.op == "batch_norm" and len(i.inputs) > 1
            read = i.inputs[:1] if masked else i.inputs
            short = all(id(v) in self.two_bytes for v in read) and not self.in_loop
            return short and all(_is_narrow_value(v) for v in (*read, *i.outputs))
        if i.op not in ("dense", "conv") or i.params[0] is None or self.in_loop:
            return False
        dtypes = {i.inputs[0].dtype, i.outputs[0].dtype, i.param_dtype(0)}
        if dtypes != {"bfloat16"}:
            return False
        m, n = i.params[0].shape[-2:]
        if i.op == "dense":
            x = i.inputs[0]
            there = id(x) in self.two_bytes and x not in self.program.inputs
            return min(m, n) > 1 and (there or m * n >= LEAST_DENSE)
        pays = HAS_TILES and min(m, n) >= LEAST and m * n >= LEAST_PRODUCT
        return pays and i.attributes["groups"] == 1


def _chooses(i: Instruction) -> bool:
    """Whether an instruction selects the largest numbers of disjoint windows."""
    if i.op != "pool" or i.attributes["kind"] != "max":
        return False
    axes = [i.numbers[k : k + 3] for k in range(0, len(i.numbers), 4)]
    return all(n > 0 and (n - 1) * dilation < stride for n, stride, dilation in axes)


def _is_narrow_value(v: Value) -> bool:
    wide = bool(v.shape) and v.shape[-1] > 1
    return v.dtype == "bfloat16" and not v.shared and wide and math.prod(v.shape) <= _MOST_NARROW


def _cast(given: Value, wanted: Value, dtype: str) -> Instruction:
    return Instruction("cast", (given,), (wanted,), (), {"dtype": dtype})


def _only_moves(i: Instruction) -> bool:
    """Whether an instruction only moves numbers, of one dtype."""
    read = [v for k, v in enumerate(i.inputs) if k != PLACES.get(i.op)]
    given = {v.dtype for v in (*read, *i.outputs)}
    given |= {i.param_dtype(k) or "float32" for k, p in enumerate(i.params) if p is not None}
    return i.op in _MOVES and len(given) == 1
