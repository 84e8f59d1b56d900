"""What of TensorFlow itself the scripts around Keras call, by cdl's own.

Functions on tensors are those of `cdl.ops` under TensorFlow's names, so a loss written with them is
compiled. What is not here (`tf.GradientTape`, `tf.image`) is an error that names it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import config
from cdl.data.texts import holds_texts
from cdl.scripts.tensor import Tensor, tensors
from cdl.scripts.tf_data import DATA, Dataset, TensorSpec
from cdl.scripts.tf_strings import STRINGS

# What TensorFlow of that time says it is, and that it is cdl.
TENSORFLOW = "2.21.0+cdl"

_MATH = (
    "abs acos asin atan atan2 ceil cos cosh erf exp expm1 floor log log1p maximum minimum round "
    "rsqrt sigmoid sign sin sinh sqrt square tan tanh add subtract multiply divide equal not_equal "
    "greater greater_equal less less_equal logical_and logical_or logical_not top_k"
)
_OTHER_NAMES = {
    "acos": "arccos",
    "asin": "arcsin",
    "atan": "arctan",
    "atan2": "arctan2",
    "pow": "power",
    "is_nan": "isnan",
    "is_inf": "isinf",
    "is_finite": "isfinite",
    "reduce_mean": "mean",
    "reduce_sum": "sum",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_variance": "var",
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "concat": "concatenate",
    "range": "arange",
    "clip_by_value": "clip",
    "constant": "convert_to_tensor",
    "identity": "convert_to_tensor",
    "fill": "full",
    "rank": "ndim",
    "reverse": "flip",
}
_WHOLE = (
    "cast convert_to_tensor expand_dims eye linspace one_hot ones ones_like reshape shape squeeze "
    "stack stop_gradient tile where zeros zeros_like tensordot einsum "
    "broadcast_to is_tensor meshgrid repeat roll size"
)
_NN = (
    "relu relu6 elu selu gelu silu swish softmax log_softmax softplus softsign sigmoid tanh moments"
)
_LINALG = "det inv cholesky qr solve trace einsum tensordot eye"
_DTYPES = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"


class _Attribute:
    """An attribute that is such an array when it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, thing: Any, cls: type) -> Any:
        return self if thing is None else tensors(vars(thing).get(self.name))

    def __set__(self, thing: Any, value: Any) -> None:
        vars(thing)[self.name] = value


def _giving_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return tensors(function(*args, **kwargs))

    return call


def _giving_tensors_one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any) -> Any:
        return map(tensors, function(self))

    return call


def _of_data_set(self: Any, name: str) -> Any:
    """An attribute of an iterable that a data set of `tf.data` would have in its place."""
    if name.startswith("_"):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    return getattr(Dataset(lambda: iter(self), len(self)), name)


@functools.cache
def have_data_sets() -> None:
    """Have what reads series and folders be a data set of `tf.data` to a script from now on."""
    from cdl.utils.directory_files import DirectoryFiles
    from cdl.utils.timeseries import Windows

    data_sets: tuple[Any, ...] = (Windows, DirectoryFiles)
    for each in data_sets:
        each.__iter__ = _giving_tensors_one_by_one(each.__iter__)
        each.__getattr__ = _of_data_set


@functools.cache
def have_tensors() -> None:
    """Have what layers, models, losses and metrics give to a script have `numpy()` from now on."""
    from cdl.layers import Layer, Normalization
    from cdl.layers.preprocessing.host_layer import HostLayer
    from cdl.losses import Loss
    from cdl.metrics import Metric
    from cdl.models import Model

    have_data_sets()
    called: tuple[Any, ...] = (Layer, HostLayer, Model, Loss)
    for cls in called:
        cls.__call__ = _giving_tensors(cls.__call__)
    for name in ("mean", "variance"):
        setattr(Normalization, name, _Attribute(name))
    bases: tuple[Any, ...] = (Loss, Metric)
    for each in bases:
        for sub in _below(each):
            for name in {"__call__", "result"} & vars(sub).keys():
                setattr(sub, name, _giving_tensors(vars(sub)[name]))


def _below(cls: Any) -> list[Any]:
    return [each for sub in cls.__subclasses__() for each in (sub, *_below(sub))]


def _function(name: str) -> Callable[..., Any]:
    """A function of `cdl.ops` by TensorFlow's name, which may call its first argument `input`."""
    from cdl import ops

    function = getattr(ops, _OTHER_NAMES.get(name, name))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)  # of a node in TensorFlow's graphs, which are not there
        for key in ("input_tensor", "input", "tensor", "value", "values", "features", "logits"):
            if key in kwargs and not args:
                args = (kwargs.pop(key),)
        if args and holds_texts(args[0]):
            return tensors(_OF_TEXTS.get(function.__name__, function)(*args, **kwargs))
        return tensors(function(*args, **kwargs))

    return call


