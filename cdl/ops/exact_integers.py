"""Integers within programs: float32 has all of them up to 2^24, and results beyond are refused.

Every value of integers carries a bound of their sizes. An operation whose results may exceed
float32's integers appends an instruction that ends the run where one does::

    @pair_operation(exact("multiply", elementwise("multiply"), product_of_bounds))
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.dtypes import MOST_EXACT
from cdl._tracing.keras_tensor import KerasTensor, known_samples
from cdl._tracing.lowered_tensor import LoweredTensor

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value

    Lower = Callable[..., Any]
    Bound = Callable[..., float]


def bound_of(operand: Any) -> float:
    """Largest size of the integers of a term, an array or a number."""
    if isinstance(operand, LoweredTensor):
        return operand.value.most
    array = np.asarray(operand)
    if array.dtype.kind not in "biuf" or not array.size:
        return MOST_EXACT
    return float(np.max(np.abs(array.astype(np.float64))))


def sum_of_bounds(spec: KerasTensor, x1: Any, x2: Any) -> float:
    """Bound of sums and differences of two operands."""
    return bound_of(x1) + bound_of(x2)


def product_of_bounds(spec: KerasTensor, x1: Any, x2: Any) -> float:
    """Bound of products of two operands."""
    return bound_of(x1) * bound_of(x2)


def square_of_bound(spec: KerasTensor, x: Any) -> float:
    """Bound of the squares of an operand."""
    return bound_of(x) ** 2


def bound_of_sum(spec: KerasTensor, x: Any, *_: Any) -> float:
    """Bound of sums over axes."""
    size: float = math.prod(x.spec.sample_shape)
    if x.spec.rows_per_sample and not spec.rows_per_sample:
        size *= known_samples() or MOST_EXACT
    return bound_of(x) * size / max(1, math.prod(spec.sample_shape))


def bound_of_sums(spec: KerasTensor, x: Any, *_: Any) -> float:
    """Bound of cumulative sums."""
    return bound_of(x) * float(math.prod(x.spec.sample_shape))


def bound_of_product(spec: KerasTensor, x1: Any, x2: Any) -> float:
    """Bound of matrix products."""
    terms: float = x1.shape[-1] if x1.shape[-1] is not None else MOST_EXACT
    return bound_of(x1) * bound_of(x2) * terms


def no_bound(spec: KerasTensor, *_: Any) -> float:
    """Infinite bound, of powers and products over axes."""
    return math.inf


def exact(name: str, lower: Lower, bound: Bound, cancels: bool = False) -> Lower:
    """Lowering whose results, if they are integers, are those that float32 has, or an error.

    Args:
        name: of the operation, which errors name.
        lower: appends it: see `OpDef`.
        bound: of the results' sizes, from the symbolic result and all arguments.
        cancels: whether numbers on the way may be larger than the result, as in a sum of numbers
            of both signs: their sizes are computed too.
    """

    @functools.wraps(lower)
    def appended(program: Lowering, spec: KerasTensor, *args: Any) -> Any:
        found = lower(program, spec, *args)
        value: Value = found.value if isinstance(found, LoweredTensor) else found
        if "int" not in spec.dtype:
            return found
        most = bound(spec, *args)
        if most > MOST_EXACT:
            values = [value]
            if cancels and any(map(_may_be_negative, args)):
                sizes = lower(program, spec, *(_size(program, each) for each in args))
                size: Value = sizes.value if isinstance(sizes, LoweredTensor) else sizes
                values.append(program.emit("stop", (size,), size.shape, shared=size.shared))
            label = f"{name}: the result"
            label += ", and the sum of the sizes of its terms," if len(values) > 1 else ""
            value = program.emit("exact", values, value.shape, label=label)
            most = MOST_EXACT - 1
        value.most = min(value.most, most)
        return value

    return appended


def _may_be_negative(operand: Any) -> bool:
    """Whether a term or an array is of a dtype with negative numbers."""
    dtype = getattr(operand, "dtype", None)
    return dtype is not None and not str(dtype).startswith(("bool", "uint"))


def _size(program: Lowering, operand: Any) -> Any:
    """Operand without its sign; arguments such as axes as they are."""
    if isinstance(operand, LoweredTensor):
        return LoweredTensor(program.map("abs", [operand.value]), operand.spec)
    return np.abs(operand) if isinstance(operand, np.ndarray) else operand
