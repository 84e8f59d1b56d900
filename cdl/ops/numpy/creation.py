"""Creation of arrays: constants, ranges, identity matrices, windows.

A shape whose first size is `cdl.ops.shape(x)[0]` is one for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._tracing.keras_tensor import SymbolicBatch
from cdl._tracing.operation import operation, tensor_operation
from cdl.config import floatx
from cdl.ops.arrays import as_dtype, shape_arg, sizes_for
from cdl.ops.lowering import broadcast

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._tracing.keras_tensor import KerasTensor


def _shaped(shape: Any, *rest: Any) -> tuple[Any, ...]:
    return (sizes_for(None, shape), *rest)


def _full_of(number: float) -> Any:
    """Lowering of an array of one number."""
    return lambda program, spec, *_: broadcast(program, spec, np.float32(number))


@operation(_full_of(0.0), prepare=_shaped)
def zeros(shape: int | Sequence[int], dtype: Any = None) -> Any:
    """An array of zeros, float32 unless another dtype is given."""
    return as_dtype(np.zeros(shape_arg(shape)), dtype or floatx())


@operation(_full_of(1.0), prepare=_shaped)
def ones(shape: int | Sequence[int], dtype: Any = None) -> Any:
    """An array of ones, float32 unless another dtype is given."""
    return as_dtype(np.ones(shape_arg(shape)), dtype or floatx())


@operation(_full_of(0.0), prepare=_shaped)
def empty(shape: int | Sequence[int], dtype: Any = None) -> Any:
    """New array; here one of zeros."""
    return as_dtype(np.zeros(shape_arg(shape)), dtype or floatx())


def _full(
    program: Lowering,
    spec: KerasTensor,
    shape: int | Sequence[int],
    fill_value: Any,
    dtype: DTypeLike,
) -> Any:
    return broadcast(program, spec, fill_value)


@operation(_full, prepare=_shaped)
def full(shape: int | Sequence[int], fill_value: ArrayLike, dtype: Any = None) -> Any:
    """Array filled with one number.

    Args:
        shape: its sizes.
        fill_value: the number, or an array that broadcasts.
        dtype: float32 unless given.
    """
    return as_dtype(np.full(shape_arg(shape), fill_value), dtype or floatx())


@tensor_operation(_full_of(0.0))
def zeros_like(x: ArrayLike, dtype: Any = None) -> Any:
    """Array of zeros of the shape of x, and of its dtype unless another is given."""
    return as_dtype(np.zeros_like(x), dtype)


@tensor_operation(_full_of(1.0))
def ones_like(x: ArrayLike, dtype: Any = None) -> Any:
    """Array of ones of the shape of x, and of its dtype unless another is given."""
    return as_dtype(np.ones_like(x), dtype)


@tensor_operation(_full_of(0.0))
def empty_like(x: ArrayLike, dtype: Any = None) -> Any:
    """New array of the shape of x; here one of zeros."""
    return as_dtype(np.zeros_like(x), dtype)


def _full_like(
    program: Lowering, spec: KerasTensor, x: ArrayLike, fill_value: Any, dtype: DTypeLike
) -> Any:
    return broadcast(program, spec, fill_value)


@tensor_operation(_full_like)
def full_like(x: ArrayLike, fill_value: ArrayLike, dtype: Any = None) -> Any:
    """Array of the shape of x filled with one number.

    Args:
        x: an array.
        fill_value: the number, or an array that broadcasts.
        dtype: that of x unless given.
    """
    return as_dtype(np.full_like(x, fill_value), dtype)


def _sizes_only(*args: Any) -> str:
    if any(isinstance(each, SymbolicBatch) for each in args):
        return "how many samples there are is not known: a size of the result must be a number"
    return "its arguments must be numbers"


@operation(untraced=_sizes_only)
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Matrix of zeros with ones on a diagonal.

    Args:
        N: number of rows.
        M: number of columns; None for as many.
        k: how far the diagonal is to the right of the main one.
        dtype: float32 unless given.
    """
    return as_dtype(np.eye(N, M, k), dtype or floatx())


@operation(untraced=_sizes_only)
def identity(n: int, dtype: Any = None) -> Any:
    """Identity matrix of n rows, float32 unless another dtype is given."""
    return as_dtype(np.identity(n), dtype or floatx())


@operation(untraced=_sizes_only)
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Lower triangular matrix of ones; arguments as of `eye`."""
    return as_dtype(np.tri(N, M, k), dtype or floatx())


@operation(untraced=_sizes_only)
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """Evenly spaced numbers from start on, before stop.

    Args:
        start: the first one; if there is no stop, that is it, and the first one is 0.
        stop: where they end.
        step: from one to the next; 1 unless given.
        dtype: int32 if all arguments are whole, else float32.
    """
    first, last = (0, start) if stop is None else (start, stop)
    return as_dtype(np.arange(first, last, 1 if step is None else step), dtype)


@operation(untraced=_sizes_only)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers, from start to stop.

    Args:
        start: the first one.
        stop: the last one.
        num: how many.
        endpoint: whether `stop` is one of them.
        retstep: whether the distance is given as well.
        dtype: float32 unless given.
        axis: along which they are, if start and stop are arrays.
    """
    found = np.linspace(start, stop, num, endpoint, retstep=True, axis=axis)
    values = as_dtype(found[0], dtype or floatx())
    return (values, found[1]) if retstep else values


@operation(untraced=_sizes_only)
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Logarithmically spaced numbers: powers of `base` with exponents of `linspace`."""
    found = np.logspace(start, stop, num, endpoint, base, axis=axis)
    return as_dtype(found, dtype or floatx())


@operation(untraced=_sizes_only)
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Geometrically spaced numbers, with a constant ratio; arguments as `linspace`."""
    return as_dtype(np.geomspace(start, stop, num, endpoint, axis=axis), dtype or floatx())


@operation(untraced="it is of arrays only: use cdl.ops.broadcast_to")
def meshgrid(*x: Any, indexing: Any = "xy") -> Any:
    """Coordinate arrays of a grid, one for each axis.

    Args:
        x: the coordinates along each axis.
        indexing: "xy": the first axis of the results is the second one of the grid; "ij": it is
            the first one.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    return np.meshgrid(*x, indexing=indexing)


@operation(untraced=_sizes_only)
def bartlett(x: int) -> Any:
    """Bartlett (triangular) window of x numbers."""
    return np.bartlett(x).astype(np.float32)


@operation(untraced=_sizes_only)
def blackman(x: int) -> Any:
    """Blackman window of x numbers."""
    return np.blackman(x).astype(np.float32)


@operation(untraced=_sizes_only)
def hamming(x: int) -> Any:
    """Hamming window of x numbers."""
    return np.hamming(x).astype(np.float32)


@operation(untraced=_sizes_only)
def hanning(x: int) -> Any:
    """Hann window of x numbers."""
    return np.hanning(x).astype(np.float32)


@operation(untraced=_sizes_only)
def kaiser(x: int, beta: float) -> Any:
    """Kaiser window of x numbers and shape `beta`."""
    return np.kaiser(x, beta).astype(np.float32)


@tensor_operation(untraced=_sizes_only)
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Any:
    """Vandermonde matrix: the powers of x, a row for each number.

    Args:
        x: a vector.
        N: how many powers; None for as many as numbers.
        increasing: whether the lowest power is first.
    """
    return np.vander(np.asarray(x), N, increasing)
