"""_program.py - a lowered model: a list of instructions over named values, and its simplification.

A program is plain data. Layers, losses and metrics emit into it; ``fused()`` rewrites it into the
form that the core runs fastest; the core reads it once. ``print(program)`` is a disassembly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cdl import _core

if TYPE_CHECKING:
    from cdl._variable import Variable

Shape = tuple[int, ...]


class Value:
    """What an input or an instruction gives: per sample an array of ``shape``.

    Attributes:
        index: its number, by which it is printed.
        shape: of a sample.
        dtype: "float32", or "int32" for class numbers.
        role: what array an input is: "x", "y" or "weight".
        mask: the value that tells which of its lines count (1) and which do not (0), or None for
            all; its shape is that of this value without the last axis.
    """

    __slots__ = ("dtype", "index", "mask", "role", "shape")

    def __init__(self, index: int, shape: Shape, dtype: str, role: str | None = None) -> None:
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.role = role
        self.mask: Value | None = None

    def __repr__(self) -> str:
        return f"%{self.index}"


class Instruction:
    """One operation: the op's name, its values, its weights, its attributes by name."""

    __slots__ = ("attributes", "inputs", "op", "outputs", "params")

    def __init__(
        self,
        op: str,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        params: Sequence[Variable | None],
        attributes: dict[str, Any],
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.params = tuple(params)
        self.attributes = attributes

    def __repr__(self) -> str:
        left = ", ".join(f"{v!r}" for v in self.outputs)
        words = [f"{v!r}" for v in self.inputs]
        words += [p.path for p in self.params if p is not None]
        words += [
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.attributes.items()
        ]
        shape = " ".join(f"{list(v.shape)}" for v in self.outputs)
        return f"{left + ' = ' if left else ''}{self.op} {', '.join(words)}" + (
            f"  {shape}" if shape else ""
        )


class Program:
    """A list of instructions; see the module's text."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.instructions: list[Instruction] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.reports: list[Instruction] = []

    def value(self, shape: Iterable[int], dtype: str = "float32", role: str | None = None) -> Value:
        """A new value that nothing gives yet."""
        value = Value(len(self.values), tuple(int(n) for n in shape), dtype, role)
        self.values.append(value)
        return value

    def input(self, shape: Iterable[int], dtype: str = "float32", role: str = "x") -> Value:
        """A value that the caller's array gives; arrays come in the order of the calls."""
        value = self.value(shape, dtype, role)
        self.inputs.append(value)
        return value

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        shape: Iterable[int],
        params: Sequence[Variable | None] = (),
        **attributes: Any,
    ) -> Value:
        """Appends an instruction with one output and returns that output."""
        out = self.value(shape)
        self.instructions.append(Instruction(op, inputs, (out,), params, attributes))
        return out

    def add_output(self, first: Value, shape: Iterable[int]) -> Value:
        """Another output, of that shape, of the last instruction, which gives `first`."""
        last = self.instructions[-1]
        assert first in last.outputs
        out = self.value(shape)
        last.outputs = (*last.outputs, out)
        return out

    def output(self, value: Value) -> None:
        """Marks a value as one that the caller reads."""
        self.outputs.append(value)

    def loss(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        scale: float = 1.0,
        reduction: str = "mean",
        **row_params: float,
    ) -> Instruction:
        """Appends a loss; ``reduction`` is "mean" (over samples and leading axes) or "sum"."""
        attributes: dict[str, float | str] = {"kind": kind, "scale": float(scale)}
        attributes["reduction"] = {"mean": 0.0, "sum": 1.0}[reduction]
        attributes.update(row_params)
        return self._score("loss", target, prediction, weight, attributes)

    def metric(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        **row_params: float,
    ) -> Instruction:
        """Appends a metric: the (weighted) mean of a value of each prediction."""
        return self._score("metric", target, prediction, weight, {"kind": kind, **row_params})

    def measure(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        **row_params: float,
    ) -> Instruction:
        """Appends a metric that is the (weighted) mean of a loss: ``kind`` is a row of losses."""
        return self._score("measure", target, prediction, weight, {"kind": kind, **row_params})

    def tally(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        params: Sequence[Variable | None] = (),
        **row_params: float,
    ) -> Instruction:
        """Appends a metric that counts; ``weight`` may have the shape of the prediction."""
        attributes: dict[str, float | str] = {"kind": kind, **row_params}
        return self._score("tally", target, prediction, weight, attributes, params)

    def score(self, op: str, inputs: Sequence[Value], **attributes: float) -> Instruction:
        """Appends an op that reports, such as a loss that is no row of a table."""
        instruction = Instruction(op, inputs, (), (), attributes)
        self.instructions.append(instruction)
        self.reports.append(instruction)
        return instruction

    def _score(
        self,
        op: str,
        target: Value,
        prediction: Value,
        weight: Value | None,
        attributes: dict[str, float | str],
        params: Sequence[Variable | None] = (),
    ) -> Instruction:
        inputs = (prediction, target) if weight is None else (prediction, target, weight)
        instruction = Instruction(op, inputs, (), params, attributes)
        self.instructions.append(instruction)
        self.reports.append(instruction)
        return instruction

    @property
    def variables(self) -> list[Variable]:
        """The weights, in order of first use, each once."""
        seen: dict[int, Variable] = {}
        for instruction in self.instructions:
            for param in instruction.params:
                if param is not None:
                    seen.setdefault(id(param), param)
        return list(seen.values())

    def givers(self) -> list[Instruction]:
        """The instructions that give their first input a gradient, in order.

        They are the losses and what leads to them, or, without a loss, to output 0, which then has
        its gradient from outside. What only metrics read has none to give.
        """
        rows = _core.OPS
        losses = [i for i in self.instructions if rows[i.op].reports and rows[i.op].gives_gradient]
        wanted = set() if losses else {id(v) for v in self.outputs[:1]}
        givers = []
        for i in reversed(self.instructions):
            led_to = any(id(v) in wanted for v in i.outputs)
            if rows[i.op].gives_gradient and (led_to or rows[i.op].reports):
                givers.append(i)
                wanted.add(id(i.inputs[0]))
        return givers[::-1]

    def fused(self, training: bool = True, penalties: bool = True) -> Program:
        """The same computation with fewer passes over memory.

        Softmax or sigmoid with its crossentropy becomes a loss on raw scores (stable: no logarithm
        of a small number); a dense product takes the bias and the activation along; a reshape of
        an input is left to the gather. Without ``training`` dropout and noise are nothing; with it
        a value that gets gradients from several readers is forked. Without ``penalties`` those on
        activities, which nobody will read, are not computed.
        """
        program = _Rewriter(self)
        if not training:
            program.drop("dropout", "patterned_dropout", "noise")
        if not penalties:
            program.drop("activity")
        program.reshape_inputs()
        program.fuse_losses()
        program.fuse_activations()
        if training:
            program.fork_values()
        return program.result()

    def __str__(self) -> str:
        lines = [f"{v!r} = input {v.role}  {list(v.shape)} {v.dtype}" for v in self.inputs]
        lines += [repr(i) for i in self.instructions]
        lines += [f"output {v!r}" for v in self.outputs]
        return "\n".join(lines)


