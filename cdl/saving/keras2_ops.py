"""Functions between layers in configs of Keras 2: layers of a class `TFOpLambda`.

Each names a function of TensorFlow, and its nodes have the arguments by TensorFlow's names. They
become operations of `cdl.ops`, as today's configs have them. `.h5` files that Keras 3 writes have
operations by their classes, without a module; Keras itself does not read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdl import ops as _ops  # noqa: F401  (where operations are made)
from cdl._tracing.operation import OP_DEFS

CLASSES = (
    "TFOpLambda",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
)
_MODULES = ("", "math", "nn", "linalg", "__operators__")
_SLICES = "__operators__.getitem"

_FROM_0 = ("cumsum", "cumprod", "argmax", "argmin")  # whose axis is 0 unless it is given

# Functions, the operation if its name is another, and what their arguments behind the first are
# called there.
_TABLE = """
add,subtract,multiply,divide,maximum,minimum y=x2
greater,greater_equal,less,less_equal,equal,not_equal,logical_and,logical_or y=x2
exp,log,sqrt,square,rsqrt,sin,cos,tanh,sigmoid,negative,sign,floor,ceil,erf,log1p,expm1,reciprocal
relu,relu6,selu,elu,silu,softplus,logical_not
abs absolute
swish silu
neg negative
sub subtract y=x2
mul multiply y=x2
pow power y=x2
truediv true_divide y=x2
floordiv floor_divide y=x2
mod,floormod mod y=x2
reduce_mean mean axis=axis keepdims=keepdims
reduce_sum sum axis=axis keepdims=keepdims
reduce_max max axis=axis keepdims=keepdims
reduce_min min axis=axis keepdims=keepdims
reduce_prod prod axis=axis keepdims=keepdims
reduce_any any axis=axis keepdims=keepdims
reduce_all all axis=axis keepdims=keepdims
reduce_logsumexp logsumexp axis=axis keepdims=keepdims
reduce_variance var axis=axis keepdims=keepdims
reduce_std std axis=axis keepdims=keepdims
softmax,log_softmax,stack,expand_dims,squeeze,cumsum,cumprod,argmax,argmin axis=axis
gelu approximate=approximate
leaky_relu alpha=negative_slope
concat concatenate axis=axis
reshape shape=newshape
transpose perm=axes
cast dtype=dtype
matmul b=x2
clip_by_value clip clip_value_min=x_min clip_value_max=x_max
where x=x1 y=x2
one_hot depth=num_classes
tile multiples=repeats
reverse flip axis=axis
l2_normalize normalize axis=axis
"""
_FUNCTIONS = {
    name: (
        words[0] if words and "=" not in words[0] else name,
        dict(w.split("=") for w in words if "=" in w),
    )
    for names, *words in map(str.split, _TABLE.strip().splitlines())
    for name in names.split(",")
}


def is_operation(config: Mapping[str, Any]) -> bool:
    """Whether a config without a module is that of an operation: it has no layer's arguments."""
    inner = config.get("config")
    is_layer = not isinstance(inner, Mapping) or "trainable" in inner or "batch_shape" in inner
    known = any(row.known_as == config.get("class_name") for row in OP_DEFS.values())
    return "module" not in config and not is_layer and known


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of an operation from that of a layer of one of `CLASSES`.

    Raises:
        ValueError: a function, or an argument of it, that has no place here.
    """
    inner = config.get("config")
    inner = inner if isinstance(inner, Mapping) else {}
    name = inner.get("function", config["class_name"])
    nodes = config.get("inbound_nodes", [])
    nodes = nodes if isinstance(nodes, list) else []
    if name == _SLICES:
        return _operation("get_item", config, [_slicing(node) for node in nodes])
    module, _, short = str(name).removeprefix("compat.v1.").rpartition(".")
    known = _FUNCTIONS.get(short) if module in _MODULES else None
    if known is None:
        raise _refusal(name)
    row, names = known
    defaults = {"approximate": False} if row == "gelu" else {"axis": 0} if row in _FROM_0 else {}
    return _operation(row, config, [_renamed(name, node, names, defaults) for node in nodes])


def _refusal(name: Any, argument: str = "") -> ValueError:
    of = f" with {argument}" if argument else ""
    return ValueError(
        f"the function tf.{name}{of} between layers has no place here: make the model by code that "
        "has a function of cdl.ops in its place, and call load_weights() with this file"
    )


def _operation(row: str, config: Mapping[str, Any], nodes: list[Any]) -> dict[str, Any]:
    name = config.get("name", row)
    return {
        "module": f"keras.src.ops.{OP_DEFS[row].submodule}",
        "class_name": OP_DEFS[row].known_as,
        "config": {"name": name},
        "name": name,
        "inbound_nodes": nodes,
    }


def _renamed(
    function: Any, node: Any, names: Mapping[str, str], defaults: Mapping[str, Any]
) -> Any:
    """Node with today's names of the arguments, which follow each tensor of the first."""
    if not isinstance(node, list) or not node:
        raise ValueError(f"inbound_nodes must be lists of tensors, got {node!r}")
    if not isinstance(node[0], str):
        return [_renamed(function, each, names, defaults) for each in node]
    given = node[3] if len(node) > 3 and isinstance(node[3], Mapping) else {}
    more = dict(defaults)
    for key, value in given.items():
        if key in names and value is not None:
            more[names[key]] = value
        elif key != "name" and value not in (None, False):
            raise _refusal(function, f"{key}={value!r}")
    return [*node[:3], more]


def _slicing(node: Any) -> Any:
    """Node of `x[...]`, whose key is `slice_spec`."""
    while isinstance(node, list) and len(node) == 1:
        node = node[0]
    if not isinstance(node, list) or len(node) < 4 or not isinstance(node[3], Mapping):
        raise ValueError(f"inbound_nodes must be lists of tensors, got {node!r}")
    given = node[3].get("slice_spec")
    keys = given if isinstance(given, list) else [given]
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": node[:3]}}
    return {"args": [tensor, [_key(each) for each in keys]], "kwargs": {}}


def _key(part: Any) -> Any:
    if isinstance(part, Mapping) and set(part) == {"start", "stop", "step"}:
        return {"class_name": "__slice__", "config": dict(part)}
    if isinstance(part, Mapping) and part.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    if part is None or (isinstance(part, int) and not isinstance(part, bool)):
        return part
    raise _refusal(_SLICES, f"slice_spec={part!r}")
