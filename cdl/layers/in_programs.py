"""Lowering of layer calls in programs: instructions, the activity penalty, a mask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._ir.lowering import Lowering
from cdl._tracing import eager
from cdl._tracing.graph import KerasTensor
from cdl._tracing.keras_tensor import known_samples
from cdl._tracing.variable import autocast_to
from cdl.layers import masks
from cdl.layers.activities import penalized
from cdl.layers.call_arguments import parameters_of
from cdl.layers.calling import is_scripted, trace_call
from cdl.layers.on_arrays import run_script

if TYPE_CHECKING:
    from cdl.layers.arguments import NDArray, Value
    from cdl.layers.layer import Layer


def append(layer: Layer, program: Lowering, specs: Any, args: Any, kwargs: Any) -> Any:
    """Append a call: the layer's instructions, its activity penalty, its mask.

    Args:
        specs: the arguments and the named ones, with symbolic tensors.
        args: the arguments, with values of the program.
        kwargs: likewise, by name; `training` holds for this layer alone.
    """
    training = kwargs.get("training")
    with contextlib.nullcontext() if training is None else program.fixed(bool(training)):
        args, kwargs = _cast(layer, program, specs, args, kwargs)
        specs = _with_masks(specs, args, kwargs)
        if layer._scripts(*specs):
            y = _append_script(layer, program, specs, args, kwargs)
        else:
            if isinstance(args[0], np.ndarray):
                args = (program.constant(args[0]), *args[1:])
            more = {
                name: each
                for name, each in kwargs.items()
                if name != "training" and each is not None
            }
            y = _lowered(layer, program, args[0], layer._moves and _no_floats(specs), more)
        first, inputs = ((*each[0], *each[1].values(), None)[0] for each in (specs, (args, kwargs)))
        recorder = program.recorder
        if recorder.watched is not None:
            values = [each for each in tree.flatten(y) if masks.is_value(each)]
            recorder.watched += [(layer, each) for each in values]
        if recorder.probed is not None and recorder.probed[0] is layer and masks.is_value(y):
            y = program.emit("probe", (y,), y.shape)
            recorder.probed[1].append(y)
        told = kwargs.get("mask")
        if told is not None and not masks.tells_truths(specs[1].get("mask")):
            told = None
        masks.of_outputs(layer, program, first, inputs, y, told)
        if layer.activity_regularizer is None:
            return y
        owner, penalty = f"{type(layer).__name__} {layer.name!r}", layer.activity_regularizer
        return tree.map_structure(lambda each: penalized(owner, penalty, program, each), y)


def _cast(layer: Layer, program: Lowering, specs: Any, args: Any, kwargs: Any) -> Any:
    """Arguments with floats in the layer's input dtype."""
    to = layer._input_dtype()
    if to is None:
        return args, kwargs

    def cast(spec: Any, value: Any) -> Any:
        if not masks.is_value(value) or "float" not in getattr(spec, "dtype", ""):
            return value
        return cast_value(program, value, to)

    of_args, of_kwargs = specs
    pairs = zip(of_args, args, strict=True)
    args = tuple(tree.map_structure(cast, *pair) for pair in pairs)
    kwargs = {name: tree.map_structure(cast, of_kwargs[name], v) for name, v in kwargs.items()}
    return args, kwargs


def cast_value(program: Lowering, value: Value, dtype: str) -> Value:
    """Value of floats cast to another dtype, with its mask."""
    given = program.cast(value, dtype)
    if given.mask is None:
        given.mask = value.mask
    return given


