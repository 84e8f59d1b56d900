"""Activation functions, by the instructions of `cdl.activations`.

Those along an axis take several as well where that makes sense; all others work on each element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import activations
from cdl._ir.lowering import Lowering
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import Saved, tensor_operation
from cdl.ops.arrays import Ints, along_samples, axes_of, samples_apart, shape_of
from cdl.ops.lowering import as_last
from cdl.ops.math import logsumexp
from cdl.ops.numpy.arithmetic import subtract
from cdl.ops.numpy.elementary import exp


def _each(name: str) -> Any:
    """Lowering of an elementwise activation."""
    activation = getattr(activations, name)

    def lower(program: Lowering, spec: KerasTensor, x: Any, *options: Any) -> Any:
        named = dict(zip(activation.defaults, options, strict=False))
        return activation.lower(program, x.value, **named)

    return lower


def _run(name: str, x: ArrayLike, *options: Any) -> Any:
    return getattr(activations, name)(np.asarray(x), *options)


@tensor_operation(_each("relu"))
def relu(x: ArrayLike) -> Any:
    """Rectified linear unit, max(x, 0)."""
    array = np.asarray(x)
    return np.maximum(array, 0) if array.dtype.kind in "iu" else _run("relu", array)


@tensor_operation(_each("relu6"))
def relu6(x: ArrayLike) -> Any:
    """Rectified linear unit up to 6: x within [0, 6]; of integers float32."""
    return _run("relu6", x)


@tensor_operation(_each("leaky_relu"))
def leaky_relu(x: ArrayLike, negative_slope: float = 0.2) -> Any:
    """Leaky rectified linear unit: x, but negative_slope * x below 0."""
    return _run("leaky_relu", x, negative_slope)


@tensor_operation(_each("elu"))
def elu(x: ArrayLike, alpha: float = 1.0) -> Any:
    """Exponential linear unit: x, but alpha * (exp(x) - 1) below 0."""
    return _run("elu", x, alpha)


@tensor_operation(_each("selu"))
def selu(x: ArrayLike) -> Any:
    """Scaled exponential linear unit, 1.0507 * elu(x, 1.6733)."""
    return _run("selu", x)


@tensor_operation(_each("celu"))
def celu(x: ArrayLike, alpha: float = 1.0) -> Any:
    """Continuously differentiable ELU: x, but alpha * (exp(x / alpha) - 1) below 0."""
    return _run("celu", x, alpha)


@tensor_operation(_each("gelu"))
def gelu(x: ArrayLike, approximate: bool = True) -> Any:
    """Gaussian error linear unit, x * Phi(x), or its approximation by tanh (`approximate`)."""
    return _run("gelu", x, approximate)


@tensor_operation(_each("silu"))
def silu(x: ArrayLike) -> Any:
    """Sigmoid linear unit (swish), x * sigmoid(x)."""
    return _run("silu", x)


@tensor_operation(_each("sigmoid"))
def sigmoid(x: ArrayLike) -> Any:
    """Logistic sigmoid, 1 / (1 + exp(-x))."""
    return _run("sigmoid", x)


@tensor_operation(_each("log_sigmoid"))
def log_sigmoid(x: ArrayLike) -> Any:
    """Logarithm of the sigmoid, log(sigmoid(x))."""
    return _run("log_sigmoid", x)


@tensor_operation(_each("hard_sigmoid"))
def hard_sigmoid(x: ArrayLike) -> Any:
    """Piecewise linear sigmoid, relu6(x + 3) / 6."""
    return _run("hard_sigmoid", x)


@tensor_operation(_each("hard_silu"))
def hard_silu(x: ArrayLike) -> Any:
    """Hard swish, x * hard_sigmoid(x)."""
    return _run("hard_silu", x)


@tensor_operation(_each("hard_tanh"))
def hard_tanh(x: ArrayLike) -> Any:
    """Piecewise linear tanh: x within [-1, 1]."""
    return _run("hard_tanh", x)


@tensor_operation(_each("softplus"))
def softplus(x: ArrayLike) -> Any:
    """Smooth rectifier, log(1 + exp(x))."""
    return _run("softplus", x)


@tensor_operation(_each("softsign"))
def softsign(x: ArrayLike) -> Any:
    """Softsign function, x / (1 + |x|)."""
    return _run("softsign", x)


@tensor_operation(_each("mish"))
def mish(x: ArrayLike) -> Any:
    """Mish activation, x * tanh(softplus(x))."""
    return _run("mish", x)


@tensor_operation(_each("hard_shrink"))
def hard_shrink(x: ArrayLike, threshold: float = 0.5) -> Any:
    """Hard shrinkage: x where |x| > threshold, else 0."""
    return _run("hard_shrink", x, threshold)


@tensor_operation(_each("soft_shrink"))
def soft_shrink(x: ArrayLike, threshold: float = 0.5) -> Any:
    """Soft shrinkage: x moved towards 0 by the threshold, and 0 within it."""
    return _run("soft_shrink", x, threshold)


@tensor_operation(_each("tanh_shrink"))
def tanh_shrink(x: ArrayLike) -> Any:
    """Tanh shrinkage, x - tanh(x)."""
    return _run("tanh_shrink", x)


@tensor_operation(_each("squareplus"), saved=Saved(statics=("b",)))
def squareplus(x: ArrayLike, b: float = 4) -> Any:
    """Algebraic softplus, (x + sqrt(x^2 + b)) / 2."""
    return _run("squareplus", x, b)


@tensor_operation(_each("sparse_plus"))
def sparse_plus(x: ArrayLike) -> Any:
    """Sparse softplus: 0 up to -1, (x + 1)^2 / 4 up to 1, x beyond."""
    return _run("sparse_plus", x)


@tensor_operation(_each("sparse_sigmoid"))
def sparse_sigmoid(x: ArrayLike) -> Any:
    """Piecewise linear sigmoid: (x + 1) / 2 within [0, 1]."""
    return _run("sparse_sigmoid", x)


@tensor_operation(_each("threshold"))
def threshold(x: ArrayLike, threshold: float, default_value: float) -> Any:
    """Threshold: x where it is above the threshold, else `default_value`."""
    return _run("threshold", x, threshold, default_value)


swish, hard_swish = silu, hard_silu

# --- along an axis ---


def _along(name: str) -> Any:
    """Lowering of an activation along an axis, moved to the end meanwhile."""
    activation = getattr(activations, name)

    def lower(program: Lowering, spec: KerasTensor, x: Any, axis: Any) -> Any:
        return as_last(program, x, axis, lambda value: activation.lower(program, value))

    return lower


def _softmax(program: Lowering, spec: KerasTensor, x: Any, axis: Ints) -> Any:
    axes = axes_of(axis, x.ndim)
    if len(axes) == 1 and not along_samples(x, axes):
        return _along("softmax")(program, spec, x, axes[0])
    return exp(subtract(x, logsumexp(x, axes, True)))


def _log_softmax(program: Lowering, spec: KerasTensor, x: Any, axis: Ints) -> Any:
    axes = axes_of(axis, x.ndim)
    if len(axes) == 1 and not along_samples(x, axes):
        return _along("log_softmax")(program, spec, x, axes[0])
    return subtract(x, logsumexp(x, axes, True))


@tensor_operation(_softmax)
def softmax(x: ArrayLike, axis: int = -1) -> Any:
    """Softmax exp(x) / sum(exp(x)) over an axis, or over several."""
    axes = axes_of(axis, len(shape_of(x)))
    return _run("softmax", x, axes if len(axes) > 1 else axes[0])


@tensor_operation(_log_softmax)
def log_softmax(x: ArrayLike, axis: int = -1) -> Any:
    """Log-softmax x - log(sum(exp(x))) over an axis, or over several."""
    axes = axes_of(axis, len(shape_of(x)))
    return _run("log_softmax", x, axes if len(axes) > 1 else axes[0])


@tensor_operation(_along("sparsemax"), untraced=samples_apart)
def sparsemax(x: ArrayLike, axis: int = -1) -> Any:
    """Sparsemax: the projection of x onto the simplex, along an axis."""
    return _run("sparsemax", x, axis)


@tensor_operation(_along("glu"), untraced=samples_apart)
def glu(x: ArrayLike, axis: int = -1) -> Any:
    """Gated linear unit, a * sigmoid(b), with a and b the halves of x along an axis."""
    if shape_of(x)[axis] % 2:
        raise ValueError(f"glu: axis must have an even size, got {shape_of(x)[axis]}")
    return _run("glu", x, axis)
