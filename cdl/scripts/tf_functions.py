"""Functions of tensors with TensorFlow's names and arguments, by functions of `cdl.ops`.

They take arrays, for which they return tensors, and symbolic tensors, so a loss written with them
is compiled.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops, tree
from cdl._variables.stepping import plain
from cdl.data.texts import holds_texts
from cdl.scripts.tensor import Sizes, Tensor, TensorShape, tensors

# Entries are TensorFlow's name of a function, and after a slash that of `cdl.ops` if it differs.
# Values, here or where the table is used, are TensorFlow's names of the first arguments.
_OF_NUMBERS = """
    abs acos/arccos acosh/arccosh asin/arcsin asinh/arcsinh atan/arctan atanh/arctanh ceil cos cosh
    erf erfc exp expm1 floor log log1p reciprocal round rsqrt sigmoid sign sin sinh sqrt square tan
    tanh negative softplus log_sigmoid logical_not is_nan/isnan is_inf/isinf is_finite/isfinite
    """
_OF_TWO = """
    add subtract multiply divide truediv/true_divide floordiv/floor_divide floormod/mod mod
    atan2/arctan2 maximum minimum equal not_equal greater greater_equal less less_equal
    logical_and logical_or logical_xor
    pow/power divide_no_nan
    """
_REDUCTIONS = """
    reduce_mean/mean reduce_sum/sum reduce_max/max reduce_min/min reduce_prod/prod reduce_std/std
    reduce_variance/var reduce_all/all reduce_any/any reduce_logsumexp/logsumexp
    count_nonzero
    """
_OTHERS = {
    "cast": "x dtype",
    "clip_by_value/clip": "t clip_value_min clip_value_max",
    "concat/concatenate": "values axis",
    "convert_to_tensor": "value dtype",
    "broadcast_to": "input shape",
    "einsum": "",
    "expand_dims": "input axis",
    "eye": "num_rows num_columns",
    "fill/full": "dims value",
    "identity/convert_to_tensor": "input",
    "linspace": "start stop num",
    "ones": "shape dtype",
    "ones_like": "input dtype",
    "rank/ndim": "input",
    "repeat": "input repeats axis",
    "reshape": "tensor shape",
    "reverse/flip": "tensor axis",
    "roll": "input shift axis",
    "saturate_cast": "value dtype",
    "squeeze": "input axis",
    "stack": "values axis",
    "stop_gradient": "input",
    "tensordot": "a b axes",
    "tile": "input multiples",
    "vectorized_map": "fn elems",
    "where": "condition x y",
    "zeros": "shape dtype",
    "zeros_like": "input dtype",
}
_LINALG = {
    "det": "input",
    "inv": "input",
    "cholesky": "input",
    "qr": "input",
    "solve": "matrix rhs",
    "trace": "x",
    "eigh": "tensor",
    "logdet": "matrix",
    "pinv": "a",
}
_NN = {
    **dict.fromkeys(("relu", "relu6", "elu", "selu", "silu", "swish", "softsign"), "features"),
    **dict.fromkeys(("softmax", "log_softmax"), "logits axis"),
    "moments": "x axes",
    "depth_to_space": "input block_size",
    "space_to_depth": "input block_size",
}
# Keywords accepted for the first argument of every function.
_FIRST = ("input_tensor", "input", "tensor", "value", "values", "features", "logits", "x")
# Keywords about nodes of TensorFlow's graphs, which are ignored.
_OF_NODES = ("name", "validate_shape", "optimize")


@functools.cache
def function(name: str, arguments: str = "") -> Callable[..., Any]:
    """Wrap a function of `cdl.ops` to take TensorFlow's keywords and return tensors.

    Args:
        name: its name in `cdl.ops`.
        arguments: TensorFlow's names of the first arguments, separated by spaces.
    """
    here = getattr(ops, name)
    own = [each.name for each in inspect.signature(here).parameters.values()]
    named = dict(zip(arguments.split(), own, strict=False))
    joins = name in ("stack", "concatenate")  # whose results sizes may be read of

    @functools.wraps(here)
    def call(*args: Any, **kwargs: Any) -> Any:
        for each in _OF_NODES:
            kwargs.pop(each, None)
        kwargs = {named.get(key, key): value for key, value in kwargs.items()}
        for key in _FIRST:
            if not args and key in kwargs and own[0] not in kwargs:
                args = (kwargs.pop(key),)
        first = args[0] if args else next(iter(kwargs.values()), None)
        if holds_texts(first):
            return tensors(_OF_TEXTS.get(name, here)(*args, **kwargs))
        leaves = tree.flatten(first) if joins and args else ()
        if leaves and all(type(leaf) in (Sizes, int) for leaf in leaves):
            dtype = next((leaf.dtype for leaf in leaves if type(leaf) is Sizes), np.int32)
            return getattr(np, name)(first, *args[1:], **kwargs).astype(dtype).view(Sizes)
        if name in _of_elements():
            args = tuple(map(stacked, args))
        return tensors(here(*args, **kwargs))

    return call


@functools.cache
def _of_elements() -> frozenset[str]:
    """Functions of `cdl.ops` that take a list of tensors as one tensor."""
    names = f"{_OF_NUMBERS} {_OF_TWO} {_REDUCTIONS} softmax log_softmax".split()
    return frozenset(name.rpartition("/")[2] for name in names)


def stacked(given: Any) -> Any:
    """A list of tensors as one tensor, which records what its elements record."""
    if type(given) in (list, tuple) and any(map(is_tensor, tree.flatten(given))):
        return ops.convert_to_tensor(given)
    return given


# Functions that are used in place of those of `cdl.ops` on arrays of texts.
_OF_TEXTS: dict[str, Callable[..., Any]] = {
    "convert_to_tensor": lambda x, dtype=None: np.asarray(x),
    **{name: getattr(np, name) for name in ("squeeze", "reshape", "stack", "size", "repeat")},
    **{name: getattr(np, name) for name in ("concatenate", "shape", "tile", "where")},
    "expand_dims": lambda x, axis=0: np.expand_dims(x, axis),
    "equal": lambda x1, x2: np.asarray(x1) == np.asarray(x2),
    "not_equal": lambda x1, x2: np.asarray(x1) != np.asarray(x2),
}


def _row(entry: str, arguments: str) -> dict[str, Callable[..., Any]]:
    name, _, here = entry.partition("/")
    return {name: function(here or name, arguments)}


def _rows(entries: str, arguments: str) -> dict[str, Callable[..., Any]]:
    return {k: v for entry in entries.split() for k, v in _row(entry, arguments).items()}


def _table(entries: dict[str, str]) -> dict[str, Callable[..., Any]]:
    return {k: v for entry, names in entries.items() for k, v in _row(entry, names).items()}


def _constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """`tf.constant`: a tensor of a value, broadcast or reshaped to `shape` if given."""
    found = function("convert_to_tensor")(value, dtype)
    if shape is None:
        return found
    number = np.size(found) == 1
    return function("broadcast_to" if number else "reshape")(found, tuple(shape))


def _shape(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """`tf.shape`: a tensor, or a tuple for a symbolic tensor with unknown sizes."""
    sizes = ops.shape(input) if not holds_texts(input) else np.shape(input)
    known = all(isinstance(each, (int, np.integer)) for each in sizes)
    return np.array(sizes, str(out_type)).view(Sizes) if known else sizes


def _size(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """`tf.size`: a tensor, or a symbolic one if a size is unknown."""
    sizes = _shape(input, out_type)
    return (
        np.asarray(np.prod(sizes), sizes.dtype).view(Sizes)
        if isinstance(sizes, Sizes)
        else ops.size(input)
    )


def _range(*args: Any, name: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
    """`tf.range`: numbers from `start` (default 0) to below `limit` in steps of `delta`."""
    names = ("start", "limit", "delta")
    given = dict(zip(names, args, strict=False)) | kwargs
    if "limit" not in given:
        given = {**given, "start": 0, "limit": given.get("start", 0)}
    start, limit, step = given.get("start", 0), given["limit"], given.get("delta", 1)
    return function("arange")(start, limit, step, dtype=dtype)


def _add_n(inputs: Any, name: str | None = None) -> Any:
    """`tf.add_n`: the elementwise sum of the tensors of a list."""
    total = inputs[0]
    for each in inputs[1:]:
        total = total + each
    return tensors(total)


def _place_of(which: str) -> Callable[..., Any]:
    def call(
        input: Any, axis: int | None = None, output_type: Any = None, name: str | None = None
    ) -> Any:
        """`tf.argmax` or `tf.argmin`: indices along an axis, by default the first."""
        places = function(which)(input, axis or 0)
        return places if output_type is None else function("cast")(places, output_type)

    return call


def _running(which: str) -> Callable[..., Any]:
    def call(
        x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None
    ) -> Any:
        """`tf.cumsum` or `tf.math.cumprod`: along an axis, by default the first."""
        x = function("flip")(x, axis) if reverse else x
        found = function(which)(x, axis)
        if exclusive:
            found = found - x if which == "cumsum" else found / x
        return function("flip")(found, axis) if reverse else found

    return call


def _matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: Any = None
) -> Any:
    """`tf.matmul`: the product of matrices, either of which may be transposed first."""
    turned = function("swapaxes")
    a, b = turned(a, -1, -2) if transpose_a else a, turned(b, -1, -2) if transpose_b else b
    return function("matmul")(a, b)


def _transpose(a: Any, perm: Any = None, conjugate: bool = False, name: Any = None) -> Any:
    """`tf.transpose`: permute axes; `conjugate` has no effect on real numbers."""
    return function("transpose")(a, perm)


def _norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool = False, name: Any = None
) -> Any:
    """`tf.norm`: the norm along axes; without `axis`, of all elements as one vector."""
    if ord in ("euclidean", "fro"):
        ord = None
    if axis is not None or ord is None:
        axis = tuple(axis) if isinstance(axis, list) else axis
        return function("norm")(tensor, ord, axis, keepdims)
    sizes = function("abs")(tensor)
    if ord == np.inf:
        return function("max")(sizes, keepdims=keepdims)
    return function("sum")(sizes**ord, keepdims=keepdims) ** (1 / ord)


def _svd(
    tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: Any = None
) -> Any:
    """`tf.linalg.svd`: s, u and v with tensor = u diag(s) v^T."""
    found = function("svd")(tensor, full_matrices, compute_uv)
    if not compute_uv:
        return found
    u, s, turned = found
    return s, u, function("swapaxes")(turned, -1, -2)


def _band_part(input: Any, num_lower: int, num_upper: int, name: Any = None) -> Any:
    """`tf.linalg.band_part`: zero all but some diagonals around the main one; -1 keeps all."""
    found = input if num_lower < 0 else function("triu")(input, -int(num_lower))
    return tensors(found if num_upper < 0 else function("tril")(found, int(num_upper)))


def _squared_difference(x: Any, y: Any, name: str | None = None) -> Any:
    """`tf.math.squared_difference`: ``(x - y) ** 2``, elementwise."""
    return function("square")(function("subtract")(x, y))


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None) -> Any:
    """`tf.math.l2_normalize`: ``x / sqrt(max(sum(x ** 2), epsilon))`` along axes."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    return function("normalize")(x, axis, 2, math.sqrt(epsilon))


