"""Normalizations: moments, norms, batch, layer and root mean square normalization."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.errors import warn
from cdl._common.validation import flag
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, operation, pair_operation, tensor_operation
from cdl.config import epsilon as default_epsilon
from cdl.ops.arrays import Ints, axes_of, shape_of
from cdl.ops.core.tensors import cast
from cdl.ops.linalg import norm, square_as_float
from cdl.ops.math import rsqrt
from cdl.ops.numpy.arithmetic import add, divide, maximum, multiply, square, subtract
from cdl.ops.numpy.elementary import log10
from cdl.ops.numpy.reductions import mean as mean_of
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.reductions import var
from cdl.ops.numpy.shapes import reshape


@operation(saturates=True)
def moments(x: ArrayLike, axes: Ints, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Mean and variance over axes; of float16 its largest number at most.

    Args:
        x: numbers.
        axes: an axis, or several.
        keepdims: whether the axes stay, with size 1.
        synchronized: not supported.
    """
    if synchronized:
        raise ValueError("moments: synchronized must be False, got True")
    return mean_of(x, axes, keepdims), var(x, axes, keepdims)


def _order(x: ArrayLike, axis: Ints, order: Any, epsilon: float) -> tuple[Any, ...]:
    if not isinstance(order, (int, np.integer)) or order < 1:
        raise ValueError(f"normalize: order must be an int of at least 1, got {order!r}")
    return x, axis, order, epsilon


@tensor_operation(prepare=_order)
def normalize(x: ArrayLike, axis: int = -1, order: Any = 2, epsilon: float | None = None) -> Any:
    """L2 or other normalization: x over its norm along an axis, at least `epsilon`.

    Args:
        x: numbers.
        axis: along which, or several.
        order: p of the p-norm, an int of at least 1.
        epsilon: 1e-7 unless given.
    """
    least = default_epsilon() if epsilon is None else epsilon
    if getattr(x, "dtype", None) == "float16":  # which has no square of 1e-7
        return cast(normalize(cast(x, "float32"), axis, order, least), "float16")
    if order == 2:
        return multiply(x, rsqrt(maximum(total(square_as_float(x), axis, True), least * least)))
    return divide(x, maximum(norm(x, order, axis, True), least))


def _goes_into(got: Any, shape: Any) -> bool:
    """Whether a shape broadcasts to another one, of which open sizes fit any."""
    pairs = zip(reversed(got), reversed(shape), strict=False)
    return len(got) <= len(shape) and all(n == 1 or m in (None, n) for n, m in pairs)


def _placed(name: str, part: Any, axes: tuple[int, ...], shape: Any) -> Any:
    """Factor or shift for some axes, with axes of size 1 for the others; or one for all axes.

    That of the last axis alone may have any shape that broadcasts, as in Keras. ValueError if there
    is not one for each place along the axes.
    """
    ndim, got = len(shape), shape_of(part)
    if len(got) == ndim > 1:
        return part
    sizes = tuple(shape[a] for a in axes)
    broadcasts = axes == (ndim - 1,) and got != sizes
    if broadcasts and _goes_into(got, shape):
        return part
    if None not in (*sizes, *got) and (broadcasts or prod(got) != prod(sizes)):
        raise ValueError(
            f"{name} must have shape {sizes}, one for each place along the axes, or {ndim} axes, "
            f"got shape {got}"
        )
    return reshape(part, [shape[a] if a in axes else 1 for a in range(ndim)])


