"""Further functions of TensorFlow, of diagonals, segments, slices, and gradients of one's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import KerasTensor, ops
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import function
from cdl.scripts.tf_gathering import boolean_mask
from cdl.scripts.tf_io import ERRORS


def _set_diag(input: Any, diagonal: Any, name: Any = None) -> Any:
    """`tf.linalg.set_diag`: matrices with another main diagonal."""
    rows, columns = np.shape(input)[-2:]
    lines = function("expand_dims")(diagonal, -1 if rows <= columns else -2)
    return function("where")(np.eye(rows, columns, dtype=bool), lines, input)


def _segment_mean(data: Any, segment_ids: Any, num_segments: Any = None, name: Any = None) -> Any:
    """`tf.math.unsorted_segment_mean`: means of the rows of each segment; 0 for none."""
    return _segment_shares(data, segment_ids, num_segments, lambda counts: counts)


def _segment_root(data: Any, segment_ids: Any, num_segments: Any = None, name: Any = None) -> Any:
    """`tf.math.unsorted_segment_sqrt_n`: sums of segments by the roots of their numbers of rows."""
    return _segment_shares(data, segment_ids, num_segments, function("sqrt"))


def _segment_shares(data: Any, ids: Any, n: Any, divisor: Callable[..., Any]) -> Any:
    total = function("segment_sum")(data, ids, n)
    counts = function("segment_sum")(np.ones(np.shape(ids), "float32"), ids, n)
    counts = function("reshape")(counts, (-1, *(1,) * (len(np.shape(data)) - 1)))
    return total / divisor(function("maximum")(counts, 1.0))


def _partition(data: Any, partitions: Any, num_partitions: int, name: Any = None) -> list[Any]:
    """`tf.dynamic_partition`: slices of a tensor, in lists by number."""
    parts = np.asarray(partitions)
    return [boolean_mask(data, parts == i) for i in range(num_partitions)]


def _stitch(indices: Sequence[Any], data: Sequence[Any], name: Any = None) -> Any:
    """`tf.dynamic_stitch`: one tensor of slices whose places are given."""
    places = np.concatenate([np.ravel(each) for each in indices])
    behind = np.shape(data[0])[np.ndim(indices[0]) :]
    lines = function("concatenate")(
        [function("reshape")(each, (-1, *behind)) for each in data], axis=0
    )
    last = np.zeros(places.max(initial=-1) + 1, np.int64)
    last[places] = np.arange(len(places))
    return function("take")(lines, last, axis=0)


def _eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = None, **_: Any
) -> Any:
    """`tf.eye`: an identity matrix, or as many as `batch_shape` says."""
    one = function("eye")(num_rows, num_columns, dtype=dtype)
    whole = () if batch_shape is None else tuple(map(int, batch_shape))
    return function("broadcast_to")(one, (*whole, *one.shape)) if whole else one


def _lgamma(x: Any, name: Any = None) -> Any:
    """`tf.math.lgamma` of positive numbers: Stirling's series for x + 7, less logarithms."""
    x = function("convert_to_tensor")(x)
    z = x + 7.0
    series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / (z * z)) / (z * z)) / z
    log = function("log")
    below = sum(log(x + float(k)) for k in range(1, 7)) + log(x)
    return (z - 0.5) * log(z) - z + 0.9189385332046727 + series - below


def _digamma(x: Any, name: Any = None) -> Any:
    """`tf.math.digamma` of positive numbers: the derivative of `lgamma`."""
    x = function("convert_to_tensor")(x)
    z = x + 7.0
    series = (1.0 / 12.0 - (1.0 / 120.0 - 1.0 / 252.0 / (z * z)) / (z * z)) / (z * z)
    below = sum(1.0 / (x + float(k)) for k in range(7))
    return function("log")(z) - 0.5 / z - series - below


def _lbeta(x: Any, name: Any = None) -> Any:
    """`tf.math.lbeta`: logarithms of the beta function, along the last axis."""
    return function("sum")(_lgamma(x), axis=-1) - _lgamma(function("sum")(x, axis=-1))


def _normalized(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: Any = None) -> Any:
    """`tf.linalg.normalize`: a tensor over its norm, and the norm."""
    norm = function("norm")(tensor, ord=2 if ord == "euclidean" else ord, axis=axis, keepdims=True)
    return function("divide")(tensor, norm), norm


def _assert(condition: Any, data: Any, summarize: Any = None, name: Any = None) -> None:
    """`tf.debugging.Assert`: InvalidArgumentError unless all of a condition is true."""
    if not np.all(condition):
        raise ERRORS["InvalidArgumentError"](f"tf.Assert: condition must be true, got {data}")


def _zero_fraction(value: Any, name: Any = None) -> Any:
    """`tf.math.zero_fraction`: the share of elements that are 0."""
    return function("mean")(function("cast")(function("equal")(value, 0), "float32"))


def _passed_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.grad_pass_through`: a function whose gradient is that of its argument."""
    stop = function("stop_gradient")
    return lambda x: x + stop(f(x) - x)


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
    "Assert": _assert,
    "broadcast_dynamic_shape": lambda x, y: tensors(np.asarray(np.broadcast_shapes(x, y))),
    "dynamic_partition": _partition,
    "dynamic_stitch": _stitch,
    "eye": _eye,
    "grad_pass_through": _passed_through,
    "identity_n": lambda input, name=None: list(map(function("convert_to_tensor"), input)),
    "is_symbolic_tensor": lambda tensor: isinstance(tensor, KerasTensor),
    "recompute_grad": lambda f: f,
    "unravel_index": function("unravel_index", "indices dims"),
    "custom_gradient": _custom_gradient,
    "ensure_shape": _ensure_shape,
    "realdiv": function("true_divide", "x y"),
    "scalar_mul": _scalar_mul,
    "searchsorted": function("searchsorted", "sorted_sequence values side"),
    "slice": _slice,
}
MATH: dict[str, Callable[..., Any]] = {
    "accumulate_n": lambda inputs, **_: functools.reduce(function("add"), inputs),
    "digamma": _digamma,
    "invert_permutation": function("argsort", "x"),
    "lbeta": _lbeta,
    "lgamma": _lgamma,
    "rint": function("round", "x"),
    "segment_mean": _segment_mean,
    "segment_min": function("segment_min", "data segment_ids"),
    "segment_prod": function("segment_prod", "data segment_ids"),
    "unsorted_segment_min": function("segment_min", "data segment_ids num_segments"),
    "unsorted_segment_prod": function("segment_prod", "data segment_ids num_segments"),
    "unsorted_segment_sqrt_n": _segment_root,
    "zero_fraction": _zero_fraction,
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
    "cross": function("cross", "a b"),
    "eigvalsh": lambda tensor, name=None: function("eigh")(tensor)[0],
    "eye": _eye,
    "normalize": _normalized,
    "slogdet": function("slogdet", "input"),
    "tensor_diag": function("diag", "diagonal"),
    "tensor_diag_part": function("diag", "input"),
    "lstsq": function("lstsq", "matrix rhs"),
    "matrix_transpose": _turned,
    "set_diag": _set_diag,
    "triangular_solve": _solve_triangle,
}
NN: dict[str, Callable[..., Any]] = {
    "zero_fraction": _zero_fraction,
    "weighted_cross_entropy_with_logits": _weighted_crossentropy,
}