# What texts can be given to, in place of the functions of numbers.
_OF_TEXTS: dict[str, Callable[..., Any]] = {
    "convert_to_tensor": lambda value, dtype=None: np.asarray(value),
    **{name: getattr(np, name) for name in ("expand_dims", "squeeze", "reshape", "stack", "size")},
    **{name: getattr(np, name) for name in ("concatenate", "shape", "repeat", "tile")},
}


def _add_n(inputs: Any, name: str | None = None) -> Any:
    """`tf.add_n`: the sum of the tensors of a list."""
    del name
    total = inputs[0]
    for each in inputs[1:]:
        total = total + each
    return tensors(total)


def _place_of(function: str) -> Callable[..., Any]:
    def call(
        input: Any, axis: int | None = None, output_type: Any = None, name: str | None = None
    ) -> Any:
        """`tf.argmax` and `tf.argmin`: along the first axis unless told otherwise."""
        places = _function(function)(input, axis or 0)
        return places if output_type is None else _function("cast")(places, output_type)

    return call


def _running(function: str) -> Callable[..., Any]:
    def call(x: Any, axis: int = 0, name: str | None = None) -> Any:
        """`tf.cumsum` and `tf.math.cumprod`: along the first axis unless told otherwise."""
        return _function(function)(x, axis)

    return call


def _matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: Any = None
) -> Any:
    """`tf.matmul`: of the matrices as they are, or turned over."""
    turned = _function("swapaxes")
    a, b = turned(a, -1, -2) if transpose_a else a, turned(b, -1, -2) if transpose_b else b
    return _function("matmul")(a, b)


def _transpose(a: Any, perm: Any = None, conjugate: bool = False, name: Any = None) -> Any:
    """`tf.transpose`; of real numbers, which are their own conjugates."""
    return _function("transpose")(a, perm)


def _norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool = False, name: Any = None
) -> Any:
    """`tf.norm`: without `axis` that of all numbers as one vector, whatever `ord` is."""
    if ord in ("euclidean", "fro"):
        ord = None
    if axis is not None or ord is None:
        axis = tuple(axis) if isinstance(axis, list) else axis
        return _function("norm")(tensor, ord, axis, keepdims)
    sizes = _function("abs")(tensor)
    if ord == np.inf:
        return _function("max")(sizes, keepdims=keepdims)
    return _function("sum")(sizes**ord, keepdims=keepdims) ** (1 / ord)


def _svd(
    tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: Any = None
) -> Any:
    """`tf.linalg.svd`: s, u and v, which u diag(s) v^T makes again the matrices of."""
    found = _function("svd")(tensor, full_matrices, compute_uv)
    if not compute_uv:
        return found
    u, s, turned = found
    return s, u, _function("swapaxes")(turned, -1, -2)


def _leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    """`tf.nn.leaky_relu`."""
    del name
    return _function("leaky_relu")(features, alpha)


def _squared_difference(x: Any, y: Any, name: str | None = None) -> Any:
    """`tf.math.squared_difference`."""
    del name
    return _function("square")(x - y)


def _gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: int | None = None,
    name: str | None = None,
) -> Any:
    """`tf.gather`: along the first axis unless told otherwise."""
    return _function("take")(params, indices, axis=axis or 0)


def _split(
    value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: Any = None
) -> Any:
    """`tf.split`: into so many equal parts, or into parts of these sizes; -1 is what is left."""
    parts = num_or_size_splits
    if np.ndim(parts):
        sizes = [int(size) for size in parts]
        if -1 in sizes:
            sizes[sizes.index(-1)] = np.shape(value)[axis] - sum(sizes) - 1
        parts = [int(end) for end in np.cumsum(sizes)[:-1]]
    return _function("split")(value, parts, axis=axis)


def _unstack(value: Any, num: int | None = None, axis: int = 0, name: str | None = None) -> Any:
    """`tf.unstack`."""
    return _function("unstack")(value, num, axis)


def _l2_loss(t: Any, name: str | None = None) -> Any:
    """`tf.nn.l2_loss`: half the sum of the squares."""
    return _function("sum")(_function("square")(t)) / 2


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None) -> Any:
    """`tf.math.l2_normalize`."""
    squares = _function("sum")(_function("square")(x), axis=axis, keepdims=True)
    return x * _function("rsqrt")(_function("maximum")(squares, epsilon))


def _sigmoid_crossentropy(labels: Any = None, logits: Any = None, name: Any = None) -> Any:
    """`tf.nn.sigmoid_cross_entropy_with_logits`: ``max(x, 0) - x z + log(1 + exp(-|x|))``."""
    rest = _function("log1p")(_function("exp")(-_function("abs")(logits)))
    return _function("relu")(logits) - logits * labels + rest