def _clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: Any = None) -> Any:
    """`tf.clip_by_norm`: scale t down to an L2 norm of at most `clip_norm`."""
    size = _norm(t, axis=axes, keepdims=True)
    return function("multiply")(t, clip_norm) / function("maximum")(size, clip_norm)


def _global_norm(t_list: Any, name: Any = None) -> Any:
    """`tf.linalg.global_norm`: the L2 norm of all tensors as one vector."""
    return function("sqrt")(_add_n([function("sum")(function("square")(t)) for t in t_list]))


def _clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: Any = None
) -> Any:
    """`tf.clip_by_global_norm`: tensors scaled to a global norm, and the norm before."""
    size = _global_norm(t_list) if use_norm is None else use_norm
    scale = clip_norm / function("maximum")(size, clip_norm)
    return [t * scale for t in t_list], size


def seed_of(seed: Any) -> Any:
    """Convert TensorFlow's seed, one integer or the two of a stateless function, to one."""
    if seed is None or not np.ndim(seed):
        return seed
    return int(np.random.SeedSequence([int(n) for n in seed]).generate_state(1)[0] >> 1)


def is_tensor(x: Any) -> bool:
    """`tf.is_tensor`: True for tensors, variables and symbolic tensors, not for NumPy arrays."""
    from cdl import KerasTensor, Variable

    return isinstance(plain(x), (Tensor, Variable, KerasTensor))


