"""lowering.py - from terms to values of one shape, and what most rows append."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._expression import Expression, apply, argument, constant
from cdl._samples import SampleCount
from cdl._term import Term
from cdl.ops.arrays import axes_of

if TYPE_CHECKING:
    from cdl._program import Program, Value
    from cdl._symbols import KerasTensor

Form = str | Callable[..., Expression]


# --- elementwise ---


def elementwise(form: Form) -> Callable[..., Value]:
    """The lowering of a function of each element.

    Args:
        form: the name of a primitive (`cdl._core.ELEMENTWISE`), or a function from expressions of
            the operands to an expression.
    """

    def lower(program: Program, spec: KerasTensor, *operands: Any) -> Value:
        return mapped(program, spec, form, *operands)

    return lower


def mapped(program: Program, spec: KerasTensor, form: Form, *operands: Any) -> Value:
    """Appends an expression of operands, which are made of one shape, that of the result.

    Args:
        program: to which it is appended.
        spec: the result.
        form: see `elementwise`.
        operands: terms, arrays and numbers; None is handed to `form` as it is.
    """
    values: list[Value] = []
    leaves: list[Any] = []
    for operand in operands:
        if operand is None or isinstance(operand, str):
            leaves.append(operand)
        elif not isinstance(operand, (Term, SampleCount)) and np.size(operand) == 1:
            leaves.append(constant(float(np.asarray(operand, np.float32).reshape(()))))
        else:
            leaves.append(argument(len(values)))
            values.append(broadcast(program, spec, operand))
    expression = apply(form, *leaves) if isinstance(form, str) else form(*leaves)
    return program.map(expression, values)


def broadcast(program: Program, spec: KerasTensor, operand: Any) -> Value:
    """An operand as a value of the shape that a result has, of each sample if that is."""
    shape = spec.sample_shape
    if isinstance(operand, SampleCount):
        value, ndim, lead = count_samples(program, operand.times), 0, 0
    elif isinstance(operand, Term):
        value, ndim, lead = operand.value, operand.ndim, operand.lead
    else:
        value, ndim, lead = program.constant(np.asarray(operand, np.float32)), np.ndim(operand), 0
    if spec.lead == 1 and not lead and ndim == len(spec.shape):
        value = reshape(program, value, value.shape[1:])  # an axis of 1 along the samples
    missing = len(shape) - len(value.shape)
    whole = (1,) * missing + value.shape
    if whole == shape:
        value = reshape(program, value, shape)
    if spec.lead and not lead and value.shape == shape[len(shape) - len(value.shape) :]:
        value, lead = spread(program, value), 1  # behind it a bias is told from other sums
    if whole != shape:
        value = program.emit("broadcast", (reshape(program, value, whole),), shape)
    return value if lead or not spec.lead else spread(program, value)


# --- values ---


def reshape(program: Program, value: Value, shape: Iterable[int]) -> Value:
    """The same numbers in another shape."""
    shape = tuple(shape)
    return value if value.shape == shape else program.emit("reshape", (value,), shape)


def permute(program: Program, value: Value, order: Iterable[int]) -> Value:
    """The axes of a value in another order: axis `order[i]` becomes axis i."""
    order = tuple(order)
    moved = [axis for axis in order if value.shape[axis] != 1]
    shape = tuple(value.shape[axis] for axis in order)
    if moved == sorted(moved):  # only axes of size 1 change their place
        return reshape(program, value, shape)
    digits = int("".join(str(axis + 1) for axis in order))
    return program.emit("permute", (value,), shape, order=digits)


def spread(program: Program, value: Value) -> Value:
    """A shared value as one of each sample."""
    return program.emit("spread", (value,), value.shape, shared=False)


def over_rows(program: Program, value: Value, kind: str) -> Value:
    """The sum, mean, max or min of a value over the samples of the batch."""
    return program.emit("over_rows", (value,), value.shape, shared=True, kind=kind)


def count_samples(program: Program, times: int) -> Value:
    """The number of samples of the batch, times a number."""
    one = spread(program, program.constant(np.float32(times)))
    return over_rows(program, one, "sum")


def value_of(program: Program, operand: Any) -> Value:
    """The value of a term; an array as a constant."""
    if isinstance(operand, Term):
        return operand.value
    return program.constant(np.asarray(operand, np.float32))


def sample_axis(x: Term, axis: int) -> int:
    """The axis of the value that an axis of a term, not that of the samples, is."""
    axis %= x.ndim
    return axis - 1 if x.lead == 1 else axis


def flat(value: Value, axis: int) -> tuple[int, int, int]:
    """The sizes before an axis, of it, and behind it."""
    shape = value.shape
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


# --- rows by kind ---


def as_shape(program: Program, spec: KerasTensor, x: Any, *_: Any) -> Value:
    """The lowering of what keeps the numbers in their order."""
    return reshape(program, value_of(program, x), spec.sample_shape)


def moved(program: Program, x: Term, order: Iterable[int]) -> Value:
    """The axes of a term in another order; that of the samples stays in front."""
    order = list(order)
    if x.lead == 1:
        order = [axis - 1 for axis in order[1:]]
    return permute(program, x.value, order)


def reduction(kind: str, of_truths: bool = False) -> Callable[..., Value]:
    """The lowering of a reduction over axes.

    Args:
        kind: "sum", "mean", "max", "min" or "prod".
        of_truths: whether what is not 0 counts as 1.
    """

    def lower(
        program: Program, spec: KerasTensor, x: Any, axis: Any, keepdims: bool = False
    ) -> Value:
        value = value_of(program, x)
        if of_truths:
            value = program.map(apply("not_equal", argument(0), 0.0), [value])
        lead = getattr(x, "lead", 0)
        axes = axes_of(axis, len(value.shape) + (lead == 1))
        over_samples = bool(lead) and 0 in axes
        own = [a - (lead == 1) for a in axes if a or lead != 1]
        value = reduced(program, value, own, kind)
        if over_samples:
            value = program.over_rows(value, kind)
        return reshape(program, value, spec.sample_shape)

    return lower


def reduced(program: Program, value: Value, axes: Iterable[int], kind: str) -> Value:
    """A value reduced over axes, which it has no more, run of neighbours by run."""
    left = sorted(axes, reverse=True)
    while left:
        last = first = left.pop(0)
        while left and left[0] == first - 1:
            first = left.pop(0)
        shape = value.shape
        outer, n, inner = prod(shape[:first]), prod(shape[first : last + 1]), prod(shape[last + 1 :])
        rest = (*shape[:first], *shape[last + 1 :])
        if n == 1 and kind != "mean":
            value = reshape(program, value, rest)
        else:
            value = program.emit("reduce", (value,), rest, kind=kind, numbers=(outer, n, inner))
    return value


# --- parts of values ---


def lifted(program: Program, spec: KerasTensor, x: Any, axis: int) -> Value:
    """An operand of a concatenation."""
    return value_of(program, x)


def concat(program: Program, values: list[Value], axis: int) -> Value:
    """Values one behind the other along an axis."""
    while len(values) > 1:
        first, values = values[:8], values[8:]
        sizes = [value.shape[axis] for value in first]
        shape = list(first[0].shape)
        shape[axis] = sum(sizes)
        values.insert(0, program.emit("concat", first, shape, axis=float(axis)))
    return values[0]


def cut(
    program: Program, value: Value, axis: int, start: Any, stop: Any, step: Any = None
) -> Value:
    """A part of a value along an axis, as a slice of Python."""
    places = range(value.shape[axis])[slice(start, stop, step)]
    if places == range(value.shape[axis]):
        return value
    shape = list(value.shape)
    shape[axis] = len(places)
    raise NotImplementedError


def gathered(program: Program, value: Value, indices: Term, axis: int) -> Value:
    raise NotImplementedError


def chosen(program: Program, value: Value, places: Any, axis: int) -> Value:
    raise NotImplementedError


def taken_along(program: Program, spec: KerasTensor, x: Any, indices: Any, axis: Any) -> Value:
    raise NotImplementedError


def product(program: Program, spec: KerasTensor, x1: Any, x2: Any) -> Value:
    raise NotImplementedError


def cumulated(program: Program, spec: KerasTensor, x: Any, axis: Any, kind: str) -> Value:
    raise NotImplementedError


def sorted_along(program: Program, x: Any, axis: Any) -> tuple[Value, Value]:
    raise NotImplementedError


def argued(program: Program, spec: KerasTensor, x: Any, axis: Any, kind: str) -> Value:
    raise NotImplementedError


def as_last(
    program: Program, x: Any, axis: int, emit: Callable[[Value], Value]
) -> Value:
    """What `emit` makes of a value whose last axis is the given one; moved back then."""
    value = value_of(program, x)
    at = sample_axis(x, axis)
    others = [a for a in range(len(value.shape)) if a != at]
    value = emit(permute(program, value, [*others, at]))
    back = list(range(len(others)))
    back.insert(at, len(others))
    return permute(program, value, back)


def one_hot_lines(program: Program, x: Any, n: int) -> Term:
    raise NotImplementedError
