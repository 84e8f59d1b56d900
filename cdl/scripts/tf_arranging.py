"""TensorFlow's functions that sort, count and rearrange elements of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_functions import function


def _one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: Any = None,
) -> Any:
    """`tf.one_hot`: `on_value` at each index, `off_value` elsewhere."""
    hot = function("one_hot")(indices, int(depth), -1 if axis is None else axis, dtype or "float32")
    if on_value is None and off_value is None:
        return hot
    off = 0 if off_value is None else off_value
    return hot * ((1 if on_value is None else on_value) - off) + off


def _pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: Any = None
) -> Any:
    """`tf.pad`: pad with a constant, by reflection or symmetrically; case-insensitive mode."""
    widths = [tuple(int(n) for n in pair) for pair in np.asarray(paddings)]
    fill = constant_values if mode.lower() == "constant" else None
    return function("pad")(tensor, widths, mode.lower(), fill)


def _where(condition: Any, x: Any = None, y: Any = None, name: Any = None) -> Any:
    """`tf.where`: elements of x or y by a condition; without both, indices of true elements."""
    if x is None and y is None:
        return tensors(np.argwhere(np.asarray(condition)))
    return function("where")(condition, x, y)


def _scattered(how: str | None) -> Callable[..., Any]:
    def call(tensor: Any, indices: Any, updates: Any, name: Any = None) -> Any:
        """`tf.tensor_scatter_nd_update` and the like: a copy with updates at coordinates."""
        return function("scatter_update")(tensor, indices, updates, how)

    return call


def _split(
    value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: Any = None
) -> Any:
    """`tf.split`: a number of equal parts, or parts of given sizes, one of which may be -1."""
    parts = num_or_size_splits
    if np.ndim(parts):
        sizes = [int(size) for size in parts]
        if -1 in sizes:
            sizes[sizes.index(-1)] = np.shape(value)[axis] - sum(sizes) - 1
        parts = [int(end) for end in np.cumsum(sizes)[:-1]]
    return function("split")(value, parts, axis=axis)


def _unstack(value: Any, num: int | None = None, axis: int = 0, name: str | None = None) -> Any:
    """`tf.unstack`: the slices along an axis as a list."""
    return function("unstack")(value, num, axis)


def _sorted(which: str) -> Callable[..., Any]:
    def call(
        values: Any,
        axis: int = -1,
        direction: str = "ASCENDING",
        stable: Any = None,
        name: Any = None,
    ) -> Any:
        """`tf.sort` or `tf.argsort`: in ascending or descending order."""
        down = direction.upper() == "DESCENDING"
        if which == "argsort":
            return function(which)(function("negative")(values) if down else values, axis)
        found = function(which)(values, axis)
        return function("flip")(found, axis) if down else found

    return call


def _unique(x: Any, out_idx: Any = "int32", name: Any = None) -> Any:
    """`tf.unique`: distinct values in order of appearance, and the index of each element."""
    array = np.asarray(x)
    values, first, inverse = np.unique(array, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return tensors((values[order], place[inverse].astype(str(out_idx))))


def _meshgrid(*args: Any, indexing: str = "xy", name: Any = None) -> Any:
    """`tf.meshgrid`: coordinate arrays as a list."""
    return list(function("meshgrid")(*args, indexing=indexing))


def _sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool", name: Any = None) -> Any:
    """`tf.sequence_mask`: rows that are true up to a length."""
    size = int(np.max(lengths)) if maxlen is None else int(maxlen)
    return function("cast")(np.arange(size) < function("expand_dims")(lengths, -1), dtype)


def _in_top_k(targets: Any, predictions: Any, k: int, name: Any = None) -> Any:
    """`tf.math.in_top_k`: whether targets are among the k largest predictions."""
    return function("in_top_k")(targets, predictions, k)


def _confusion(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    weights: Any = None,
    dtype: Any = "int32",
    name: Any = None,
) -> Any:
    """`tf.math.confusion_matrix`: counts, with labels as rows and predictions as columns."""
    labels, predictions = np.asarray(labels, int), np.asarray(predictions, int)
    n = int(max(labels.max(), predictions.max()) + 1) if num_classes is None else int(num_classes)
    weights = None if weights is None else np.asarray(weights)
    found = np.bincount(labels * n + predictions, weights, n * n).reshape(n, n)
    return tensors(found.astype(str(dtype)))


def _bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = "int32",
) -> Any:
    """`tf.math.bincount`: how often each integer occurs, weighted if asked."""
    found = np.bincount(
        np.ravel(arr), None if weights is None else np.ravel(weights), minlength or 0
    )
    return tensors(found[:maxlength].astype(found.dtype if weights is not None else str(dtype)))


def _map_fn(fn: Callable[..., Any], elems: Any, dtype: Any = None, **options: Any) -> Any:
    """`tf.map_fn`: stack the results of a function of each row."""
    return tensors(ops.map(fn, elems))


ROOT: dict[str, Any] = {
    "map_fn": _map_fn,
    "meshgrid": _meshgrid,
    "one_hot": _one_hot,
    "pad": _pad,
    "sequence_mask": _sequence_mask,
    "split": _split,
    "scatter_nd": function("scatter", "indices updates shape"),
    "tensor_scatter_nd_add": _scattered("add"),
    "tensor_scatter_nd_max": _scattered("max"),
    "tensor_scatter_nd_min": _scattered("min"),
    "tensor_scatter_nd_sub": lambda tensor, indices, updates, name=None: _scattered("add")(
        tensor, indices, function("negative")(updates)
    ),
    "tensor_scatter_nd_update": _scattered(None),
    "unique": _unique,
    "unstack": _unstack,
    "where": _where,
    **{name: _sorted(name) for name in ("sort", "argsort")},
}
MATH: dict[str, Any] = {
    "bincount": _bincount,
    "confusion_matrix": _confusion,
    "in_top_k": _in_top_k,
}
NN: dict[str, Any] = {"in_top_k": _in_top_k}
