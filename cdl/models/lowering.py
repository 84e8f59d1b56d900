"""lowering.py - from a model, its losses and its metrics to a program, and what feeds it."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import losses, metrics, regularizers
from cdl._program import Program, Value
from cdl.models import own_loss
from cdl.models.compiled import Compiled, Head, Settled
from cdl.models.interface import Info
from cdl.models.own_steps import overrides

if TYPE_CHECKING:
    from cdl._variable import Variable

Rows = tuple[tuple[int, ...] | None, ...]


class Slot(NamedTuple):
    """One input of a program: which of the arrays it reads, and as what."""

    role: str  # the field of Arrays: "x", "y" or "weight"
    number: int  # of the model's input or output that the array belongs to
    dtype: str
    shape: tuple[int, ...]


class Seen(NamedTuple):
    """Where Python code finds what belongs to an output: numbers of the program's slots."""

    y: int
    weight: int | None
    mask: int | None  # number of an output of the program


class Plan(NamedTuple):
    """A program that is ready for an Executor, and how its inputs and reports are called.

    Attributes:
        program: whose first outputs are those of the model.
        slots: what feeds its inputs.
        reports: what each of its reports is: the number of an output, whose loss it is, or the
            name of a metric.
        seen: of each output whose loss or metrics are Python code; None for the others.
        penalized: ids of the weights whose regularizers are the user's and are in the program.
    """

    program: Program
    slots: tuple[Slot, ...]
    reports: tuple[int | str, ...]
    seen: tuple[Seen | None, ...]
    penalized: frozenset[int] = frozenset()

    def fed(self, arrays: Any) -> list[Any]:
        """What goes into the program's inputs, out of Arrays."""
        return [getattr(arrays, slot.role)[slot.number] for slot in self.slots]

    def nothing(self) -> list[Any]:
        """Arrays without rows, to let go of the last ones."""
        return [np.empty((0, *slot.shape), np.float32) for slot in self.slots]


def program_of(model: Any, compiled: Compiled | None) -> Program:
    """The program of a model, to be printed: of `predict`, or with what it was compiled with.

    Before the first data targets are taken to have the shapes of the outputs, or to be class
    numbers where the loss wants them.
    """
    if compiled is None:
        return lower_inference(model)
    outputs: Sequence[Info] = model._output_infos()
    shapes = [info.shape for info in outputs]
    settled = compiled.settled or compiled.settle(outputs, shapes, model._is_keyed())
    if compiled.settled is None:
        wants = [getattr(head.loss, "wants", "") for head in settled.heads]
        pairs = zip(shapes, wants, strict=True)
        shapes = [shape[:-1] if want == "classes" else shape for shape, want in pairs]
        settled = compiled.settle(outputs, shapes, model._is_keyed())
    rows = tuple(info.row for info in outputs)
    return lower_training(model, settled, (None,) * len(outputs), rows).program


