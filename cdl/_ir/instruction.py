"""Values and instructions of a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cdl import _core
from cdl._ir import bytecode

if TYPE_CHECKING:
    from cdl._tracing.variable import Variable

Shape = tuple[int, ...]

# Dtypes whose numbers are kept as floats that have been rounded to them.
REDUCTIONS = ("mean", "sum", "none")  # of losses, by their numbers in the core
LOW_DTYPES = ("bfloat16", "float16")


class Value:
    """Input or output of instructions: an array of ``shape``, for each sample or for all.

    Attributes:
        index: its number, by which it is printed.
        shape: of a sample.
        dtype: "float32"; "int32" for class numbers; "bfloat16" or "float16" for numbers that
            these have.
        role: what array an input is: "x", "y" or "weight".
        shared: whether it has no batch axis: a weight read as a value, a constant, a sum over the
            batch. Its shape is the whole shape.
        rounded_to: what the numbers of floats are of, where that is another dtype; or None.
        mask: the value that tells which of its lines count (1) and which do not (0), or None for
            all; its shape is that of this value without the last axis.
        is_whole: whether it stands for integers or truths, which no policy of a layer rounds.
        most: bound of the sizes of integers.
        label: of an input of integers, what an error calls it where float32 has not one of them.
    """

    __slots__ = (
        *("dtype", "index", "is_whole", "label", "mask", "most", "role", "rounded_to", "shape"),
        "shared",
    )

    def __init__(
        self,
        index: int,
        shape: Shape,
        dtype: str,
        role: str | None = None,
        shared: bool = False,
    ) -> None:
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.role = role
        self.shared = shared
        self.mask: Value | None = None
        self.rounded_to: str | None = None
        self.is_whole = False
        self.most: float = 2**24
        self.label: str | None = None

    @property
    def dtype_of_numbers(self) -> str:
        """Dtype that its numbers have been rounded to, else its own."""
        return self.rounded_to or self.dtype

    def __repr__(self) -> str:
        return f"%{self.index}"


class Instruction:
    """Operation: the op's name, its values, its weights, its numbers and attributes by name.

    ``numbers`` are integers of any count that belong to it too, such as axes; ``data`` are floats,
    such as the elements of a constant. ``param_dtypes`` are what its weights are rounded to before
    they are read: "bfloat16", "float16" or None for each; () for none.
    """

    __slots__ = (
        "attributes",
        "data",
        "inputs",
        "numbers",
        "op",
        "outputs",
        "param_dtypes",
        "params",
    )

    def __init__(
        self,
        op: str,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        params: Sequence[Variable | None],
        attributes: dict[str, Any],
        numbers: Iterable[int] = (),
        data: Iterable[float] = (),
        param_dtypes: Sequence[str | None] = (),
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.params = tuple(params)
        self.attributes = attributes
        self.numbers = tuple(numbers)
        self.data = tuple(data)
        self.param_dtypes = tuple(param_dtypes)

    def reading(self, inputs: Sequence[Value]) -> Instruction:
        """Copy of the instruction with other inputs."""
        return self.giving(self.outputs, inputs)

    def giving(
        self, outputs: Sequence[Value], inputs: Sequence[Value] | None = None
    ) -> Instruction:
        """Copy of the instruction with other outputs, and other inputs unless they are None."""
        parts = self.params, self.attributes, self.numbers, self.data, self.param_dtypes
        return Instruction(self.op, self.inputs if inputs is None else inputs, outputs, *parts)

    def param_dtype(self, k: int) -> str | None:
        """Dtype that weight k is rounded to, or None."""
        return self.param_dtypes[k] if k < len(self.param_dtypes) else None

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers in inference, new ones in each call."""
        return self.op == "draw" or bool(self.attributes.get("always"))

    def gives(self, k: int) -> bool:
        """Whether input k gets a gradient, where the output has one."""
        row = _core.OPS[self.op]
        by_code = self.op in ("map", "custom_gradient")
        if by_code and not bytecode.derivatives(self.numbers) >> k & 1:
            return False
        if self.op == "gather" and k == 0:  # the numbers of the rows
            return False
        if self.op == "attention" and k == 3:  # the bias
            return False
        if self.op == "recurrent" and k == 1 and self.attributes["given"] & 1:  # the mask
            return False
        return row.gives_gradient and self.inputs[k].dtype != "int32" and (row.all_inputs or k == 0)

    def __repr__(self) -> str:
        left = ", ".join(f"{v!r}" for v in self.outputs)
        words = [f"{v!r}" for v in self.inputs]
        words += [
            f"{p.path}{':' * bool(dtype := self.param_dtype(k))}{dtype or ''}"
            for k, p in enumerate(self.params)
            if p is not None
        ]
        words += [
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.attributes.items()
        ]
        if self.op == "map":
            words = [bytecode.text(self.numbers, self.data, words)]
        else:
            row = _core.OPS.get(self.op)
            words += _brief(row.tail if row else "numbers", self.numbers)
            words += _brief(row.data if row else "data", self.data)
        shape = " ".join(
            f"{'shared ' * v.shared}{list(v.shape)}{_low(v.dtype)}" for v in self.outputs
        )
        return f"{left + ' = ' if left else ''}{self.op} {', '.join(words)}" + (
            f"  {shape}" if shape else ""
        )


