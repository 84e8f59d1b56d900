"""Fusion: a program rewritten with fewer passes over memory, one rule a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from cdl import _core
from cdl._ir import mapping, peepholes, rounding
from cdl._ir.instruction import EndValues, Instruction, InstructionList, Value
from cdl._ir.loops import Loop

if TYPE_CHECKING:
    from cdl._ir.program import Program

# A loss on probabilities and the one on raw scores that it becomes behind such an activation.
_ON_SCORES = {
    ("softmax", "categorical_crossentropy"): "softmax_categorical_crossentropy",
    ("softmax", "sparse_categorical_crossentropy"): "softmax_sparse_categorical_crossentropy",
    ("sigmoid", "binary_crossentropy"): "sigmoid_binary_crossentropy",
}


class Rewriter:
    """Rewriter of a copy of a program, one rule a method."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.values = list(program.values)
        self.instructions = InstructionList(program.instructions)
        self.inputs = EndValues(program.inputs)
        self.outputs = EndValues(program.outputs)
        self.external_grads = EndValues(program.external_grads)
        self.is_scored_by_caller = bool(program._external_grads)  # the caller may read inputs, too
        self.assigned = {id(i.params[0]) for i in program.instructions if i.op == "assign"}
        self.replaced: dict[int, tuple[Instruction, Instruction]] = {}  # by id: the old and the new

    def users(self, value: Value) -> list[Instruction]:
        return self.instructions.users(value)

    def producer(self, value: Value) -> Instruction | None:
        return self.instructions.producer(value)

    def read_once(self, value: Value) -> bool:
        """Whether one instruction reads a value, once, and no caller reads it or its gradient."""
        user = self.instructions.only_reader(value)
        if user is None or value in self.outputs or value in self.external_grads:
            return False
        return sum(v is value for v in user.inputs) == 1

    def swap(self, old: Instruction, new: Instruction) -> None:
        self.instructions.replace(old, new)
        self.replaced[id(old)] = (old, new)

    def current(self, instruction: Instruction) -> Instruction:
        """Instruction that has replaced a given one by now."""
        while id(instruction) in self.replaced:
            instruction = self.replaced[id(instruction)][1]
        return instruction

    def read_instead(self, old: Value, new: Value) -> None:
        for i in self.users(old):
            inputs = [new if v is old else v for v in i.inputs]
            self.swap(i, i.reading(inputs))
        self.outputs.replace(old, new)
        self.external_grads.replace(old, new)

    def drop(self, *ops: str) -> None:
        for i in self.instructions.of(*ops):
            current = self.current(i)
            self.instructions.remove(current)
            self.read_instead(current.outputs[0], current.inputs[0])

    def remove(self, *ops: str) -> None:
        """Remove instructions with an effect but no output, unless they are reports."""
        kept = {id(self.current(report)) for report in self.program.reports}
        for i in self.instructions.of(*ops):
            if id(i) not in kept:
                self.instructions.remove(i)

    def simplify(self, training: bool) -> None:
        """Apply the rules that reduce instructions; normalizations fold unless in `training`."""
        self.cut_dead(training)
        peepholes.apply(self)
        self.cut_dead(training)
        rounding.sink_casts(self)
        self.reshape_inputs()
        if not training:
            self.fold_normalizations()
        self.fuse_losses()
        self.fuse_activations(training)
        rounding.widen(self)
        mapping.name_expressions(self)
        mapping.merge(self)
        if peepholes.mix_activations(self):
            self.cut_dead(training)

    def cut_dead_of_loops(self) -> None:
        """Remove unread outputs and their instructions from loops, the last loop first."""
        for i in reversed(self.instructions.of("loop")):
            assert isinstance(i, Loop)
            ends = (self.outputs, self.external_grads)
            read = {id(v) for v in i.outputs if self.users(v) or any(v in end for end in ends)}
            if less := i.without_dead(read):
                self.swap(i, less)

    def cut_dead(self, training: bool) -> None:
        """Eliminate dead code: instructions without an output, report or other effect."""
        live = set(map(id, (*self.outputs, *self.external_grads)))
        for i in reversed(self.instructions):
            follows = i.op != "batch_norm" or (training and not i.attributes.get("frozen"))
            has_effect = _core.OPS[i.op].effects and follows
            if has_effect or not live.isdisjoint(map(id, i.outputs)):
                live.update(map(id, i.inputs))
            else:
                self.instructions.remove(i)

    def reshape_inputs(self) -> None:
        for i in self.instructions.of("reshape"):
            old, new = i.inputs[0], i.outputs[0]
            if old in self.inputs and self.read_once(old) and old.dtype != "int32":
                self.instructions.remove(i)
                self.inputs.replace(old, new)
                new.role = old.role

    def share_losses(self) -> None:
        """Read losses of lines from the loss of the same predictions and targets."""
        for loss in self.instructions.of("loss"):
            for lines in self.users(loss.inputs[0]):
                if not _is_loss_of(lines, loss) or self._learns(lines):
                    continue
                prediction = self.like(loss.inputs[0], loss.inputs[0].dtype)
                given = loss.giving((prediction, *lines.outputs))
                self.instructions.remove(loss)
                self.instructions.replace(lines, given)
                self.replaced[id(loss)] = (loss, given)
                break

    def _learns(self, instruction: Instruction) -> bool:
        """Whether a gradient reaches an instruction."""
        return any(each is instruction for each, _ in self.result().producers())

    def fuse_losses(self) -> None:
        """Fuse a softmax or sigmoid into a loss, where nothing else gives it a gradient."""
        self.share_losses()
        for loss in self.instructions.of("loss"):
            before = self.producer(loss.inputs[0])
            if before is None:
                continue
            form = "softmax" if before.op == "softmax" else before.attributes.get("kind")
            on_scores = _ON_SCORES.get((str(form), str(loss.attributes["kind"])))
            if on_scores is None or self._has_other_gradient(before.outputs[0], loss):
                continue
            if not self.put_first(loss.inputs[1:]):
                continue
            attributes = {**loss.attributes, "kind": on_scores}
            inputs = (before.inputs[0], *loss.inputs[1:])
            outputs = (*before.outputs, *loss.outputs[1:])
            fused = Instruction("loss", inputs, outputs, (), attributes)
            self.instructions.remove(loss)
            self.replaced[id(loss)] = (loss, fused)
            self.instructions.replace(before, fused)

    def _has_other_gradient(self, value: Value, loss: Instruction) -> bool:
        """Whether another reader than a loss, or the caller, gives a value a gradient."""
        others = [i for i in self.users(value) if i is not loss]
        return value in self.external_grads or any(_core.OPS[i.op].gives_gradient for i in others)

    def put_first(self, values: Iterable[Value]) -> bool:
        """Move values before all others; False if they depend on others."""
        makers = [i for v in values if (i := self.producer(v)) is not None]
        if any(self.producer(v) for i in makers for v in i.inputs):
            return False
        for maker in reversed(makers):
            self.instructions.remove(maker)
            self.instructions.put_first(maker)
        return True

    def fold_normalizations(self) -> None:
        """Fold batch normalizations into the products before them."""
        for i in self.instructions.of("batch_norm"):
            product = self.producer(i.inputs[0])
            if (
                product is None
                or not _core.OPS[product.op].folds
                or product.data
                or product.attributes.get("activation", "linear") != "linear"
                or not self.read_once(i.inputs[0])
                or any((*product.param_dtypes, *i.param_dtypes, i.inputs[0].rounded_to))
            ):
                continue
            folded = product.giving(i.outputs)
            folded.params = (*product.params, None)[:2] + i.params[:4]
            folded.data = (i.attributes["epsilon"],)
            self.instructions.remove(i)
            self.instructions.replace(product, folded)

    def fuse_activations(self, training: bool) -> None:
        """Fuse activations into the products before them, after simplifying plain relus.

        In training only those whose derivative the value tells: no product keeps its argument.
        """
        for given in self.instructions.of("activation"):
            i = given.giving(given.outputs)
            attributes = _plain(dict(given.attributes))
            i.attributes = dict(attributes)
            self.swap(given, i)
            product = self.producer(i.inputs[0])
            if (
                product is None
                or "activation" not in _core.OPS[product.op].numbers
                or product.attributes.get("activation", "linear") != "linear"
            ):
                continue
            if not self.read_once(i.inputs[0]):
                continue
            if training and not _core.ACTIVATIONS_FROM_Y[str(attributes["kind"])]:
                continue
            attributes["activation"] = attributes.pop("kind")
            attributes = {**product.attributes, **attributes}
            fused = product.giving(i.outputs)
            fused.attributes = attributes
            self.instructions.remove(i)
            self.instructions.replace(product, fused)

    def like(self, value: Value, dtype: str) -> Value:
        """New value of another dtype."""
        new = Value(len(self.values), value.shape, dtype, None, value.shared)
        self.values.append(new)
        return new

    def fork_values(self) -> None:
        """Fork values with several gradient readers, an output for each.

        External gradients come first, then those of the users in order.
        """
        producers: dict[int, list[tuple[Instruction, int]]] = {}
        for i, k in self.result().producers():
            producers.setdefault(id(i.inputs[k]), []).append((i, k))
        for value in [v for i in self.instructions for v in i.outputs]:
            takers: list[Callable[[Value], None]]
            takers = [
                partial(self.external_grads.put, place)
                for place in self.external_grads.places(value)
            ]
            takers += [partial(self.read, i, k) for i, k in producers.get(id(value), [])]
            rest = value
            for take in takers[:-1]:
                branch, rest = self.fork(rest)
                take(branch)
            if rest is not value:
                takers[-1](rest)

    def fork(self, value: Value) -> tuple[Value, Value]:
        """Insert a fork of two equal values right after the producer."""
        index = len(self.values)
        shape, shared = value.shape, value.shared
        outputs = tuple(Value(index + k, shape, value.dtype, None, shared) for k in range(2))
        for v in outputs:
            v.rounded_to = value.rounded_to
        self.values += outputs
        producer = self.producer(value)
        assert producer is not None
        fork = Instruction("fork", (value,), outputs, (), {})
        self.instructions.put_behind(producer, fork)
        return outputs[0], outputs[1]

    def read(self, user: Instruction, k: int, value: Value) -> None:
        """Replace input `k` of an instruction."""
        user = self.current(user)
        self.swap(user, user.reading((*user.inputs[:k], value, *user.inputs[k + 1 :])))

    def flat(self, training: bool) -> Program:
        """Program with bodies of loops after these."""
        program, found = self.result(), []
        for i in program.instructions:
            found += i.flat(program, training) if isinstance(i, Loop) else [i]
        program.instructions = found
        return program

    def result(self) -> Program:
        program = self.program.empty()
        program.values = self.values
        program.instructions = list(self.instructions)
        program.inputs = list(self.inputs)
        program.outputs = list(self.outputs)
        program.output_dtypes = self.program.output_dtypes
        program.reports = [self.current(report) for report in self.program.reports]
        program.external_grads = list(self.external_grads)
        program.loss_scale = self.program.loss_scale
        return program


def simplified(program: Program) -> Program:
    """Equivalent program of fewer instructions, for any use."""
    rewriter = Rewriter(program)
    rewriter.simplify(True)
    return rewriter.result()


def without_outputs(program: Program) -> Program:
    """Fused program that only learns: without outputs and what computes them."""
    rewriter = Rewriter(program)
    rewriter.outputs = EndValues([])
    rewriter.cut_dead(True)
    found = rewriter.result()
    found.output_dtypes = []
    return found


def _is_loss_of(lines: Instruction, loss: Instruction) -> bool:
    """Whether an instruction gives the values of lines whose weightless mean or sum is a loss."""
    pairs = lines.op == "line_loss" and not loss.outputs and lines.inputs == loss.inputs
    return pairs and lines.attributes.items() <= loss.attributes.items()


def _plain(attributes: dict[str, float | str]) -> dict[str, float | str]:
    """relu without a bound, or up to 6, is a row whose gradient needs only the value."""
    for row, bound in (("plain_relu", float("inf")), ("relu6", 6.0)):
        plain = {"kind": "relu", "negative_slope": 0.0, "max_value": bound, "threshold": 0.0}
        if attributes == plain:
            return {"kind": row}
    return attributes