def _reading(
    layer: Layer, program: Lowering, append: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Result of `append`, while which the program reads weights in the layer's dtype."""
    before = program.param_dtype
    program.param_dtype = layer._autocast_dtype(before)
    try:
        return append(program, *args, **kwargs)
    finally:
        program.param_dtype = before


def _no_floats(specs: Any) -> bool:
    """Whether a call's tensors are all of integers or bools."""
    return not any("float" in getattr(leaf, "dtype", "") for leaf in tree.flatten(specs))


def _lowered(layer: Layer, program: Lowering, x: Any, whole: bool, more: dict[str, Any]) -> Any:
    """Append a layer of cdl, in the dtypes of its policy."""
    if layer._in_float32 and masks.is_value(x):
        x = cast_value(program, x, "float32")
    y = _reading(layer, program, layer.lower, x, **more)
    return tree.map_structure(partial(_given, layer, program, whole), y)


def _given(layer: Layer, program: Lowering, whole: bool, value: Any) -> Any:
    """Output of a layer of cdl in its compute dtype; integers unchanged."""
    dtype = layer._output_dtype()
    if whole and masks.is_value(value):
        value.is_whole = True
    if not masks.is_value(value) or dtype is None or value.is_whole:
        return value
    return cast_value(program, value, dtype)


def specs_of(arguments: Any) -> Any:
    """Arguments with a symbolic tensor for each value of a program."""
    return tree.map_structure(_spec, arguments) if arguments else arguments


def _spec(leaf: Any) -> Any:
    if not masks.is_value(leaf):
        return leaf
    dtype = "int32" if leaf.is_whole else leaf.dtype
    if leaf.shared:
        return KerasTensor(leaf.shape, dtype, rows_per_sample=0)
    return KerasTensor((known_samples(), *leaf.shape), dtype)


def _with_mask(spec: Any, value: Any) -> Any:
    """Symbolic tensor with a mask exactly where its value has one."""
    if not isinstance(spec, KerasTensor) or not masks.is_value(value):
        return spec
    made = spec.twin()
    made.mask = None if value.mask is None else masks.tensor_of(value.mask)
    return made


def _with_masks(specs: Any, args: Any, kwargs: Any) -> Any:
    """Symbolic arguments of a call, positional and named, with masks as their values have."""
    leaves = tree.flatten(args) + tree.flatten(specs[0])
    if kwargs:
        leaves += tree.flatten(kwargs) + tree.flatten(specs[1])
    if not any([getattr(leaf, "mask", None) is not None for leaf in leaves]):
        return specs
    pairs = zip(specs[0], args, strict=True)
    args_of = tuple(tree.map_structure(_with_mask, *pair) for pair in pairs)
    return args_of, {k: tree.map_structure(_with_mask, specs[1][k], v) for k, v in kwargs.items()}


def _append_script(layer: Layer, program: Lowering, specs: Any, args: Any, kwargs: Any) -> Any:
    args_of, kwargs_of = specs
    names = parameters_of(type(layer).call)
    if any(name.endswith("mask") for name in names):

        def mask_of(v: Any) -> Any:
            return getattr(v, "mask", None) if masks.is_value(v) else None

        of_first = getattr(layer, "_masks_by_first", False)  # see RNN
        told = masks.arguments(names, args, kwargs, mask_of, masks.is_value, of_first)
        if any(masks.is_value(mask) for mask in tree.flatten(told)):
            kwargs_of = {**kwargs_of, **_map(masks.tensor_of, told)}
            kwargs = {**kwargs, **_map(lambda mask: masks.as_tensor(program, mask), told)}
    values = [v for v in tree.flatten((args, kwargs)) if masks.is_value(v)]
    with autocast_to(program.param_dtype):  # of the layer around this one
        graph = trace_call(layer, args_of, kwargs_of, program.is_noisy, program.recorder.merged)
    recorder = program.recorder
    calls, recorder.calls = recorder.calls, None  # what it calls, it calls itself
    if calls is not None:
        given = {"args": args, "kwargs": {**kwargs, "training": program.training}}
        calls.append((layer, run_script, given))
    try:
        return _reading(layer, program, graph.lower, values)
    finally:
        recorder.calls = calls


def _map(function: Callable[[Any], Any], told: dict[str, Any]) -> dict[str, Any]:
    """Masks, nested by argument, mapped by a function; None stays."""
    found: dict[str, Any]
    found = tree.map_structure(lambda mask: None if mask is None else function(mask), told)
    return found


class WithoutCall:
    """Node operation of a layer without the custom `call` of its subclass.

    Args:
        training: whether it behaves as in training; None: as what is around it does.
    """

    def __init__(self, layer: Layer, training: bool | None = None) -> None:
        self.layer = layer
        self.name = layer.name
        self.training = training

    def append_to(self, program: Lowering, x: Value) -> Value:
        """Append the layer by its `lower`."""
        with contextlib.nullcontext() if self.training is None else program.fixed(self.training):
            y: Value = _lowered(self.layer, program, x, False, {})
        if self.layer.supports_masking and y.mask is None:
            y.mask = x.mask
        return y


def runner_of(layer: Layer, arrays: list[NDArray[Any]], training: bool) -> eager.Runner:
    """Program of a call on such arrays, without the custom `call` that goes on here."""
    x = arrays[0]
    program = Lowering(training)
    value = program.input(x.shape[1:])
    value.is_whole = x.dtype.kind in "biu"
    if len(arrays) > 1:
        value.mask = program.input((*x.shape[1:-1], 1))
    own = WithoutCall(layer) if is_scripted(type(layer)) else layer
    program.output(own.append_to(program, value))
    return eager.Runner(program.fused(training), training)