class InstructionList:
    """Ordered instructions, with the producer and readers of each value.

    A change costs the same however many there are: they are linked in both directions, and None
    stands before the first and behind the last. Who walks through them sees them as they were.
    """

    def __init__(self, instructions: Iterable[Instruction]) -> None:
        now = list(instructions)
        self._now: list[Instruction] | None = now  # all of them in order, if that is known
        self._after = dict(zip([None, *now], [*now, None], strict=True))
        self._before = dict(zip([*now, None], [None, *now], strict=True))
        self._givers: dict[int, Instruction] = {}
        self._readers: dict[int, dict[int, Instruction]] = {}
        self._ops: set[str] = set()  # that there have been
        for instruction in now:
            self._note(instruction)

    def _note(self, instruction: Instruction) -> None:
        self._ops.add(instruction.op)
        for v in instruction.outputs:
            self._givers[id(v)] = instruction
        for v in instruction.inputs:
            self._readers.setdefault(id(v), {})[id(instruction)] = instruction

    def _all(self) -> list[Instruction]:
        if self._now is None:
            self._now, instruction = [], self._after[None]
            while instruction is not None:
                self._now.append(instruction)
                instruction = self._after[instruction]
        return self._now

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self._all())

    def __reversed__(self) -> Iterator[Instruction]:
        return reversed(self._all())

    def of(self, *ops: str) -> list[Instruction]:
        """Instructions of one or several ops."""
        return [] if self._ops.isdisjoint(ops) else [i for i in self._all() if i.op in ops]

    def put_first(self, instruction: Instruction) -> None:
        """Insert an instruction before all others."""
        self._put(instruction, self._after[None])

    def put_before(self, other: Instruction, instruction: Instruction) -> None:
        """Insert an instruction right before another one."""
        self._put(instruction, other)

    def put_behind(self, other: Instruction, instruction: Instruction) -> None:
        """Insert an instruction right after another one."""
        self._put(instruction, self._after[other])

    def _put(self, instruction: Instruction, after: Instruction | None) -> None:
        before = self._before[after]
        self._after[before] = self._before[after] = instruction
        self._after[instruction], self._before[instruction] = after, before
        self._now = None
        self._note(instruction)

    def remove(self, instruction: Instruction) -> Instruction | None:
        """Remove an instruction; returns the next one."""
        before, after = self._before.pop(instruction), self._after.pop(instruction)
        self._after[before], self._before[after] = after, before
        self._now = None
        for v in instruction.outputs:
            if self._givers.get(id(v)) is instruction:
                del self._givers[id(v)]
        for v in instruction.inputs:
            self._readers[id(v)].pop(id(instruction), None)
        return after

    def replace(self, old: Instruction, new: Instruction) -> None:
        """Replace an instruction by another."""
        self._put(new, self.remove(old))

    def producer(self, value: Value) -> Instruction | None:
        """Instruction that outputs a value; None for an input of the program."""
        return self._givers.get(id(value))

    def users(self, value: Value) -> list[Instruction]:
        """Instructions that read a value, each once."""
        return list(self._readers.get(id(value), {}).values())

    def only_reader(self, value: Value) -> Instruction | None:
        """Only instruction that reads a value; None for none or several."""
        users = self._readers.get(id(value), {})
        return next(iter(users.values())) if len(users) == 1 else None


class EndValues:
    """Inputs or outputs of a program, in order, with fast search and replacement."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._list = list(values)
        self._places: dict[int, list[int]] = {}
        for place, value in enumerate(self._list):
            self._places.setdefault(id(value), []).append(place)

    def __iter__(self) -> Iterator[Value]:
        return iter(self._list)

    def __contains__(self, value: object) -> bool:
        return id(value) in self._places

    def places(self, value: Value) -> list[int]:
        """Positions of a value."""
        return list(self._places.get(id(value), []))

    def put(self, place: int, value: Value) -> None:
        """Replace the value at one position."""
        places = self._places[id(self._list[place])]
        places.remove(place)
        if not places:
            del self._places[id(self._list[place])]
        self._list[place] = value
        self._places.setdefault(id(value), []).append(place)

    def replace(self, old: Value, new: Value) -> None:
        """Replace a value at all its positions."""
        places = self._places.pop(id(old), [])
        for place in places:
            self._list[place] = new
        if places:
            self._places.setdefault(id(new), []).extend(places)


def _low(dtype: str) -> str:
    """Text of the dtype after a shape, where floats are not float32."""
    return f" {dtype}" if dtype in LOW_DTYPES else ""


def _brief(name: str, numbers: tuple[float, ...]) -> list[str]:
    """Numbers by name for the disassembly, cut if they are many; nothing if none."""
    first = " ".join(f"{n:g}" for n in numbers[:8])
    more = f" ... ({len(numbers)})" if len(numbers) > 8 else ""
    return [f"{name}={first}{more}"] if numbers else []
