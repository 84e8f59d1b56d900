"""Loops over an axis (`scan`, RNNs): a step recorded once and done for each place.

The step becomes a body: instructions from the carry and one element to the next carry and a result.
A program runs the body once for each element; loop-invariant instructions are hoisted, and run once
in front of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl import _core
from cdl._ir import emit
from cdl._ir.fusion import simplified
from cdl._ir.instruction import Instruction
from cdl._ir.loops import Loop as LoopInstruction
from cdl._ir.lowering import Lowering
from cdl._ir.program import Program
from cdl._tracing import graph as graphs
from cdl._tracing.graph import Graph, KerasTensor
from cdl._tracing.joining import parts_of
from cdl._tracing.symbolic import operator_of

if TYPE_CHECKING:
    from cdl._ir.program import Value

Tensors = list[KerasTensor]
Step = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]

_DRAWING = ("draw", *emit.NOISES)  # ops that differ between steps for equal inputs
_DOING = ("assign", "objective", "host", "recall")  # ops with effects, which each step repeats

_WIDE = 4096  # widest bias of a product that a loop can run

# Steps from which on they are a loop of the core: fewer are appended one by one. Copies with
# convolutions go through in micro-batches: of 5 steps of a ConvLSTM2D they take 0.88 of a loop's
# time, of 10 steps 0.93, of 20 and 40 steps the same (AVX-512, one thread).
LEAST_ITERATIONS, LEAST_OF_WINDOWS = 4, 16


def record_loop(
    owner: str,
    step: Step,
    carried: Tensors,
    elements: Tensors,
    sequences: Tensors,
    n: int,
    reverse: bool = False,
    places_first: bool = False,
) -> tuple[Tensors, Tensors, Tensors]:
    """Record a step as one node of the graph.

    Args:
        owner: who loops, for errors.
        step: function from the carry and the elements to the next carry and the results.
        carried: the initial carry.
        elements: tensors like one element of each sequence.
        sequences: of n elements, along the first axis of a sample, or of all of a shared tensor.
        reverse: whether to run from the last element to the first.
        places_first: whether the results of all steps are in the order of the elements, along the
            first axis of all.

    Returns:
        Final carry; results of the last step; results of all steps, in their order, along the first
        axis of a sample.

    Raises:
        ValueError: a step changes the shape of the carry.
    """
    around = graphs.current_scope()
    training = around is not None and around.training
    specs = [tensor.like() for tensor in carried]
    while True:
        inputs = [*specs, *(tensor.like() for tensor in elements)]
        body, captured = _traced(step, inputs, len(specs), training, not places_first)
        kept, results = body.outputs
        wider = [_joined(owner, *pair) for pair in zip(specs, kept, strict=True)]
        if all(a.rows_per_sample == b.rows_per_sample for a, b in zip(specs, wider, strict=True)):
            break
        specs = wider
    ends = [spec.like(dtype=each.dtype) for spec, each in zip(specs, kept, strict=True)]
    stacked = [_stacked(each, n, places_first) for each in results]
    outputs = (ends, [each.like() for each in results], stacked)
    given = (carried, sequences, captured)
    return graphs.record(Loop(body, n, reverse, places_first), given, {}, outputs)


def _traced(
    step: Step, inputs: Tensors, n_carried: int, training: bool, parts: bool = True
) -> tuple[Graph, Tensors]:
    """Graph of a step, and the tensors of the enclosing code that it reads.

    With `parts`, a result whose first axis is the batch has values per sample; a carry has them if
    it had them before the step.
    """
    with graphs.scope(training) as current:
        given = inputs[:n_carried]
        carried, results = step(given, inputs[n_carried:])
        kept = [as_tensor(leaf) for leaf in carried]
        kept = [
            parts_of(after) if before.rows_per_sample else after
            for before, after in zip(given, kept, strict=True)
        ]
        found = [as_tensor(leaf) for leaf in results]
        outputs = [kept, [parts_of(leaf) if parts else leaf for leaf in found]]
    own = {id(node) for node in current.nodes}
    known = {id(tensor) for tensor in inputs}
    read = [tensor for node in current.nodes for tensor in node.inputs]
    captured = {
        id(tensor): tensor
        for tensor in [*read, *graphs.tensors_in(outputs)]
        if id(tensor) not in known and id(tensor.node) not in own
    }
    around = list(captured.values())
    return Graph([*inputs, *around], outputs, current), around


def as_tensor(leaf: Any) -> KerasTensor:
    """Result of a step as a tensor; it may be a weight, an array or a number."""
    if isinstance(leaf, KerasTensor):
        return leaf
    tensor = operator_of("convert_to_tensor")(leaf)
    if not isinstance(tensor, KerasTensor):
        constant = graphs.record(
            Constant(tensor), (), {}, KerasTensor(tensor.shape, tensor.dtype, rows_per_sample=0)
        )
        return constant
    return tensor


class Constant:
    """Node operation of an array."""

    name = "constant"

    def __init__(self, array: Any) -> None:
        self.array = array

    def append_to(self, program: Lowering) -> Value:
        """Append the array as a constant."""
        return program.constant(self.array)


def _joined(owner: str, before: KerasTensor, after: KerasTensor) -> KerasTensor:
    """Tensor of a carried state before and after a step: per sample if either is."""
    if before.sample_shape != after.sample_shape:
        raise ValueError(
            f"{owner}: each step must carry on a state of the shape that it was given, "
            f"{before.shape}, got {after.shape}"
        )
    return before if before.rows_per_sample else after.like()


def _stacked(each: KerasTensor, n: int, places_first: bool) -> KerasTensor:
    """Tensor of the results of all steps."""
    if each.rows_per_sample and places_first:
        shape, at = (n, *each.shape), each.batch_axis + 1
        return KerasTensor(shape, each.dtype, rows_per_sample=1, batch_axis=at)
    if each.rows_per_sample:
        return KerasTensor((each.shape[0], n, *each.shape[1:]), each.dtype)
    return KerasTensor((n, *each.shape), each.dtype, rows_per_sample=0)


class Loop:
    """Node operation of a step for each element.

    Args:
        body: graph of the step; its inputs are the carry, the elements and other tensors it reads.
        reverse: whether the first step is that of the last element.
        by_place: whether the results of all steps are in the order of the elements.
    """

    name = "loop"

    def __init__(self, body: Graph, n: int, reverse: bool, by_place: bool) -> None:
        self.body = body
        self.n = n
        self.reverse = reverse
        self.by_place = by_place

    @property
    def acts(self) -> bool:
        """Whether the step has an effect beside its outputs."""
        return bool(self.body.losses) or any(map(graphs.has_effect, self.body.nodes))

    def append_to(
        self, program: Lowering, carried: list[Value], sequences: list[Value], others: list[Value]
    ) -> tuple[list[Value], list[Value], list[Value]]:
        """Append all steps, as a loop or one by one."""
        specs = self.body.inputs
        carried = [_as(program, *pair) for pair in zip(specs, carried, strict=False)]
        body = Body(program, self.body, [*carried, *map(_element_of, sequences), *others])
        if looped := body.looped(carried, sequences, others, self):
            return looped
        body.read(others, self.n)
        found: list[list[Value]] = []
        for t in range(self.n)[:: -1 if self.reverse else 1]:
            elements = [emit.index(program, each, [t]) for each in sequences]
            carried, results = body.append([*carried, *elements])
            found.append(results)
        last = found[-1]
        if self.by_place and self.reverse:
            found.reverse()
        stacked = [
            emit.concat(program, [emit.reshape(program, v, (1, *v.shape)) for v in each], 0)
            for each in zip(*found, strict=True)
        ]
        return carried, last, stacked


def _element_of(sequence: Value) -> Value:
    """Value like an element of a sequence, for its shape alone."""
    from cdl._ir.program import Value

    return Value(-1, sequence.shape[1:], sequence.dtype, None, sequence.shared)


def _as(program: Lowering, spec: KerasTensor, value: Value) -> Value:
    """Carried value, per sample if the body needs it so."""
    return program.broadcast_batch(value) if spec.rows_per_sample else value


def _draws(each: Instruction) -> bool:
    """Whether it draws random numbers, in training at least."""
    return each.op in _DRAWING or bool(each.attributes.get("rate"))


def _can_loop(step: list[Instruction], n: int) -> bool:
    """Whether a loop can run the instructions of a step, and n steps are worth one."""
    if n < LEAST_OF_WINDOWS and any(i.op == "conv" for i in step):
        return False
    for i in step:
        # Values that all samples share are factors of products alone, whose gradients add up.
        shared = [v for v in i.inputs if v.shared]
        wide = len(i.inputs) > 2 and i.op == "product" and i.inputs[2].shape[0] > _WIDE
        if wide or not _core.OPS[i.op].loops or any(v.shared for v in i.outputs):
            return False
        if shared and i.op != "product":
            return False
    return True


class Body:
    """Instructions of a step, to be appended to a program any number of times.

    Args:
        graph: of the step.
        inputs: values of the shapes of its inputs.
    """

    def __init__(self, program: Lowering, graph: Graph, inputs: list[Value]) -> None:
        self.program = program
        self.own = program.within()
        self.inputs = [self.own.value(v.shape, v.dtype, shared=v.shared) for v in inputs]
        carried, results = graph.lower(self.own, self.inputs)
        n = len(carried)
        kept = [_as(self.own, *pair) for pair in zip(graph.inputs[:n], carried, strict=True)]
        self.outputs = kept, results
        self._once: dict[int, Value] = {}  # loop-invariant values, by ids of the body's
        self._draw = self._stride = 0  # for fixed seeds: each step draws other numbers

    def looped(
        self, carried: list[Value], sequences: list[Value], others: list[Value], loop: Loop
    ) -> tuple[list[Value], list[Value], list[Value]] | None:
        """Append the steps as a loop of the program; None where they are appended one by one.

        Few steps are appended one by one, and so are steps with a host function, a sum over the
        batch, a report, an assignment, a loop, or shared values that differ between steps.
        """
        n_carried, (kept, results) = len(carried), self.outputs
        if loop.n < LEAST_ITERATIONS or self.program.mode.unrolls:
            return None
        self.own.outputs = [*kept, *results]
        iteration = simplified(self.own)
        kept, results = iteration.outputs[:n_carried], iteration.outputs[n_carried:]
        once, rest = self._parted(iteration, len(others))
        given = {
            id(v): o for v, o in zip(self.inputs, [*carried, *sequences, *others], strict=True)
        }
        entries = {id(v): "carried" for v in self.inputs[:n_carried]}
        entries |= {id(v): "element" for v in self.inputs[n_carried : n_carried + len(sequences)]}
        read = [v for i in rest for v in i.inputs] + iteration.outputs
        captured = {id(v): v for v in read if id(v) in once}
        own = self.inputs[: n_carried + len(sequences)]
        inner = [*own, *captured.values()]
        assigned = any(map(self.program.is_assigned, iteration.variables))
        if (
            assigned
            or any(v.shared for v in [*own, *iteration.outputs])
            or not _can_loop(rest, loop.n)
        ):
            return None
        stride = self.program.draws_of(self.own, loop.n)
        for each in iteration.instructions:
            if each.outputs and id(each.outputs[0]) in once:
                self._append(each, given)
        body = Program()
        body.values, body.outputs = list(iteration.values), list(iteration.outputs)
        body.instructions = [
            *(Instruction(entries.get(id(v), "captured"), (), (v,), (), {}) for v in inner),
            *rest,
        ]
        # The result of the last step is mostly its carry.
        places = {id(v): k for k, v in enumerate(kept)}
        lone = [v for v in results if id(v) not in places]
        body.outputs = [*kept, *lone, *results]
        ways = ["carry"] * (n_carried + len(lone)) + ["collect"] * len(results)
        ends = [self.program.value(v.shape, v.dtype) for v in (*kept, *lone)]
        stacked = [self.program.value((loop.n, *v.shape), v.dtype) for v in results]
        attributes = {"iterations": loop.n, "draws": stride, "reverse": int(loop.reverse)}
        attributes |= {"by_place": int(loop.by_place), "drawn": 0}
        inputs = [given[id(v)] for v in inner]
        self.program.instructions.append(
            LoopInstruction(body, ways, inputs, [*ends, *stacked], attributes)
        )
        places |= {id(v): n_carried + k for k, v in enumerate(lone)}
        return ends[:n_carried], [ends[places[id(v)]] for v in results], stacked

    def _parted(self, iteration: Program, n_others: int) -> tuple[set[int], list[Instruction]]:
        """Ids of loop-invariant values, and the instructions of the others."""
        once = {id(v) for v in self.inputs[len(self.inputs) - n_others :]}
        rest = []
        for each in iteration.instructions:
            fixed = not _draws(each) and each.op not in _DOING
            if fixed and all(id(v) in once for v in each.inputs):
                once.update(map(id, each.outputs))
            else:
                rest.append(each)
        return once, rest

    def read(self, others: list[Value], n: int) -> None:
        """Append the loop-invariant instructions.

        Args:
            others: values of the enclosing program that the step reads, its last inputs.
            n: how many steps there will be.
        """
        self._stride = self.program.draws_of(self.own, n)
        first = len(self.inputs) - len(others)
        self._once = {id(v): o for v, o in zip(self.inputs[first:], others, strict=True)}
        changes = {id(p) for i in self.own.instructions if i.op == "assign" for p in i.params}
        for each in self.own.instructions:
            fixed = not _draws(each) and each.op not in _DOING
            mine = all(id(v) in self._once for v in each.inputs)
            if fixed and mine and changes.isdisjoint(map(id, each.params)):
                self._append(each, self._once)

    def append(self, inputs: list[Value]) -> tuple[list[Value], list[Value]]:
        """Append the instructions of one step.

        Args:
            inputs: the carry and the elements.

        Returns:
            The next carry, and the results.
        """
        known = dict(self._once)
        known |= {id(v): o for v, o in zip(self.inputs, inputs, strict=False)}
        for each in self.own.instructions:
            if not each.outputs or id(each.outputs[0]) not in self._once:
                self._append(each, known)
        self._draw += self._stride
        carried, results = self.outputs
        return [known[id(v)] for v in carried], [known[id(v)] for v in results]

    def _append(self, each: Instruction, known: dict[int, Value]) -> None:
        """Append one instruction, and record its outputs."""
        inputs = [known[id(v)] for v in each.inputs]
        weight = each.params[0] if each.params else None
        if each.op == "param" and weight is not None:
            known[id(each.outputs[0])] = self.program.param(weight, each.param_dtype(0))
            return
        if each.op == "assign" and weight is not None:
            self.program.assign(weight, inputs[0])
            return
        made = [self.program.value(v.shape, v.dtype, v.role, v.shared) for v in each.outputs]
        known.update((id(v), o) for v, o in zip(each.outputs, made, strict=True))
        attributes = dict(each.attributes)
        if attributes.get("user_draw"):
            attributes["user_draw"] += self._draw
        if isinstance(each, LoopInstruction):
            attributes["drawn"] += self._draw
        appended = each.giving(made, inputs)
        appended.attributes = attributes
        self.program.instructions.append(appended)

    @property
    def once(self) -> dict[int, Value]:
        """Loop-invariant values of the program, by the ids of the body's."""
        return self._once
