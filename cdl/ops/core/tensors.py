"""Tensors: their shape, their dtype, and conversions."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl import tree
from cdl._common.dtypes import standardize_dtype
from cdl._ir.elementwise import Expression, apply, argument
from cdl._ir.emit import stop
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import graph
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import operation, tensor_operation
from cdl._tracing.symbolic import symbolic_error
from cdl._tracing.variable import Variable
from cdl._variables.stepping import StepArray
from cdl.data.texts import holds_texts
from cdl.ops.arrays import as_dtype, shape_of
from cdl.ops.lowering import mapped, value_of
from cdl.ops.numpy.joining import stack

_WIDEST = (np.int64, np.uint64)
_SYMBOLIC = (KerasTensor, LoweredTensor, SymbolicBatch)


def _cast_form(dtype: str | None, x: ArrayLike) -> Any:
    """Expression of a cast, which truncates to integers."""
    before = getattr(x, "dtype", "float32")
    to_bool = dtype == "bool" and before != "bool"
    to_whole = dtype is not None and "int" in dtype and "float" in str(before)

    def form(x: Expression) -> Expression:
        if to_bool:
            return apply("not_equal", x, 0.0)
        return apply("trunc", x) if to_whole else x

    return form


def _cast(program: Lowering, spec: KerasTensor, x: ArrayLike, *_: Any) -> Any:
    return mapped(program, spec, _cast_form(spec.dtype, x), x)


def _converting(x: ArrayLike, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """Arguments of `convert_to_tensor`, with lists of symbolic tensors made one."""
    if ragged:
        raise ValueError("convert_to_tensor: ragged must be False or None, got True")
    if isinstance(x, (list, tuple)) and any(
        isinstance(leaf, _SYMBOLIC) for leaf in tree.flatten(x)
    ):
        x = stack([convert_to_tensor(part) for part in x])
    if dtype == "string" and holds_texts([x]):
        dtype = None
    x, known = _casting(x, None if dtype is None else standardize_dtype(dtype))
    return (x, known) if sparse is None else (x, known, sparse)


def _casting(x: ArrayLike, dtype: Any) -> Any:
    """Arguments of a cast: integers that 32 bits need not hold on their way to floats."""
    if getattr(x, "dtype", None) in _WIDEST and isinstance(dtype, str) and "float" in dtype:
        x = np.asarray(x, np.float32)
    return x, dtype


@tensor_operation(_cast, prepare=_converting)
def convert_to_tensor(
    x: ArrayLike, dtype: Any = None, sparse: Any = None, ragged: Any = None
) -> Any:
    """Convert x to an array; a symbolic tensor stays.

    Args:
        x: an array, numbers, a weight, or lists of them; texts stay as they are.
        dtype: None for that of x; numbers of Python are float32, int32 or bool.
        sparse: whether a sparse symbolic tensor may stay one; None and True for yes.
        ragged: not supported.
    """
    array = np.asarray(x)
    if dtype is None and holds_texts(array[None]):
        return array
    if array.dtype.kind in "OUS":
        raise ValueError(f"convert_to_tensor: x must hold numbers, got dtype {array.dtype}")
    return as_dtype(array, dtype)


def convert_to_numpy(x: ArrayLike) -> Any:
    """Convert x to a NumPy array.

    Raises:
        TypeError: x is symbolic.
    """
    if any(isinstance(leaf, _SYMBOLIC) for leaf in tree.flatten(x)):
        raise symbolic_error("convert_to_numpy of a symbolic value", "go on with cdl.ops")
    return np.array(convert_to_tensor(x))


def array(x: ArrayLike, dtype: Any = None) -> Any:
    """Convert x to an array, as `convert_to_tensor`."""
    return convert_to_tensor(x, dtype)


@tensor_operation(_cast, prepare=_casting)
def cast(x: ArrayLike, dtype: DTypeLike) -> Any:
    """Cast x to another dtype.

    Args:
        x: an array.
        dtype: name of a dtype. Programs compute in float32 whatever it is; to whole numbers what
            is behind the point is cut off, to bool what is not 0 becomes 1.
    """
    return as_dtype(np.asarray(x), dtype)


def _saturated(program: Lowering, spec: Any, x: Any, dtype: DTypeLike) -> Value:
    name = standardize_dtype(dtype)
    if "int" in name:
        bounds = np.iinfo(name)
        clipped = apply("maximum", apply("minimum", argument(0), float(bounds.max)), bounds.min)
        x = LoweredTensor(program.map(clipped, [value_of(program, x)]), x.spec)
    found: Value = _cast(program, spec, x, name)
    return found


@tensor_operation(_saturated)
def saturate_cast(x: ArrayLike, dtype: DTypeLike) -> Any:
    """Cast as `cast`, with numbers clipped to the range of the dtype."""
    name = standardize_dtype(dtype)
    kind = np.dtype(name)
    if kind.kind not in "iu":
        return as_dtype(x, name)
    bounds = np.iinfo(kind)
    return np.clip(np.asarray(x).astype(np.float64), bounds.min, bounds.max).astype(kind)


@operation(lambda program, spec, variable: stop(program, value_of(program, variable)))
def stop_gradient(variable: Any) -> Any:
    """Identity without a gradient."""
    return np.asarray(variable)


# --- what is known without numbers ---


def shape(x: Any) -> tuple[Any, ...]:
    """Shape of x: the sizes of its axes.

    For a symbolic tensor the first one stands for the number of samples: `cdl.ops.reshape`,
    `zeros`, `ones`, `full`, `broadcast_to` and the functions of `cdl.random` take it as a size, and
    arithmetic as a number.
    """
    sizes = shape_of(x)
    if not getattr(x, "rows_per_sample", 0):
        return sizes
    at = x.batch_axis
    return (*sizes[:at], SymbolicBatch(x.rows_per_sample), *sizes[at + 1 :])


def ndim(x: ArrayLike) -> int:
    """Number of axes of x."""
    return len(shape_of(x))


def size(x: ArrayLike) -> Any:
    """Number of elements; of a symbolic tensor a multiple of the number of samples."""
    return prod(shape(x), start=1) if shape_of(x) else 1


def dtype(x: Any) -> str:
    """Name of the dtype of x."""
    if isinstance(x, SymbolicBatch):
        return "int32"
    return standardize_dtype(str(x.dtype) if hasattr(x, "dtype") else convert_to_tensor(x).dtype)


def is_tensor(x: ArrayLike) -> bool:
    """Whether x is an array, or a symbolic tensor in traced code; a weight is none."""
    if isinstance(x, KerasTensor):
        return graph.current_scope() is not None
    arrays = (np.ndarray, np.generic, LoweredTensor, StepArray)
    return isinstance(x, arrays) and not isinstance(x, Variable)