def _softmax_crossentropy(
    labels: Any = None, logits: Any = None, axis: int = -1, name: Any = None
) -> Any:
    """`tf.nn.softmax_cross_entropy_with_logits`."""
    return -_function("sum")(labels * _function("log_softmax")(logits, axis=axis), axis=axis)


def _as_it_is(func: Any = None, **options: Any) -> Any:
    """`tf.function`: a decorator; cdl compiles what it trains without being told."""
    return func if callable(func) else _as_it_is


def _set_seed(seed: int) -> None:
    """`tf.random.set_seed`: the seed of all that cdl draws."""
    from cdl.random import set_random_seed

    set_random_seed(seed)


def _normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, **kwargs: Any) -> Any:
    """`tf.random.normal`."""
    from cdl import random

    return tensors(random.normal(shape, mean, stddev, **kwargs))


def _uniform(shape: Any, minval: float = 0.0, maxval: float = 1.0, **kwargs: Any) -> Any:
    """`tf.random.uniform`."""
    from cdl import random

    return tensors(random.uniform(shape, minval, maxval, **kwargs))


def _variable(initial_value: Any, trainable: bool = True, **options: Any) -> Any:
    """`tf.Variable`."""
    from cdl import Variable

    return Variable(initial_value, trainable=trainable, **options)


def _devices(device_type: str | None = None) -> list[Any]:
    """`tf.config.list_physical_devices`: cdl knows no GPU."""
    return []


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Settings of what cdl does not have."""


# What `tf` and `tf.math` have.
_OF_BOTH = {
    **{name: _place_of(name) for name in ("argmax", "argmin")},
    **{name: _running(name) for name in ("cumsum", "cumprod")},
}

# Modules, and what each has beside the modules within it.
MODULES: dict[str, dict[str, Any]] = {
    "tensorflow": {
        "__version__": TENSORFLOW,
        "get_logger": lambda: logging.getLogger("cdl"),
        "executing_eagerly": lambda: True,
        "device": config.device,
        "function": _as_it_is,
        "add_n": _add_n,
        **_OF_BOTH,
        "matmul": _matmul,
        "transpose": _transpose,
        "norm": _norm,
        "gather": _gather,
        "split": _split,
        "unstack": _unstack,
        "Tensor": Tensor,
        "Variable": _variable,
        "TensorSpec": TensorSpec,
        "string": "string",
        **{name: name for name in _DTYPES.split()},
    },
    "tensorflow.math": {
        **_OF_BOTH,
        "squared_difference": _squared_difference,
        "l2_normalize": _l2_normalize,
    },
    "tensorflow.nn": {
        "leaky_relu": _leaky_relu,
        "l2_loss": _l2_loss,
        "l2_normalize": _l2_normalize,
        "sigmoid_cross_entropy_with_logits": _sigmoid_crossentropy,
        "softmax_cross_entropy_with_logits": _softmax_crossentropy,
        "embedding_lookup": _gather,
    },
    "tensorflow.strings": dict(STRINGS),
    "tensorflow.linalg": {
        "l2_normalize": _l2_normalize,
        "matmul": _matmul,
        "norm": _norm,
        "svd": _svd,
    },
    "tensorflow.python": {},
    "tensorflow.random": {"set_seed": _set_seed, "normal": _normal, "uniform": _uniform},
    "tensorflow.config": {"list_physical_devices": _devices, "set_visible_devices": _nothing},
    "tensorflow.config.experimental": {
        "list_physical_devices": _devices,
        "set_memory_growth": _nothing,
    },
    "tensorflow.data": DATA,
    "tensorflow.data.experimental": {"AUTOTUNE": DATA["AUTOTUNE"]},
    "tensorflow.compat": {},
    "tensorflow.compat.v1": {"set_random_seed": _set_seed},
    "tensorflow.compat.v1.logging": {
        "set_verbosity": lambda level: logging.getLogger("cdl").setLevel(level),
        **{name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")},
    },
    "tensorflow.test": {"is_gpu_available": lambda *_, **__: False},
    "tensorflow.version": {"VERSION": TENSORFLOW},
}
_FUNCTIONS = {
    "tensorflow.math": [*_MATH.split(), *_OTHER_NAMES],
    "tensorflow.nn": _NN.split(),
    "tensorflow.linalg": _LINALG.split(),
    "tensorflow": [*_MATH.split(), *_OTHER_NAMES, *_WHOLE.split()],
}


def names(module: str) -> dict[str, Any]:
    """What a module has."""
    have_tensors()
    found = {name: _function(name) for name in _FUNCTIONS.get(module, ())}
    return {**found, **MODULES[module]}
