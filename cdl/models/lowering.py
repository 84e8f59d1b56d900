"""lowering.py - from a model, its loss and its metrics to a program, and what goes with it.

That is: which array feeds each input, and the rules that hold for weights, as numbers.
"""

from typing import Any, NamedTuple

from cdl import constraints, losses, metrics, regularizers
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
    program.output(model.lower(program, x))
    return program.fused(training)


def lower_training(
    model: Any,
    settled: Settled,
    scale: float,
    weighted: bool,
    y_shape: tuple[int, ...],
    training: bool = True,
) -> Plan:
    """The program of a training or evaluation step: x, y and weights in, loss and metrics out.

    Args:
        model: what has `input_shape` and `lower`.
        settled: its loss and metrics; those written in Python are left to the Engine, which finds
            the targets among the inputs.
        scale: what the loss is multiplied by.
        weighted: whether there are sample weights.
        y_shape: shape of one row of y.
        training: whether dropout and the like are part of it.
    """
    program = Program()
    inputs = _Inputs(program)
    prediction = model.lower(program, inputs.get("x", model.input_shape[1:]))
    program.output(prediction)

    weight = inputs.get("weight", ()) if weighted else None
    reports = []
    needs_python = settled.loss is not None and not losses.is_compiled(settled.loss)
    if settled.loss is not None and not needs_python:
        target = _target(inputs, settled.loss.wants, prediction)
        settled.loss.lower(program, target, prediction, weight, scale)
        reports.append("loss")
    for each in settled.metrics:
        if metrics.is_compiled(each.metric):
            target = _target(inputs, each.metric.wants, prediction)
            each.metric.lower(program, target, prediction, weight if each.weighted else None)
            reports.append(each.name)
        else:
            needs_python = True
    if needs_python:
        inputs.get("y", y_shape)
    return Plan(program.fused(training), inputs.slots, tuple(reports))


def _target(inputs: _Inputs, wants: str, prediction: Value) -> Value:
    """The input that holds y as a row of a table wants it: values, or class numbers."""
    if wants == "classes":
        return inputs.get("y", prediction.shape[:-1], "int32")
    return inputs.get("y", prediction.shape)


def rules_of(variables: list[Any]) -> dict[str, Any]:
    """Penalties and constraints of the weights that training changes, as the core takes them.

    Raises:
        ValueError: for one that is written in Python, or has an axis that the core does not know.
    """
    penalties = {v: _penalty(v) for v in variables if v.regularizer is not None}
    limits = {v: _limits(v) for v in variables if v.constraint is not None}
    return {"penalties": penalties, "constraints": limits}


def _penalty(variable: Any) -> tuple[float, float]:
    """The factors of sum(|w|) and sum(w^2)."""
    regularizer = variable.regularizer
    known = (regularizers.L1, regularizers.L2, regularizers.L1L2)
    if type(regularizer) not in known:
        raise ValueError(
            f"{variable.path}: regularizer must be L1, L2 or L1L2 to train with, "
            f"got {type(regularizer).__name__}"
        )
    return float(getattr(regularizer, "l1", 0.0)), float(getattr(regularizer, "l2", 0.0))


def _limits(variable: Any) -> tuple[str, tuple[float, float, float]]:
    """Kind of a constraint, and (low, high, rate) for one of norms."""
    constraint = variable.constraint
    if type(constraint) is constraints.NonNeg:
        return "non_negative", (0.0, 0.0, 0.0)
    if type(constraint) is constraints.MaxNorm:
        limits = (0.0, float(constraint.max_value), 1.0)
    elif type(constraint) is constraints.UnitNorm:
        limits = (1.0, 1.0, 1.0)
    elif type(constraint) is constraints.MinMaxNorm:
        low, high = float(constraint.min_value), float(constraint.max_value)
        limits = (low, high, float(constraint.rate))
    else:
        raise ValueError(
            f"{variable.path}: constraint must be MaxNorm, MinMaxNorm, NonNeg or UnitNorm to train "
            f"with, got {type(constraint).__name__}"
        )
    axes = constraint.axis if isinstance(constraint.axis, tuple) else (constraint.axis,)
    rank = len(variable.shape)
    if [axis % rank for axis in axes] != [0]:
        raise ValueError(
            f"{variable.path}: axis of {type(constraint).__name__} must be 0 to train with, "
            f"got {constraint.axis}"
        )
    return "norm", limits
