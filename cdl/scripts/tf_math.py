"""Further functions of TensorFlow, of diagonals, segments, slices, and gradients of one's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import ops
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import function


def _set_diag(input: Any, diagonal: Any, name: Any = None) -> Any:
    """`tf.linalg.set_diag`: matrices with another main diagonal."""
    rows, columns = np.shape(input)[-2:]
    lines = function("expand_dims")(diagonal, -1 if rows <= columns else -2)
    return function("where")(np.eye(rows, columns, dtype=bool), lines, input)


def _segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: Any = None) -> Any:
    """`tf.math.unsorted_segment_mean`: means of the rows of each segment; 0 for none."""
    total = function("segment_sum")(data, segment_ids, num_segments)
    one = np.ones(np.shape(segment_ids), "float32")
    counts = function("segment_sum")(one, segment_ids, num_segments)
    counts = function("reshape")(counts, (-1, *(1,) * (len(np.shape(data)) - 1)))
    return total / function("maximum")(counts, 1.0)


def _scalar_mul(scalar: Any, x: Any, name: Any = None) -> Any:
    """`tf.scalar_mul`: a tensor times a number."""
    return function("multiply")(x, scalar)


def _norm(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: Any = None) -> Any:
    """`tf.math.reduce_euclidean_norm`: square roots of sums of squares along axes."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    return function("sqrt")(function("sum")(function("square")(input_tensor), axis, keepdims))


def _xlogy(x: Any, y: Any, name: Any = None) -> Any:
    """`tf.math.xlogy`: ``x * log(y)``, and 0 where x is 0."""
    is_zero = function("equal")(x, 0)
    return function("where")(is_zero, 0.0, x * function("log")(function("where")(is_zero, 1.0, y)))


def _slice(input_: Any, begin: Sequence[int], size: Sequence[int], name: Any = None) -> Any:
    """`tf.slice`: a block from `begin` on; a size of -1 goes to the end."""
    pairs = zip(begin, size, strict=True)
    whole = function("convert_to_tensor")(input_)
    return tensors(whole[tuple(slice(a, None if n == -1 else a + n) for a, n in pairs)])


def _ensure_shape(x: Any, shape: Any, name: Any = None) -> Any:
    """`tf.ensure_shape`: the tensor, whose shape is checked; None stands for any size."""
    sizes = np.shape(x)
    fits = len(sizes) == len(shape) and all(
        None in pair or len({*pair}) == 1 for pair in zip(sizes, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"tf.ensure_shape: shape must be {tuple(shape)}, got {tuple(sizes)}")
    return x


def _turned(a: Any, **options: Any) -> Any:
    """`tf.linalg.matrix_transpose`: matrices whose last two axes change places."""
    return function("swapaxes")(a, -1, -2)


def _weighted_crossentropy(labels: Any, logits: Any, pos_weight: Any, name: Any = None) -> Any:
    """`tf.nn.weighted_cross_entropy_with_logits`: sigmoid crossentropy, positives weighted."""
    labels, logits = map(function("convert_to_tensor"), (labels, logits))
    weight = 1.0 + (pos_weight - 1.0) * labels
    return (1.0 - labels) * logits + weight * function("softplus")(-logits)


def _polyval(coeffs: Sequence[Any], x: Any, name: Any = None) -> Any:
    """`tf.math.polyval`: a polynomial, by Horner's rule from the highest power on."""
    x = function("convert_to_tensor")(x)
    return functools.reduce(lambda value, each: value * x + each, coeffs, function("zeros_like")(x))


def _solve_triangle(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: Any = None
) -> Any:
    """`tf.linalg.triangular_solve`: x of matrix x = rhs, by one triangle of the matrix."""
    matrix, lower = (_turned(matrix), not lower) if adjoint else (matrix, lower)
    return function("solve_triangular")(matrix, rhs, lower)


def _custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.custom_gradient`: `cdl.ops.custom_gradient`, giving tensors.

    Args:
        f: gives a value and a function of the gradient by it.
    """
    call = ops.custom_gradient(f)

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        return tensors(call(*args, **kwargs))

    return run


ROOT: dict[str, Callable[..., Any]] = {
    "custom_gradient": _custom_gradient,
    "ensure_shape": _ensure_shape,
    "realdiv": function("true_divide", "x y"),
    "scalar_mul": _scalar_mul,
    "searchsorted": function("searchsorted", "sorted_sequence values side"),
    "slice": _slice,
}
MATH: dict[str, Callable[..., Any]] = {
    "erfinv": function("erfinv", "x"),
    "polyval": _polyval,
    "reciprocal_no_nan": lambda x, name=None: function("divide_no_nan")(1.0, x),
    "reduce_euclidean_norm": _norm,
    "scalar_mul": _scalar_mul,
    "softsign": function("softsign", "features"),
    "unsorted_segment_max": function("segment_max", "data segment_ids num_segments"),
    "unsorted_segment_mean": _segment_mean,
    "xlogy": _xlogy,
}
LINALG: dict[str, Callable[..., Any]] = {
    "adjoint": _turned,
    "lstsq": function("lstsq", "matrix rhs"),
    "matrix_transpose": _turned,
    "set_diag": _set_diag,
    "triangular_solve": _solve_triangle,
}
NN: dict[str, Callable[..., Any]] = {"weighted_cross_entropy_with_logits": _weighted_crossentropy}