# Names in both `tf` and `tf.math`.
_BOTH = {
    **_rows(_OF_NUMBERS, "x"),
    **_rows(_OF_TWO, "x y"),
    **_rows(_REDUCTIONS, "input_tensor axis keepdims"),
    **{name: _place_of(name) for name in ("argmax", "argmin")},
    **{name: _running(name) for name in ("cumsum", "cumprod")},
    "add_n": _add_n,
}
ROOT: dict[str, Any] = {
    **_BOTH,
    **_table(_OTHERS),
    "clip_by_global_norm": _clip_by_global_norm,
    "clip_by_norm": _clip_by_norm,
    "constant": _constant,
    "is_tensor": is_tensor,
    "matmul": _matmul,
    "newaxis": None,
    "norm": _norm,
    "range": _range,
    "shape": _shape,
    "shape_n": lambda input, out_type="int32", name=None: [_shape(x, out_type) for x in input],
    "size": _size,
    "TensorShape": TensorShape,
    "transpose": _transpose,
}
MATH: dict[str, Any] = {
    **_BOTH,
    "l2_normalize": _l2_normalize,
    "multiply_no_nan": lambda x, y, name=None: function("where")(
        function("equal")(y, 0), 0.0, x * y
    ),
    "softmax": function("softmax", "logits axis"),
    "log_softmax": function("log_softmax", "logits axis"),
    "squared_difference": _squared_difference,
}
MATH |= _rows(
    "segment_sum segment_max unsorted_segment_sum/segment_sum", "data segment_ids num_segments"
)
LINALG: dict[str, Any] = {
    **_table(_LINALG),
    **{name: ROOT[name] for name in ("matmul", "norm", "tensordot", "einsum", "eye")},
    "band_part": _band_part,
    "diag": lambda diagonal, **_: _stacked_diagonals(diagonal),
    "diag_part": lambda input, **_: function("diagonal")(input, 0, -2, -1),
    "global_norm": _global_norm,
    "l2_normalize": _l2_normalize,
    "matvec": lambda a, b, **_: function("squeeze")(_matmul(a, function("expand_dims")(b, -1)), -1),
    "svd": _svd,
}
NN: dict[str, Any] = {
    **_table(_NN),
    **{name: _BOTH[name] for name in ("sigmoid", "tanh", "softplus", "log_sigmoid")},
    "l2_normalize": _l2_normalize,
}


def _stacked_diagonals(diagonal: Any) -> Any:
    """`tf.linalg.diag`: diagonal matrices from vectors along the last axis."""
    size = np.shape(diagonal)[-1]
    return function("expand_dims")(diagonal, -1) * np.eye(size, dtype="float32")
