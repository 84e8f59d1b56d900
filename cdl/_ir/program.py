"""Program: a lowered model, a list of instructions over values.

It is data: layers, losses and metrics emit into a `Lowering` of it; ``fused()`` makes it fast;
``print(program)`` shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._ir import emit, line_fusion, mapping, rounding
from cdl._ir.elementwise import Expression
from cdl._ir.fusion import Rewriter
from cdl._ir.instruction import LOW_DTYPES, REDUCTIONS, Instruction, Shape, Value

if TYPE_CHECKING:
    from cdl._tracing.variable import Variable

__all__ = ["Instruction", "Program", "Shape", "Value"]


class Program:
    """List of instructions over values; see the module's text."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.instructions: list[Instruction] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.output_dtypes: list[str] = []  # as asked for; rewriting changes those of values
        self.reports: list[Instruction] = []
        self.penalizes = False  # whether it was lowered with penalties of activities
        self.loss_scale: Variable | None = None  # what gradients are multiplied by
        self._external_grads: list[Value] | None = None

    @staticmethod
    def empty() -> Program:
        """Program without values and instructions."""
        return Program()

    def value(
        self,
        shape: Iterable[int],
        dtype: str = "float32",
        role: str | None = None,
        shared: bool = False,
    ) -> Value:
        """New value without a producer."""
        value = Value(len(self.values), tuple(int(n) for n in shape), dtype, role, shared)
        self.values.append(value)
        return value

    def input(self, shape: Iterable[int], dtype: str = "float32", role: str = "x") -> Value:
        """Input value, read from the caller's array; arrays come in the order of the calls."""
        value = self.value(shape, dtype, role)
        self.inputs.append(value)
        return value

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        shape: Iterable[int],
        params: Sequence[Variable | None] = (),
        *,
        shared: Any = None,  # bool or None; Any, or mypy takes no **dict[str, float] behind it
        dtype: Any = None,  # str or None
        param_dtypes: Any = None,  # of str and None
        numbers: Any = (),  # integers in a row
        data: Any = (),  # floats in a row
        **attributes: Any,
    ) -> Value:
        """Append an instruction with one output and return that output.

        Args:
            op: a row of the core's table of operations.
            inputs: up to eight values.
            params: its weights, in the row's order.
            shared: whether the output has no batch axis; None: as all inputs, if there are any.
            dtype: of the output; None: "bfloat16" or "float16" if all floats that it is made of are
                of that dtype, weights included, else "float32".
            param_dtypes: what each weight is rounded to, or None; None: as `dtype_read` says.
            numbers: integers of any count.
            data: floats of any count.
            **attributes: in the row's order, or those of the row that attribute 0 names.
        """
        if shared is None:
            shared = bool(inputs) and all(v.shared for v in inputs)
        if param_dtypes is None:
            param_dtypes = [None if each is None else self.dtype_read(each) for each in params]
        dtype = dtype or emit.dtype_of(op, inputs, params, param_dtypes)
        if op == "cast":
            attributes["dtype"] = dtype
        out = self.value(shape, dtype, shared=shared)
        parts = params, attributes, numbers, data, param_dtypes
        self.instructions.append(Instruction(op, inputs, (out,), *parts))
        return out

    def dtype_read(self, variable: Variable) -> str | None:
        """Dtype that a weight is rounded to where it is read, or None."""
        return variable.kept_dtype if variable.kept_dtype in LOW_DTYPES else None

    def map(self, expression: Expression | str, inputs: Sequence[Value]) -> Value:
        """Append an expression of up to eight values of one shape, element by element.

        Args:
            expression: of arguments that stand for the inputs (elementwise.py), or the name of
                a primitive of all of them. Chains of maps become one pass in ``fused()``.
            inputs: values of one shape, all shared or none.

        Returns:
            The value of that shape; an input itself if the expression is nothing else.
        """
        return mapping.emit(self, expression, inputs)

    def constant(self, array: Any) -> Value:
        """Constant as a shared value of the array's shape."""
        given = np.asarray(array, np.float32)
        return self.emit("constant", (), given.shape, shared=True, data=given.ravel().tolist())

    def broadcast_batch(self, value: Value, like: Value | None = None) -> Value:
        """Shared value repeated for each sample, of another value if given; others as they are."""
        if not value.shared:
            return value
        return self.emit("broadcast_batch", (value,), value.shape, shared=False)

    def batch_reduce(self, value: Value, kind: str) -> Value:
        """Sum, mean, max or min over the samples of the batch, as a shared value."""
        return self.emit("batch_reduce", (value,), value.shape, shared=True, kind=kind)

    def recall(self, variable: Variable) -> Value:
        """Value that each sample of the last batch stored in a weight, along axis 0."""
        return self.emit("recall", (), variable.shape[1:], (variable,), shared=False)

    def retain(self, variable: Variable, value: Value) -> None:
        """Store a value of each sample of this batch for the next batch."""
        value = self.broadcast_batch(value)
        self.instructions.append(Instruction("retain", (value,), (), (variable,), {}))

    @property
    def batch_of_states(self) -> int | None:
        """Required number of samples per batch, where samples store states for the next."""
        return next((i.params[0].shape[0] for i in self.instructions if i.op == "retain"), None)  # type: ignore[union-attr]

    def add_output(self, first: Value, shape: Iterable[int]) -> Value:
        """Add an output of that shape to the last instruction, whose first is `first`."""
        last = self.instructions[-1]
        assert first in last.outputs
        out = self.value(shape, first.dtype, shared=first.shared)
        last.outputs = (*last.outputs, out)
        return out

    @property
    def assigns(self) -> bool:
        """Whether a batch assigns weights, as `call` of a layer of one's own may."""
        return any(each.op == "assign" for each in self.flat(False).instructions)

    @property
    def hosted(self) -> list[Any]:
        """Untraced functions of the user that the core calls."""
        functions = [i.attributes["function"] for i in self.instructions if i.op == "host"]
        return [each.untraced for each in functions if each.untraced is not None]

    @property
    def calls_python(self) -> bool:
        """Whether the core calls functions in Python."""
        return any(i.op == "host" for i in self.instructions)

    def output(self, value: Value) -> None:
        """Mark a value as an output, which the caller reads."""
        self.outputs.append(value)
        self.output_dtypes.append(value.dtype_of_numbers)

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
        """Append a loss; ``reduction`` is "mean" (over samples and leading axes), "sum" or "none".

        Without one the report is the mean, and the gradient that of the sum.
        """
        attributes: dict[str, float | str] = {"kind": kind, "scale": float(scale)}
        attributes["reduction"] = REDUCTIONS.index(reduction)
        attributes.update(row_params)
        return self._score("loss", target, prediction, weight, attributes)

    def objective(
        self,
        value: Value,
        weight: Value | None = None,
        scale: float = 1.0,
        reduction: str = "mean",
        counts: bool = True,
    ) -> Instruction:
        """Append a loss computed by other instructions: the mean (or sum) of a value's elements.

        Args:
            value: of a sample, of any shape, or shared.
            weight: one a sample, one a line or one an element; the mean divides by the number of
                elements whatever it is.
            scale: what the loss is multiplied by.
            reduction: "mean", "sum" or "none"; see `loss`.
            counts: whether it is a report; else it is part of the total as penalties are.
        """
        attributes = {
            "scale": float(scale),
            "reduction": REDUCTIONS.index(reduction),
            "counts": int(counts),
        }
        inputs = (value,) if weight is None else (value, weight)
        instruction = Instruction("objective", inputs, (), (), attributes)
        self.instructions.append(instruction)
        if counts:
            self.reports.append(instruction)
        return instruction

    def metric(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        **row_params: float,
    ) -> Instruction:
        """Append a metric: the (weighted) mean of a value per prediction."""
        return self._score("metric", target, prediction, weight, {"kind": kind, **row_params})

    def measure(
        self,
        kind: str,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        **row_params: float,
    ) -> Instruction:
        """Append a metric that is the (weighted) mean of a loss: ``kind`` is a row of losses."""
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
        """Append a counting metric; ``weight`` may have the shape of the prediction."""
        attributes: dict[str, float | str] = {"kind": kind, **row_params}
        return self._score("tally", target, prediction, weight, attributes, params)

    def score(self, op: str, inputs: Sequence[Value], **attributes: float) -> Instruction:
        """Append an op that reports, such as a loss that is no row of a table."""
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
        """Weights in order of first use, each once."""
        seen: dict[int, Variable] = {}
        for instruction in self.instructions:
            for param in instruction.params:
                if param is not None:
                    seen.setdefault(id(param), param)
        return list(seen.values())

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, new ones in each call."""
        return any(i.draws for i in self.flat(False).instructions)

    @property
    def external_grads(self) -> list[Value]:
        """Values whose gradients the caller gives; without a loss, output 0.

        What is a loss but does not count, as penalties do not, leaves the output to the caller.
        """
        if self._external_grads is not None:
            return self._external_grads
        rows = [(i, _core.OPS[i.op]) for i in self.instructions]
        losses = [i for i, row in rows if row.reports and row.gives_gradient]
        scored = any(i.attributes.get("counts", 1) for i in losses)
        return [] if scored else self.outputs[:1]

    @external_grads.setter
    def external_grads(self, values: list[Value]) -> None:
        self._external_grads = values

    def producers(self) -> list[tuple[Instruction, int]]:
        """Instructions that give inputs a gradient, and the numbers of those inputs, in order.

        They are the losses, and all that leads to them or to a value of `external_grads`; not what
        only metrics read.
        """
        wanted = set(map(id, self.external_grads))
        producers = []
        for i in reversed(self.instructions):
            row = _core.OPS[i.op]
            if row.gives_gradient and (row.reports or not wanted.isdisjoint(map(id, i.outputs))):
                gets = [k for k in range(len(i.inputs)) if i.gives(k)]
                producers += [(i, k) for k in reversed(gets)]
                wanted.update(id(i.inputs[k]) for k in gets)
        return producers[::-1]

    def fused(
        self, training: bool = True, penalties: bool = True, assigns: bool | None = None
    ) -> Program:
        """Equivalent program with fewer passes over memory.

        Fusions: softmax or sigmoid with its crossentropy (stable: no logarithm of a small number);
        products with bias, activation and, in inference, normalization; reshapes of inputs with the
        gather; chains of maps, and reductions of their lines; products, sums and means by hand as
        in layers. Dead code is dropped.
        Without ``training`` dropout, noise and gradients of one's own are nothing; with it a value
        that gets gradients from several readers is forked. Outputs of bfloat16 or float16 are
        rounded after fusion, so not within a pass. Without ``penalties`` those on activities are
        not computed; without ``assigns``, which is ``penalties`` unless given, nothing is assigned.
        """
        program = Rewriter(self)
        program.cut_dead_of_loops()
        if not training:
            program.drop(*emit.NOISES, "stop", "custom_gradient")
        if not penalties:
            program.drop("activity")
            program.remove("objective")
        if not (penalties if assigns is None else assigns):
            program.remove("assign")
        program.simplify(training)
        rounding.apply(program)
        line_fusion.apply(program, training)
        if mapping.read_shared(program):
            program.cut_dead(training)
        if training:
            program.fork_values()
        return program.result()

    def flat(self, training: bool) -> Program:
        """Program with the bodies of loops after it, as the core runs it."""
        return (
            Rewriter(self).flat(training) if "loop" in {i.op for i in self.instructions} else self
        )

    def __str__(self) -> str:
        lines = [f"{v!r} = input {v.role}  {list(v.shape)} {v.dtype}" for v in self.inputs]
        lines += [*map(repr, self.instructions), *(f"output {v!r}" for v in self.outputs)]
        return "\n".join(lines)
