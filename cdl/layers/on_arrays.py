"""Layer calls on arrays: by a program, or by the custom `call` itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.dtypes import MOST_EXACT, narrowed
from cdl._tracing.variable import autocast, autocast_to, in_calls
from cdl.data import as_numeric
from cdl.layers.call_arguments import check_positions, parameters_of, takes
from cdl.layers.calling import prepare, told_masks, undone_on_failure
from cdl.layers.running import call_context, in_dtype, name_scope, training_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl.layers.layer import Layer


def mask_for(layer: Layer, x: NDArray[Any], mask: Any) -> NDArray[Any]:
    """Mask as an array with a number for each line of `x`."""
    owner = f"{type(layer).__name__} {layer.name!r}"
    if not layer.takes_mask:
        raise TypeError(f"{owner}: mask must be None, since the layer does not look at it")
    given = as_numeric(mask, f"{owner}: mask")
    fits = given.ndim == x.ndim - 1
    pairs = zip(given.shape, x.shape[:-1], strict=False)
    if not fits or any(n not in (1, m) for n, m in pairs):
        raise ValueError(
            f"{owner}: mask must have shape {x.shape[:-1]}, one axis less than the inputs, "
            f"got {given.shape}"
        )
    return np.broadcast_to(given, x.shape[:-1])


def whole_as(x: NDArray[Any], output: NDArray[Any], owner: str) -> NDArray[Any]:
    """Integers and bools converted back after a layer moved them as floats.

    Raises:
        ValueError: an integer that float32 does not have.
    """
    if x.dtype.kind not in "biu":
        return output
    if x.dtype.itemsize > 2 and np.abs(x).max(initial=0) > MOST_EXACT:
        raise ValueError(
            f"{owner}: integers must be at most 2**24 = {MOST_EXACT}, since they are read as "
            f"float32, got {x.max()}"
        )
    whole: NDArray[Any] = narrowed(output.astype(x.dtype))
    return whole


def run_script(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], build: bool = True
) -> Any:
    """Output of a custom `call` for arrays; the first call builds the layer.

    Args:
        layer: of a class of the user's.
        build: False for a model, all of whose layers build themselves.
    """
    to = layer._input_dtype()
    args, kwargs = in_dtype(args, to), in_dtype(kwargs, to)
    check_positions(f"{type(layer).__name__} {layer.name!r}", args)
    with undone_on_failure(layer):
        if build:
            prepare(layer, args, kwargs)
        kwargs |= told_masks(layer, args, kwargs)
        training = kwargs.pop("training", training_around())
        if takes(type(layer), "training"):
            default = parameters_of(type(layer).call)["training"].default
            if training is None and default is not inspect.Parameter.empty:
                training = default
            kwargs["training"] = training
        layer._added = []
        reading = autocast_to(layer._autocast_dtype(autocast()))
        with name_scope(layer), call_context(training), reading:
            outputs = layer.call(*args, **kwargs)
        outputs = tree.map_structure(in_calls, outputs)
        _penalize(layer, outputs)
        return outputs


def _penalize(layer: Layer, outputs: Any) -> None:
    """Store the activity penalty of an output on arrays, by sample, for `losses`."""
    if layer.activity_regularizer is None:
        return
    layer._activity = 0.0
    for each in tree.flatten(outputs):
        if len(each):
            layer._activity += float(layer.activity_regularizer(each)) / len(each)
