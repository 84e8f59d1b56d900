"""Lowering of terms to values of one shape, shared by most operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir import emit as ir_emit
from cdl._ir.elementwise import Expression, apply, argument, constant
from cdl._ir.emit import permute
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl.ops.arrays import Ints, along_samples, axes_of

Form = str | Callable[..., Any]


# --- operands ---


def value_of(program: Lowering, operand: Any) -> Value:
    """Value of a term; an array as a constant, a number of samples counted."""
    if isinstance(operand, LoweredTensor):
        return operand.value
    if isinstance(operand, SymbolicBatch):
        one = program.broadcast_batch(program.constant(np.float32(operand.times)))
        return program.batch_reduce(one, "sum")
    return program.constant(np.asarray(operand, np.float32))


def broadcast(program: Lowering, spec: KerasTensor, operand: Any) -> Value:
    """Operand as a value of the result's shape, per sample if the result is.

    Args:
        spec: the result.
        operand: a term, an array or a number.
    """
    shape, value = spec.sample_shape, value_of(program, operand)
    if value.shared and spec.rows_per_sample == 1:
        at = spec.batch_axis - (len(spec.shape) - len(value.shape))
        if at >= 0:  # an axis of 1 along the samples
            value = ir_emit.reshape(program, value, value.shape[:at] + value.shape[at + 1 :])
    if value.shared and spec.rows_per_sample:
        if value.shape != shape[len(shape) - len(value.shape) :]:
            value = ir_emit.broadcast(program, value, shape)
        value = program.broadcast_batch(value)  # as it is, a bias is told from other sums
    return ir_emit.broadcast(program, value, shape)


def is_number(operand: Any) -> bool:
    """Whether an operand is one known number."""
    return not isinstance(operand, (LoweredTensor, SymbolicBatch)) and np.size(operand) == 1


# --- elementwise ---


def elementwise(form: Form) -> Callable[..., Value]:
    """Lowering of an elementwise function.

    Args:
        form: the name of a primitive (`cdl._core.ELEMENTWISE`), or a function from expressions of
            the operands to an expression.
    """

    def lower(program: Lowering, spec: KerasTensor, *operands: Any) -> Value:
        return mapped(program, spec, form, *operands)

    return lower


def mapped(program: Lowering, spec: KerasTensor, form: Form, *operands: Any) -> Value:
    """Append an expression of operands, broadcast to the shape of the result.

    Args:
        spec: the result.
        form: see `elementwise`.
        operands: terms, arrays and numbers; None is handed to `form` as it is.
    """
    values: list[Value] = []
    leaves: list[Any] = []
    for operand in operands:
        if operand is None:
            leaves.append(None)
        elif is_number(operand):
            leaves.append(constant(float(np.asarray(operand, np.float32).reshape(()))))
        else:
            leaves.append(argument(len(values)))
            values.append(broadcast(program, spec, operand))
    expression = apply(form, *leaves) if isinstance(form, str) else form(*leaves)
    return program.map(_expression(expression), values)


def _expression(found: Any) -> Expression:
    return found if isinstance(found, Expression) else constant(float(found))


# --- shapes ---


def as_shape(program: Lowering, spec: KerasTensor, x: ArrayLike, *_: Any) -> Value:
    """Lowering of a function that keeps the numbers in their order."""
    return ir_emit.reshape(program, value_of(program, x), spec.sample_shape)


def sample_axis(x: Any, axis: int) -> int:
    """Axis of the value for an axis of a term other than that of the samples."""
    axis %= len(x.shape)
    return axis - (getattr(x, "rows_per_sample", 0) == 1 and axis > x.batch_axis)


def moved(program: Lowering, x: Any, order: Iterable[int]) -> Value:
    """Transposed axes of a term."""
    return permute(
        program,
        x.value,
        [sample_axis(x, a) for a in order if x.rows_per_sample != 1 or a != x.batch_axis],
    )


def as_last(program: Lowering, x: Any, axis: int, emit: Callable[[Value], Value]) -> Value:
    """Result of `emit` on a value with the given axis last, moved back after it."""
    at, n = sample_axis(x, axis), len(x.value.shape)
    others = [a for a in range(n) if a != at]
    value = emit(permute(program, x.value, [*others, at]))
    back = list(range(n - 1))
    back.insert(at, n - 1)
    return permute(program, value, back)


# --- reductions ---


def reduction(kind: str, of_truths: bool = False) -> Callable[..., Value]:
    """Lowering of a reduction over axes.

    Args:
        kind: "sum", "mean", "max", "min" or "prod".
        of_truths: whether what is not 0 counts as 1.
    """

    def lower(
        program: Lowering, spec: KerasTensor, x: Any, axis: Ints, keepdims: bool = False
    ) -> Value:
        value = value_of(program, x)
        if of_truths:
            value = program.map(apply("not_equal", argument(0), 0.0), [value])
        rows_per_sample = getattr(x, "rows_per_sample", 0)
        axes = axes_of(axis, len(value.shape) + (rows_per_sample == 1))
        inner = [sample_axis(x, a) for a in axes if rows_per_sample != 1 or a != x.batch_axis]
        if inner:
            value = ir_emit.reduce(program, kind, value, inner)
        if along_samples(x, axis):
            value = program.batch_reduce(value, kind)
        return ir_emit.reshape(program, value, spec.sample_shape)

    return lower
