"""Creation of arrays: constants, ranges, identity matrices, windows.

A shape whose first size is `cdl.ops.shape(x)[0]` is one for each sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdl._ir.lowering import Lowering
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.operation import operation, tensor_operation
from cdl.config import floatx
from cdl.ops.arrays import (
    Ints,
    as_dtype,
    axes_of,
    samples_apart,
    shape_arg,
    shape_of,
    sizes_for,
    whole,
)
from cdl.ops.core.tensors import cast
from cdl.ops.lowering import broadcast
from cdl.ops.numpy.arithmetic import add, divide, multiply, power, subtract
from cdl.ops.numpy.shapes import expand_dims


def _shaped(shape: Any, *rest: Any) -> tuple[Any, ...]:
    return (sizes_for(None, shape), *rest)


def _full_of(number: float) -> Any:
    """Lowering of an array of one number."""
    return lambda program, spec, *_: broadcast(program, spec, np.float32(number))


@operation(_full_of(0.0), prepare=_shaped)
def zeros(shape: Ints, dtype: Any = None) -> Any:
    """An array of zeros, float32 unless another dtype is given."""
    return as_dtype(np.zeros(shape_arg(shape)), dtype or floatx())


@operation(_full_of(1.0), prepare=_shaped)
def ones(shape: Ints, dtype: Any = None) -> Any:
    """An array of ones, float32 unless another dtype is given."""
    return as_dtype(np.ones(shape_arg(shape)), dtype or floatx())


@operation(_full_of(0.0), prepare=_shaped)
def empty(shape: Ints, dtype: Any = None) -> Any:
    """New array; here one of zeros."""
    return as_dtype(np.zeros(shape_arg(shape)), dtype or floatx())


def _full(
    program: Lowering, spec: KerasTensor, shape: Ints, fill_value: Any, dtype: DTypeLike
) -> Any:
    return broadcast(program, spec, fill_value)


@operation(_full, prepare=_shaped)
def full(shape: Ints, fill_value: ArrayLike, dtype: Any = None) -> Any:
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


def _count_only(start: Any, stop: Any, num: Any, *_: Any) -> str:
    return _sizes_only(num) if isinstance(num, (KerasTensor, SymbolicBatch)) else ""


def _spaced(start: Any, stop: Any, num: int, endpoint: bool, axis: int) -> tuple[Any, Any, Any]:
    """Ends of symbolic ranges, in one shape, and the shares of the way between them."""
    start, stop = add(start, zeros_like(stop)), add(stop, zeros_like(start))
    n = len(shape_of(start)) + 1
    at = axes_of(axis, n)[0]
    shares = np.arange(num, dtype=np.float32) / max(1, num - 1 if endpoint else num)
    shares = shares.reshape(*(1,) * at, num, *(1,) * (n - at - 1))
    return expand_dims(start, at), expand_dims(stop, at), shares


def _linspace(
    program: Lowering,
    spec: Any,
    start: Any,
    stop: Any,
    num: int,
    endpoint: bool,
    retstep: bool,
    dtype: Any,
    axis: int,
) -> Any:
    first, last, shares = _spaced(start, stop, num, endpoint, axis)
    values = add(multiply(first, np.float32(1) - shares), multiply(last, shares))
    values = cast(values, dtype or floatx())
    if not retstep:
        return values
    return values, divide(subtract(stop, start), float(num - 1 if endpoint else num))


@operation(_linspace, untraced=_count_only)
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


def _logspace(
    program: Lowering,
    spec: Any,
    start: Any,
    stop: Any,
    num: int,
    endpoint: bool,
    base: Any,
    dtype: Any,
    axis: int,
) -> Any:
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    return cast(power(base, exponents), dtype or floatx())


@operation(_logspace, untraced=_count_only)
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


def _geomspace(
    program: Lowering,
    spec: Any,
    start: Any,
    stop: Any,
    num: int,
    endpoint: bool,
    dtype: Any,
    axis: int,
) -> Any:
    first, last, shares = _spaced(start, stop, num, endpoint, axis)
    return cast(multiply(first, power(divide(last, first), shares)), dtype or floatx())


@operation(_geomspace, untraced=_count_only)
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """Geometrically spaced numbers, with a constant ratio; arguments as `linspace`."""
    return as_dtype(np.geomspace(start, stop, num, endpoint, axis=axis), dtype or floatx())


def _check_indexing(indexing: Any) -> None:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")


def _meshgrid_gradient(dy: Any, y: Any, *x: Any, indexing: str) -> tuple[Any, ...]:
    """Gradients by coordinates: sums over the axes of the others."""
    order = [1, 0, *range(2, len(x))] if indexing == "xy" and len(x) > 1 else range(len(x))
    return tuple(
        np.sum(by, axis=tuple(a for a in range(len(x)) if a != at)).reshape(each.shape)
        for by, at, each in zip(dy, order, x, strict=True)
    )


def _meshgrid_apart(*x: Any, indexing: Any) -> str:
    _check_indexing(indexing)
    return whole(x)


@operation(on_arrays(_meshgrid_gradient), untraced=_meshgrid_apart)
def meshgrid(*x: Any, indexing: Any = "xy") -> Any:
    """Coordinate arrays of a grid, one for each axis.

    Args:
        x: the coordinates along each axis.
        indexing: "xy": the first axis of the results is the second one of the grid; "ij": it is
            the first one.
    """
    _check_indexing(indexing)
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


def _vander_gradient(dy: Any, y: Any, x: Any, N: int | None, increasing: bool) -> Any:
    """Gradient by the numbers: k x^(k - 1) of each power k."""
    powers = np.arange(y.shape[-1]) if increasing else np.arange(y.shape[-1])[::-1]
    return np.sum(dy * powers * np.expand_dims(x, -1) ** np.maximum(powers - 1, 0), axis=-1)


def _vander_apart(x: ArrayLike, N: int | None, increasing: bool) -> str:
    return samples_apart(x, None) if N is None else ""


@tensor_operation(on_arrays(_vander_gradient), untraced=_vander_apart)
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Any:
    """Vandermonde matrix: the powers of x, a row for each number.

    Args:
        x: a vector.
        N: how many powers; None for as many as numbers.
        increasing: whether the lowest power is first.
    """
    return np.vander(np.asarray(x), N, increasing)