@tensor_operation(saved=Saved("BatchNorm"))
def batch_normalization(
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    axis: int,
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    epsilon: float = 1e-3,
) -> Any:
    """Batch normalization (x - mean) / sqrt(variance + epsilon) * scale + offset.

    Args:
        x: numbers.
        mean: one for each place along the axis.
        variance: likewise.
        axis: along which they are.
        offset: likewise; None for 0.
        scale: likewise; None for 1.
        epsilon: a small number.
    """
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    vectors = {"mean": mean, "variance": variance, "offset": offset, "scale": scale}
    n = shape[axes[0]]
    for name, part in vectors.items():
        if part is not None and None not in (n, *shape_of(part)) and shape_of(part) != (n,):
            raise ValueError(
                f"batch_normalization: `{name}` must be a vector of length {n}, got shape "
                f"{shape_of(part)}"
            )

    def placed(part: Any) -> Any:
        return _placed("batch_normalization: a vector", part, axes, shape)

    factor = rsqrt(add(placed(variance), epsilon))
    if scale is not None:
        factor = multiply(factor, placed(scale))
    y = multiply(subtract(x, placed(mean)), factor)
    return y if offset is None else add(y, placed(offset))


@tensor_operation(saved=Saved("LayerNorm"))
def layer_normalization(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    axis: int = -1,
    epsilon: float | None = None,
    *,
    rms_scaling: bool = False,
) -> Any:
    """Layer normalization (x - mean) / sqrt(variance + epsilon) * gamma + beta, by sample.

    Args:
        x: numbers.
        gamma: one for each place along the axes, or of as many axes as x; None for 1.
        beta: likewise; None for 0.
        axis: an axis, or several, over which mean and variance are.
        epsilon: 1e-7 unless given.
        rms_scaling: whether x itself is divided, not x - mean, and beta left out; deprecated, as in
            Keras: `rms_normalization` divides by the root of the mean square.
    """
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    least = default_epsilon() if epsilon is None else epsilon
    centered = subtract(x, mean_of(x, axes, True))
    if flag("layer_normalization", "rms_scaling", rms_scaling):
        warn(
            "layer_normalization: you passed `rms_scaling=True`, which is deprecated: it divides "
            "by the standard deviation; ops.rms_normalization divides by the root mean square"
        )
    scaled = x if rms_scaling else centered
    y = multiply(scaled, rsqrt(add(mean_of(square(centered), axes, True), least)))
    if gamma is not None:
        y = multiply(y, _placed("layer_normalization: gamma", gamma, axes, shape))
    if beta is not None and not rms_scaling:
        y = add(y, _placed("layer_normalization: beta", beta, axes, shape))
    return y


@tensor_operation(saved=Saved("RMSNorm", by_name=("scale",)))
def rms_normalization(
    x: ArrayLike, scale: ArrayLike | None = None, axis: int = -1, epsilon: float | None = None
) -> Any:
    """Root mean square normalization x / sqrt(mean(x^2) + epsilon) * scale.

    Args:
        x: numbers.
        scale: one for each place along the axes, or of as many axes as x; None for 1.
        axis: an axis, or several, over which the mean is.
        epsilon: 1e-7 unless given.
    """
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    least = default_epsilon() if epsilon is None else epsilon
    y = multiply(x, rsqrt(add(mean_of(square_as_float(x), axes, True), least)))
    if scale is not None:
        y = multiply(y, _placed("rms_normalization: scale", scale, axes, shape))
    return y


def _psnr_outline(x1: Any, x2: Any, _: float) -> KerasTensor | None:
    """Symbolic number for tensors of as many axes, whose sizes are compared at run time."""
    alike = len(shape_of(x1)) == len(shape_of(x2))
    return KerasTensor((), rows_per_sample=0) if alike else None


@pair_operation(saved=Saved("PSNR"), outline=_psnr_outline)
def psnr(x1: ArrayLike, x2: ArrayLike, max_val: float) -> Any:
    """Peak signal-to-noise ratio: 20 log10(max_val) - 10 log10(mean((x1 - x2)^2)).

    Args:
        x1: numbers.
        x2: others of the same shape.
        max_val: the largest number that there could be.
    """
    if shape_of(x1) != shape_of(x2):
        raise ValueError(f"psnr: x1 and x2 must have one shape, got {shape_of(x1)}, {shape_of(x2)}")
    error = mean_of(square_as_float(subtract(x1, x2)))
    return subtract(20.0 * math.log10(max_val), multiply(log10(error), 10.0))
