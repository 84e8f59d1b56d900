"""Complex numbers on arrays, and their parts, which symbolic numbers have too, as real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir.elementwise import Expression, apply
from cdl._ir.lowering import Lowering
from cdl._tracing.array_call import on_arrays
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, pair_operation, tensor_operation
from cdl.ops import arrays
from cdl.ops.lowering import elementwise, mapped


def _zero(program: Lowering, spec: KerasTensor, x: Any) -> Any:
    return mapped(program, spec, lambda x: x * 0.0, np.zeros(spec.sample_shape))


def _same(x: Expression) -> Expression:
    return x


@tensor_operation(elementwise(_same))
def real(x: ArrayLike) -> Any:
    """Real part of each number."""
    return np.real(np.asarray(x))


@tensor_operation(_zero)
def imag(x: ArrayLike) -> Any:
    """Imaginary part of each number, 0 of a real one."""
    return np.imag(np.asarray(x))


@tensor_operation(elementwise(_same))
def conjugate(x: ArrayLike) -> Any:
    """Complex conjugate: the imaginary part with the other sign."""
    array = np.asarray(x)
    return np.conj(array) if array.dtype.kind == "c" else array


conj = conjugate


@tensor_operation(elementwise(lambda x: apply("atan2", 0.0, x)))
def angle(x: ArrayLike) -> Any:
    """Angle of each number, from -pi to pi; of real ones 0, or pi below 0."""
    return np.angle(arrays.real(x))


@tensor_operation(on_arrays(), saved=Saved(submodule="math"))
def view_as_complex(x: ArrayLike) -> Any:
    """Complex numbers of real and imaginary parts along the last axis; on arrays.

    Raises:
        ValueError: the last axis is not of size 2.
    """
    array = arrays.real(x)
    if not array.shape or array.shape[-1] != 2:
        raise ValueError(f"view_as_complex: x must have a last axis of 2, got shape {array.shape}")
    return (array[..., 0] + 1j * array[..., 1]).astype(np.complex64)


@tensor_operation(on_arrays(), saved=Saved(submodule="math"))
def view_as_real(x: ArrayLike) -> Any:
    """Real and imaginary parts along a new last axis; on arrays."""
    return np.stack([np.real(np.asarray(x)), np.imag(np.asarray(x))], axis=-1)


@pair_operation(
    on_arrays(),
    saved=Saved(submodule="nn"),
    outline=lambda abs_, _: abs_.like() if isinstance(abs_, KerasTensor) else None,
)
def polar(abs_: ArrayLike, angle: ArrayLike) -> Any:
    """Complex numbers of an absolute value and an angle; on arrays.

    Args:
        abs_: the absolute values.
        angle: the angles, in radians.
    """
    size, turn = arrays.real(abs_), arrays.real(angle)
    return (size * np.cos(turn) + 1j * size * np.sin(turn)).astype(np.complex64)
