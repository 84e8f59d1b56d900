"""TensorFlow's functions that pick elements or slices of tensors by index or mask."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cdl._variables.stepping import recorded
from cdl.scripts.tf_functions import function


class TopK(NamedTuple):
    """Named tuple of the values and indices of `tf.math.top_k`."""

    values: Any
    indices: Any


def _gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: int | None = None,
    batch_dims: int = 0,
    name: str | None = None,
) -> Any:
    """`tf.gather`: slices by index along an axis, by default the first behind `batch_dims`."""
    shape, places = np.shape(params), np.shape(indices)
    batch = batch_dims + len(places) if batch_dims < 0 else batch_dims
    along = batch if axis is None else axis + len(shape) if axis < 0 else axis
    if not 0 <= batch <= min(along, len(places)) or along >= len(shape):
        raise ValueError(
            "tf.gather: axis must be an axis of params, and batch_dims at most axis and the number "
            f"of axes of indices, got axis={axis}, batch_dims={batch_dims}, {len(shape)} axes of "
            f"params and {len(places)} of indices"
        )
    if not batch:
        return function("take")(params, indices, axis=along)
    between, behind, own = shape[batch:along], shape[along + 1 :], places[batch:]
    lead = places[:batch]
    lines = function("reshape")(
        indices, (*lead, *(1,) * len(between), prod(own), *(1,) * len(behind))
    )
    whole = function("broadcast_to")(lines, (*lead, *between, prod(own), *behind))
    found = function("take_along_axis")(params, whole, axis=along)
    return function("reshape")(found, (*lead, *between, *own, *behind))


def _gather_nd(params: Any, indices: Any, batch_dims: int = 0, name: Any = None) -> Any:
    """`tf.gather_nd`: elements or slices at the coordinates in the rows of `indices`."""
    shape, places = np.shape(params), np.shape(indices)
    count = places[-1] if places else 0
    if not 0 <= batch_dims < len(places) or batch_dims + count > len(shape):
        raise ValueError(
            "tf.gather_nd: batch_dims and coordinates must be at most as many as axes of params, "
            f"got batch_dims={batch_dims}, and indices of shape {places} for {shape}"
        )
    picked, behind = shape[batch_dims : batch_dims + count], shape[batch_dims + count :]
    flat = recorded(_flat, indices, picked)
    lines = function("reshape")(params, (*shape[:batch_dims], prod(picked), *behind))
    return _gather(lines, flat, batch_dims=batch_dims)


def _flat(indices: Any, sizes: tuple[int, ...]) -> Any:
    """Places of coordinates, the last axis of `indices`, in one line of all elements."""
    places = np.asarray(indices)
    if ((places < 0) | (places >= sizes)).any():
        raise ValueError(
            f"tf.gather_nd: indices must be from 0 to below {sizes}, got {places.min()} to "
            f"{places.max()}"
        )
    if not sizes:
        return np.zeros(places.shape[:-1], np.int64)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), sizes))


def boolean_mask(tensor: Any, mask: Any, axis: int | None = None, name: Any = None) -> Any:
    """`tf.boolean_mask`: elements or slices where the mask is true."""
    shape, chosen = np.shape(tensor), np.asarray(mask, bool)
    first = axis or 0
    last = first + chosen.ndim
    if shape[first:last] != chosen.shape:
        raise ValueError(
            f"tf.boolean_mask: mask must have the shape of tensor from axis {first} on, got "
            f"{chosen.shape} for {shape}"
        )
    lines = function("reshape")(tensor, (*shape[:first], chosen.size, *shape[last:]))
    return function("take")(lines, np.flatnonzero(chosen), axis=first)


def _top_k(input: Any, k: int = 1, sorted: bool = True, name: Any = None) -> TopK:
    """`tf.math.top_k`: the k largest values and their indices."""
    return TopK(*function("top_k")(input, int(k), sorted))


def _dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: Any = None) -> Any:
    """`tf.dynamic_partition`: the slices of `data` of each number in `partitions`, as a list."""
    places = np.asarray(partitions)
    return [boolean_mask(data, places == i) for i in range(num_partitions)]


def _dynamic_stitch(indices: Any, data: Any, name: Any = None) -> Any:
    """`tf.dynamic_stitch`: slices of several tensors, each to its index; the last one counts."""
    places = [np.asarray(each) for each in indices]
    lines = [
        function("reshape")(each, (at.size, *np.shape(each)[at.ndim :]))
        for at, each in zip(places, data, strict=True)
    ]
    flat = np.concatenate([at.ravel() for at in places])
    order = np.zeros(int(flat.max(initial=-1)) + 1, np.int32)
    order[flat] = np.arange(flat.size)
    return function("take")(function("concatenate")(lines, axis=0), order, axis=0)


ROOT: dict[str, Callable[..., Any]] = {
    "boolean_mask": boolean_mask,
    "dynamic_partition": _dynamic_partition,
    "dynamic_stitch": _dynamic_stitch,
    "gather": _gather,
    "gather_nd": _gather_nd,
}
MATH: dict[str, Callable[..., Any]] = {"top_k": _top_k}
NN: dict[str, Callable[..., Any]] = {"embedding_lookup": _gather, "top_k": _top_k}