class _Inputs:
    """The inputs of a program as they are asked for; each array comes in once for each form."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._values: dict[Slot, Value] = {}

    def get(self, role: str, number: int, shape: tuple[int, ...], dtype: str = "float32") -> Value:
        slot = Slot(role, number, dtype, shape)
        if slot not in self._values:
            self._values[slot] = self._program.input(shape, dtype=dtype, role=role)
        return self._values[slot]

    def place(self, role: str, number: int, shape: tuple[int, ...]) -> int:
        """The number of the slot of that form."""
        self.get(role, number, shape)
        return list(self._values).index(Slot(role, number, "float32", shape))

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(self._values)


def lower_inference(model: Any, training: bool = False) -> Program:
    """The program of `predict`: x in, the outputs out; with dropout if `training`."""
    program = Program(training)
    values = [program.input(info.row, role="x") for info in model._input_infos()]
    for value in model.append_all(program, values):
        program.output(value)
    return program.fused(training, penalties=False)


def lower_training(
    model: Any, settled: Settled, weights: Rows, y_shapes: Rows, training: bool = True
) -> Plan:
    """The program of a training or evaluation step: x, y and weights in, loss and metrics out.

    Args:
        model: what goes by Interface.
        settled: its losses and metrics; those written in Python are left to the Engine, which
            finds their targets among the inputs.
        weights: shape of one row's sample weights, output by output: one number, or one a line;
            None without.
        y_shapes: shape of one row of y, output by output, as Python code sees it.
        training: whether dropout and the like are part of it.

    Raises:
        ValueError: for a loss that training cannot take.
    """
    for head in settled.heads if training else ():
        _check_reduces(head)
    program = Program(training)
    inputs = _Inputs(program)
    infos: Sequence[Info] = model._input_infos()
    values = [inputs.get("x", i, info.row) for i, info in enumerate(infos)]
    predictions = model.append_all(program, values)
    for value in predictions:
        program.output(value)
    of_lines = [
        None if shape is None else inputs.get("weight", i, _line_by_line(shape))
        for i, shape in enumerate(weights)
    ]
    reports: list[int | str] = []
    pulled = []
    own = overrides(type(model), "compute_loss")
    if own:
        ys = [
            None if shape is None else inputs.get("y", i, shape) for i, shape in enumerate(y_shapes)
        ]
        own_loss.append(model, program, values, ys, predictions, of_lines)
    for i, (head, y) in enumerate(zip(settled.heads, predictions, strict=True)):
        if head.loss is None or own:
            continue
        if losses.is_compiled(head.loss):
            target = _target(inputs, i, head.loss.wants, y, y_shapes[i])
            scale = head.scale
            if scale == 0.0:  # it is logged all the same
                scale, y = 1.0, _stopped(program, y)
            head.loss.lower(program, target, y, of_lines[i], scale, y.mask)
            reports.append(i)
        else:
            pulled.append(y)
    program.pulled = pulled
    reports += _lower_metrics(program, inputs, settled, predictions, of_lines, y_shapes)
    seen = tuple(
        _seen(program, inputs, i, predictions[i].mask, weights[i], y_shapes[i])
        if head.in_python
        else None
        for i, head in enumerate(settled.heads)
    )
    penalized = _lower_penalties(program, model.trainable_variables)
    return Plan(program.fused(training), inputs.slots, tuple(reports), seen, penalized)


def _lower_penalties(program: Program, variables: "Iterable[Variable]") -> frozenset[int]:
    """Append the regularizers of the user's that can be followed; ids of their weights."""
    done = set()
    for variable in variables:
        penalty = variable.regularizer
        if penalty is None or regularizers.compiled(penalty) is not None:
            continue
        graph = regularizers.followed(penalty, variable.shape)
        if graph is not None:
            value = graph.lower(program, [program.param(variable)])
            program.objective(value, reduction="sum", counts=False)
            done.add(id(variable))
    return frozenset(done)


def _stopped(program: Program, value: Value) -> Value:
    """The same value, for a reader that gives it no gradient."""
    stopped = program.emit("stop", (value,), value.shape)
    stopped.mask = value.mask
    return stopped


def _check_reduces(head: Head) -> None:
    loss = head.loss
    if loss is not None and loss.reduction in (None, "none"):
        raise ValueError(
            f"fit: loss {loss.name!r} must make one number of a batch to be trained with, "
            "such as with reduction='sum_over_batch_size', got reduction=None"
        )


def _lower_metrics(
    program: Program,
    inputs: _Inputs,
    settled: Settled,
    predictions: Sequence[Value],
    weights: Sequence[Value | None],
    y_shapes: Rows,
) -> list[str]:
    """Append the metrics that the core has; their names."""
    names = []
    for each in settled.metrics:
        if metrics.is_compiled(each.metric):
            y = predictions[each.output]
            target = _target(inputs, each.output, each.metric.wants, y, y_shapes[each.output])
            own = weights[each.output] if each.weighted else None
            if each.metric.heeds_masks:
                own = _masked(program, own, y.mask)
            each.metric.lower(program, target, y, own)
            names.append(each.name)
    return names


def _seen(
    program: Program,
    inputs: _Inputs,
    number: int,
    mask: Value | None,
    weights: tuple[int, ...] | None,
    y_shape: tuple[int, ...] | None,
) -> Seen:
    """Let Python code see what belongs to an output: y and the weights in the user's own shape."""
    at = None
    if mask is not None:
        at = len(program.outputs)
        program.output(mask)
    y = inputs.place("y", number, y_shape or ())
    weight = None if weights is None else inputs.place("weight", number, weights)
    return Seen(y, weight, at)


def _line_by_line(weights: tuple[int, ...]) -> tuple[int, ...]:
    return () if math.prod(weights) == 1 else (*weights, 1)


def _masked(program: Program, weight: Value | None, mask: Value | None) -> Value | None:
    """What a metric weighs lines by: the weights, and 0 for those that are masked."""
    if weight is None or mask is None:
        return weight if mask is None else mask
    return program.emit("weigh", (weight, mask), mask.shape, (), reads=3.0, ignored=0.0, mean=0.0)


def _target(
    inputs: _Inputs, number: int, wants: str, prediction: Value, y_shape: tuple[int, ...] | None
) -> Value:
    """The input that holds y as it is wanted: values, one number a line, or labels."""
    if wants == "labels":
        return inputs.get("y", number, y_shape or (), "int32")
    if wants == "traced":
        return inputs.get("y", number, y_shape or ())
    if wants == "classes":
        return inputs.get("y", number, prediction.shape[:-1], "int32")
    if wants == "numbers":
        return inputs.get("y", number, (*prediction.shape[:-1], 1))
    return inputs.get("y", number, prediction.shape)