# A loss on probabilities and the one on raw scores that it becomes behind such an activation.
_ON_SCORES = {
    ("softmax", "categorical_crossentropy"): "softmax_categorical_crossentropy",
    ("softmax", "sparse_categorical_crossentropy"): "softmax_sparse_categorical_crossentropy",
    ("sigmoid", "binary_crossentropy"): "sigmoid_binary_crossentropy",
}


class _Rewriter:
    """Rewrites a copy of a program, one rule a method."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.values = list(program.values)
        self.instructions = list(program.instructions)
        self.inputs = list(program.inputs)
        self.outputs = list(program.outputs)
        self.replaced: dict[int, tuple[Instruction, Instruction]] = {}  # by id: the old and the new

    def readers(self, value: Value) -> list[Instruction]:
        return [i for i in self.instructions if any(v is value for v in i.inputs)]

    def producer(self, value: Value) -> Instruction | None:
        return next((i for i in self.instructions if any(v is value for v in i.outputs)), None)

    def swap(self, old: Instruction, new: Instruction) -> None:
        self.instructions = [new if i is old else i for i in self.instructions]
        self.replaced[id(old)] = (old, new)

    def current(self, instruction: Instruction) -> Instruction:
        """What an instruction has become by now."""
        while id(instruction) in self.replaced:
            instruction = self.replaced[id(instruction)][1]
        return instruction

    def read_instead(self, old: Value, new: Value) -> None:
        for i in self.readers(old):
            inputs = [new if v is old else v for v in i.inputs]
            self.swap(i, Instruction(i.op, inputs, i.outputs, i.params, i.attributes))
        self.outputs = [new if v is old else v for v in self.outputs]

    def drop(self, *ops: str) -> None:
        for i in [i for i in self.instructions if i.op in ops]:
            current = next(j for j in self.instructions if j.outputs == i.outputs)
            self.instructions.remove(current)
            self.read_instead(current.outputs[0], current.inputs[0])

    def reshape_inputs(self) -> None:
        for i in [i for i in self.instructions if i.op == "reshape"]:
            old, new = i.inputs[0], i.outputs[0]
            if (
                any(v is old for v in self.inputs)
                and self.readers(old) == [i]
                and all(v is not old for v in self.outputs)
                and old.dtype == "float32"
            ):
                self.instructions.remove(i)
                self.inputs = [new if v is old else v for v in self.inputs]
                new.role = old.role

    def fuse_losses(self) -> None:
        for loss in [i for i in self.instructions if i.op == "loss"]:
            before = self.producer(loss.inputs[0])
            if before is None:
                continue
            form = "softmax" if before.op == "softmax" else before.attributes.get("kind")
            on_scores = _ON_SCORES.get((str(form), str(loss.attributes["kind"])))
            readers = self.readers(before.outputs[0])
            others = [i for i in readers if i is not loss and _core.OPS[i.op].gives_gradient]
            if on_scores is None or others or not self.put_first(loss.inputs[1:]):
                continue
            attributes = {**loss.attributes, "kind": on_scores}
            inputs = (before.inputs[0], *loss.inputs[1:])
            fused = Instruction("loss", inputs, before.outputs, (), attributes)
            self.instructions.remove(loss)
            self.replaced[id(loss)] = (loss, fused)
            self.instructions = [fused if i is before else i for i in self.instructions]

    def put_first(self, values: Iterable[Value]) -> bool:
        """Makes values before all others; False if they are made of others themselves."""
        makers = [i for v in values if (i := self.producer(v)) is not None]
        if any(self.producer(v) for i in makers for v in i.inputs):
            return False
        self.instructions = makers + [i for i in self.instructions if i not in makers]
        return True

    def fuse_activations(self) -> None:
        for i in [i for i in self.instructions if i.op == "activation"]:
            dense = self.producer(i.inputs[0])
            if (
                dense is None
                or dense.op != "dense"
                or dense.attributes.get("activation", "linear") != "linear"
            ):
                continue
            if len(self.readers(i.inputs[0])) > 1 or any(v is i.inputs[0] for v in self.outputs):
                continue
            attributes = _plain(dict(i.attributes))
            if not _core.ACTIVATIONS_FROM_Y[str(attributes["kind"])]:
                continue
            attributes["activation"] = attributes.pop("kind")
            fused = Instruction("dense", dense.inputs, i.outputs, dense.params, attributes)
            self.instructions = [
                fused if j is dense else j for j in self.instructions if j is not i
            ]

    def fork_values(self) -> None:
        """Where several readers give a value a gradient, each reads another output of a fork."""
        all_givers = self.result().givers()
        for value in [v for i in self.instructions for v in i.outputs]:
            givers = [i for i in map(self.current, all_givers) if i.inputs[0] is value]
            rest = value
            for giver in givers[:-1]:
                own, rest = self.fork(rest)
                self.read_first(giver, own)
            if rest is not value:
                self.read_first(givers[-1], rest)

    def fork(self, value: Value) -> tuple[Value, Value]:
        """Two values that are one, right behind its producer."""
        index = len(self.values)
        outputs = Value(index, value.shape, "float32"), Value(index + 1, value.shape, "float32")
        self.values += outputs
        at = next(k for k, i in enumerate(self.instructions) if value in i.outputs)
        self.instructions.insert(at + 1, Instruction("fork", (value,), outputs, (), {}))
        return outputs

    def read_first(self, reader: Instruction, value: Value) -> None:
        inputs = (value, *reader.inputs[1:])
        new = Instruction(reader.op, inputs, reader.outputs, reader.params, reader.attributes)
        self.swap(reader, new)

    def result(self) -> Program:
        program = Program()
        program.values = self.values
        program.instructions = self.instructions
        program.inputs = self.inputs
        program.outputs = self.outputs
        program.reports = [self.current(report) for report in self.program.reports]
        return program


def _plain(attributes: dict[str, float | str]) -> dict[str, float | str]:
    """relu with its default arguments is a row of its own, whose slope needs only the value."""
    default = {"kind": "relu", "negative_slope": 0.0, "max_value": float("inf"), "threshold": 0.0}
    return {"kind": "plain_relu"} if attributes == default else attributes
