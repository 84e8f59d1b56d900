"""lowering.py - from a model, its loss and its metrics to a program, and what feeds its inputs."""

import math
from typing import Any, NamedTuple

from cdl import losses, metrics
from cdl._program import Program, Value
from cdl.models.compiled import Settled


class Slot(NamedTuple):
    """One input of a program: which of the arrays it reads, and as what."""

    role: str  # "x", "y" or "weight"
    dtype: str
    shape: tuple[int, ...]


class Plan(NamedTuple):
    """A program that is ready for an Executor, and how its inputs and reports are called."""

    program: Program
    slots: tuple[Slot, ...]
    reports: tuple[str, ...]


class _Inputs:
    """The inputs of a program as they are asked for; each array comes in once for each form."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._values: dict[Slot, Value] = {}

    def get(self, role: str, shape: tuple[int, ...], dtype: str = "float32") -> Value:
        slot = Slot(role, dtype, shape)
        if slot not in self._values:
            self._values[slot] = self._program.input(shape, dtype=dtype, role=role)
        return self._values[slot]

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(self._values)


def lower_inference(model: Any, training: bool = False) -> Program:
    """The program of `predict`: x in, the output out; with dropout if `training`."""
    program = Program()
    x = program.input(model.input_shape[1:], role="x")
    program.output(model.append_to(program, x))
    return program.fused(training, penalties=False)


def lower_training(
    model: Any,
    settled: Settled,
    scale: float,
    weights: tuple[int, ...] | None,
    y_shape: tuple[int, ...],
    training: bool = True,
) -> Plan:
    """The program of a training or evaluation step: x, y and weights in, loss and metrics out.

    Args:
        model: what has `input_shape` and `lower`.
        settled: its loss and metrics; those written in Python are left to the Engine, which finds
            the targets among the inputs.
        scale: what the loss is multiplied by.
        weights: shape of one row's sample weights: one number, or one a line; None without.
        y_shape: shape of one row of y.
        training: whether dropout and the like are part of it.

    Raises:
        ValueError: for a loss that training cannot take.
    """
    loss = settled.loss
    if training and loss is not None and loss.reduction in (None, "none"):
        raise ValueError(
            f"fit: loss {loss.name!r} must make one number of a batch to be trained with, "
            "such as with reduction='sum_over_batch_size', got reduction=None"
        )
    program = Program()
    inputs = _Inputs(program)
    prediction = model.append_to(program, inputs.get("x", model.input_shape[1:]))
    program.output(prediction)
    mask = prediction.mask

    weight = None
    if weights is not None:
        weight = inputs.get("weight", () if math.prod(weights) == 1 else (*weights, 1))
    reports = []
    needs_python = settled.loss is not None and not losses.is_compiled(settled.loss)
    if settled.loss is not None and not needs_python:
        target = _target(inputs, settled.loss.wants, prediction, y_shape)
        settled.loss.lower(program, target, prediction, weight, scale, mask)
        reports.append("loss")
    for each in settled.metrics:
        if metrics.is_compiled(each.metric):
            target = _target(inputs, each.metric.wants, prediction, y_shape)
            own = weight if each.weighted else None
            if each.metric.heeds_masks:
                own = _masked(program, own, mask)
            each.metric.lower(program, target, prediction, own)
            reports.append(each.name)
        else:
            needs_python = True
    if needs_python:
        if mask is not None:
            program.output(mask)
        inputs.get("y", y_shape)
        if weights is not None:
            inputs.get("weight", weights)
    return Plan(program.fused(training), inputs.slots, tuple(reports))


def _masked(program: Program, weight: Value | None, mask: Value | None) -> Value | None:
    """What a metric weighs lines by: the weights, and 0 for those that are masked."""
    if weight is None or mask is None:
        return weight if mask is None else mask
    return program.emit("weigh", (weight, mask), mask.shape, (), reads=3.0, ignored=0.0, mean=0.0)


def _target(inputs: _Inputs, wants: str, prediction: Value, y_shape: tuple[int, ...]) -> Value:
    """The input that holds y as it is wanted: values, one number a line, or labels."""
    if wants == "labels":
        return inputs.get("y", y_shape, "int32")
    if wants == "classes":
        return inputs.get("y", prediction.shape[:-1], "int32")
    if wants == "numbers":
        return inputs.get("y", (*prediction.shape[:-1], 1))
    return inputs.get("y", prediction.shape)
