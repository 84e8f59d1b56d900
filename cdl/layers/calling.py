"""Calls of layers on symbolic tensors: build, then record.

A layer of cdl's own says by `lower` which instructions it becomes. A layer of the user's says by
`call` what it does, in Python: on arrays that is run as it stands (on_arrays.py); for a program it
is run once on symbolic tensors, and what it did becomes the instructions (in_programs.py).
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.overriding import is_users
from cdl._common.weak_cache import WeakMap
from cdl._tracing import graph as graphs
from cdl._tracing.between_inputs import between_inputs, coupled_outputs, is_tried, record_coupled
from cdl._tracing.graph import KerasTensor
from cdl._tracing.joining import parts_of, telling
from cdl._tracing.keras_tensor import known_samples
from cdl._tracing.shape_inference import map_arguments
from cdl._tracing.symbolic import operator_of
from cdl._tracing.variable import Variable, autocast, autocast_to
from cdl.layers import masks
from cdl.layers.building import WeightOfOpenSizeError
from cdl.layers.call_arguments import (
    by_name,
    check_positions,
    is_tensor,
    parameters_of,
    require_inputs,
    shapes_of,
    takes,
)
from cdl.layers.running import name_scope

if TYPE_CHECKING:
    from cdl.layers.layer import Layer

_stacks = WeakMap()

_REST, _REST_BY_NAME = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_TRACED = threading.local()  # its stack: the layers whose `call` is being traced
_MOST_WITHIN_ITSELF = 16  # for a call that goes into itself so often and then ends


def stack_of(layer: Layer) -> Any:
    """Sequential that a layer was last added to, which calls it when its tensors are read."""
    stack = _stacks.get(layer)
    return None if stack is None else stack()


def note_stack(layer: Layer, stack: Any) -> None:
    """Note the Sequential that a layer has been added to."""
    _stacks[layer] = weakref.ref(stack)


def is_scripted(cls: type) -> bool:
    """Whether a class computes in its own `call`, defined after any `lower`."""
    for each in cls.__mro__:
        if "lower" in vars(each):
            return False
        if "call" in vars(each):
            return True
    return False


def record_call(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Build the layer if needed, and record the call; the symbolic results."""
    if is_scripted(type(layer)):
        check_positions(f"{type(layer).__name__} {layer.name!r}", args)
    else:
        args, kwargs = _by_name(layer, args, kwargs)
    _check_no_texts(layer, args, kwargs)
    if between_inputs() and is_tried(args, kwargs):
        return _record_coupled(layer, args, kwargs)
    if known_samples() is not None:
        args, kwargs = map_arguments(parts_of, args, kwargs)
    of_constants = None if is_scripted(type(layer)) else getattr(layer, "_of_constants", None)
    if of_constants is not None and _are_constants(graphs.tensors_of(args, kwargs)):
        with undone_on_failure(layer):
            prepare(layer, args, kwargs)
            return of_constants(*args, **kwargs)
    axis = _inner_samples(layer, args)
    if axis:  # lines are lines wherever the samples are
        move = operator_of("moveaxis")
        return move(record_call(layer, (move(args[0], axis, 0), *args[1:]), kwargs), 0, axis)
    rows_per_sample = _rows_per_sample_of(layer, args, kwargs)
    with undone_on_failure(layer):
        prepare(layer, args, kwargs)
        if is_scripted(type(layer)) and _are_constants(graphs.tensors_of(args, kwargs)):
            outputs = _traced_outputs(layer, args, kwargs)
        else:
            outputs = layer._spec_of(*args, **kwargs)
    if rows_per_sample != 1 and not is_scripted(type(layer)):
        given = args[0] if args else next(iter(kwargs.values()))
        first = () if rows_per_sample else (getattr(given, "shape", None) or np.shape(given))[:1]
        outputs = KerasTensor(
            (*first, *outputs.shape[len(first) :]), outputs.dtype, rows_per_sample=rows_per_sample
        )
    masks.of_symbolic_outputs(layer, args, kwargs, outputs)
    return graphs.record(layer, args, kwargs, outputs)


def _inner_samples(layer: Layer, args: tuple[Any, ...]) -> int:
    """Axis of the samples in a tensor whose lines a layer works on by themselves; 0: as always."""
    x = args[0] if args else None
    if not (isinstance(x, KerasTensor) and layer.by_lines) or layer.activity_regularizer:
        return 0
    return x.batch_axis if 0 < x.batch_axis < x.ndim - 1 else 0


def _are_constants(tensors: list[KerasTensor]) -> bool:
    """Whether all are of weights alone, in code that is traced: of no sample."""
    scoped = graphs.current_scope() is not None
    return scoped and all(t.rows_per_sample == 0 and not t.batch_axis for t in tensors)


def _record_coupled(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Record a call on tensors whose shapes depend on the samples; the symbolic results."""
    with undone_on_failure(layer):
        prepare(layer, args, kwargs)

        def make(*args: Any, **kwargs: Any) -> Any:
            return record_call(layer, args, kwargs)

        return record_coupled(layer, make, args, kwargs)


def _check_no_texts(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse texts for a layer that neither encodes them nor holds one that does."""
    texts = [t for t in graphs.tensors_of(args, kwargs) if t.dtype == "string"]
    if texts and not any(each._runs_on_host for each in layer._flatten_layers()):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: inputs must be numbers, got the texts of "
            f"{texts[0].name!r}: put a layer such as TextVectorization or StringLookup in front"
        )


def is_recorded(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is recorded, not run: one on symbolic tensors.

    In code that is traced so is each call of a layer that has weights or draws, since what these
    give for an array is no constant.
    """
    if graphs.tensors_of(args, kwargs):
        return True
    if graphs.current_scope() is None:
        return False
    draws = layer.by_lines and layer._seed_generators
    return not layer.built or bool(layer.weights) or bool(draws)


def learns_here(model: Layer, args: tuple[Any, ...] = ()) -> bool:
    """Whether code is traced that may be differentiated by weights of a model, or by arguments."""
    scope = graphs.current_scope()
    if scope is None:
        return False
    given = [leaf for leaf in tree.flatten(args) if isinstance(leaf, Variable)]
    return scope.learns([*model.weights, *given]) or (scope.sought is None and not model.built)


def check_arguments(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a call by name, for a layer of cdl; TypeError for others."""
    owner, names = f"{type(layer).__name__}.call()", list(layer._arguments())
    if is_scripted(type(layer)):
        require_inputs(owner, names, args, kwargs)
        return {}
    return by_name(owner, names, args, kwargs)


def _by_name(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a symbolic call: the inputs, and all others by name.

    TypeError as in `by_name`, and for a mask that the layer does not look at.
    """
    given = check_arguments(layer, args, kwargs)
    inputs = given.pop(next(iter(layer._arguments())))
    for name, value in given.items():
        if name != "training" and value is not None and not layer._looks_at(name):
            raise TypeError(
                f"{type(layer).__name__} {layer.name!r}: {name} must be None, since the layer "
                "does not look at it"
            )
    return (inputs,), given


def _rows_per_sample_of(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Lines of a sample per step along the first axis of the inputs; 0 for arrays.

    ValueError if the layer needs each sample as a whole, as the first axis of its inputs.
    """
    tensors = graphs.tensors_of(args, kwargs)
    rows_per_sample = tensors[0].rows_per_sample if tensors else 0
    if is_scripted(type(layer)):  # what it calls tells
        return rows_per_sample
    by_lines = layer.by_lines and layer.activity_regularizer is None
    wrong = [t for t in tensors if t.batch_axis or not (t.rows_per_sample == 1 or by_lines)]
    if wrong or not (tensors or by_lines):
        array = "an array in code that is traced: hand it on as an input or an argument"
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: inputs must have the samples as their first "
            f"axis, got {wrong[0] if wrong else array}"
        )
    return rows_per_sample


def prepare(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check the inputs, and build for them."""
    inputs = args[0] if args else next(iter(kwargs.values()))
    layer.check_input(shapes_of(inputs))
    if not layer.built and not _is_model_of_several(layer, args, kwargs):
        with name_scope(layer):
            _build_on(layer, shapes_of(inputs, is_scripted(type(layer))), args, kwargs)


def _is_model_of_several(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it is a custom model given several tensors, whose layers build themselves."""
    if not hasattr(layer, "_shape_to_build") or is_users(type(layer).build):
        return False
    given = (*args, *kwargs.values())
    return is_scripted(type(layer)) and sum(map(is_tensor, given)) > 1


def build_for(layer: Layer, shape: Any) -> None:
    """Call `build` with a shape; without one where the user's own `build` looks at none."""
    parameters = parameters_of(type(layer).build).values()
    if is_scripted(type(layer)) and all(each.kind is _REST_BY_NAME for each in parameters):
        layer.build()
    else:
        layer.build(shape)


def _build_on(layer: Layer, shapes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call `build` with the shapes that its arguments ask for: one, or one an argument."""
    names = list(parameters_of(type(layer).build))
    if len(names) < 2 or not is_scripted(type(layer)):
        build_for(layer, shapes)
        return
    given = dict(zip(parameters_of(type(layer).call), args, strict=False)) | kwargs
    by_name = {
        f"{name}_shape": shapes_of(value, whole=True)
        for name, value in given.items()
        if any(map(is_tensor, tree.flatten(value)))
    }
    by_name.setdefault("input_shape", next(iter(by_name.values()), None))
    parameters = parameters_of(type(layer).build)
    for name in names:
        if name in by_name or parameters[name].default is not inspect.Parameter.empty:
            continue
        if parameters[name].kind in (_REST, _REST_BY_NAME):
            continue
        ending = f"which does not end in `_shape`: {names}"
        if name.endswith("_shape"):
            argument = name.removesuffix("_shape")
            taken = parameters_of(type(layer).call).get(argument)
            if taken is not None and taken.default is inspect.Parameter.empty:
                raise TypeError(
                    f"{type(layer).__name__} {layer.name!r}: call() is missing a required "
                    f"argument: {argument!r}"
                )
            ending = f"but `call()` does not have argument `{argument}`"
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: the arguments of build() must be those of "
            f"call() with `_shape` behind each, got argument `{name}`, {ending}"
        )
    layer.build(**{name: by_name[name] for name in names if name in by_name})


def outputs_of(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic tensors like the outputs, from a trace of the call."""
    is_open = any(tensor.is_open for tensor in graphs.tensors_of(args, kwargs))
    if layer._scripts(args, kwargs) and not (is_open and layer.tells_open_shapes):
        return _traced_outputs(layer, args, kwargs)
    shapes = layer.compute_output_shape(shapes_of(args[0]))
    dtype = layer._symbolic_dtype()
    if layer._moves and "float" not in getattr(args[0], "dtype", dtype):
        dtype = args[0].dtype
    return tree.map_shape_structure(lambda shape: KerasTensor(shape, dtype), shapes)


def _traced_outputs(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    outputs = trace_any(layer, args, kwargs, _training_of(kwargs)).outputs
    return tree.map_structure(_like, outputs)


def trace_any(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool
) -> graphs.Graph:
    """Trace of a call, which may couple samples, with outputs for any number of them.

    Args:
        layer: whose call it is.
        training: for which it is traced.

    Raises:
        TypeError, ValueError: of a trace in which samples are apart, or joined; see `telling`.
    """
    try:
        return trace_open(layer, args, kwargs, training)
    except (TypeError, ValueError) as error:
        if known_samples() is not None:
            raise
        found: list[graphs.Graph] = []

        def make(*args: Any, **kwargs: Any) -> Any:
            found.append(trace_open(layer, args, kwargs, training))
            return found[-1].outputs

        try:
            outputs = coupled_outputs(make, args, kwargs)
        except (TypeError, ValueError) as other:
            raise telling(error, other) from None
        graph = _opened(*found[-2:])
        graph.outputs = outputs
        return graph


def _training_of(kwargs: dict[str, Any]) -> bool:
    """Training mode of a symbolic call: its argument, or that of the code around it."""
    given = kwargs.get("training")
    current = graphs.current_scope()
    return bool(current is not None and current.training) if given is None else bool(given)


def trace_call(
    layer: Layer,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    training: bool,
    merged: list[Any] | None = None,
) -> graphs.Graph:
    """Trace `call`; the arguments' tensors are the graph's inputs.

    Args:
        layer: whose call it is.
        training: for which it is traced.
        merged: of the program for which it is traced.
    """
    # Tensors of its own, so that nothing that the call holds leads out of it.
    to = layer._input_dtype()
    args, kwargs = _all_like(args, to), _all_like(kwargs, to)
    kwargs = {**kwargs, **told_masks(layer, args, kwargs)}
    given = {name: value for name, value in kwargs.items() if name != "training"}
    if takes(type(layer), "training"):
        given["training"] = training
    reading = autocast_to(layer._autocast_dtype(autocast()))
    with _entered(layer), name_scope(layer), reading, graphs.scope(training, merged) as current:
        outputs = parts_of(layer.call(*args, **given))
    return graphs.Graph(graphs.tensors_of(args, kwargs), outputs, current)


def trace_open(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool
) -> graphs.Graph:
    """Trace `call` on tensors that may have open axes, for the output shapes.

    Where the call computes with the size of an open axis, it is traced for two sizes: what differs
    between the two is open. The nodes are those of one of them, with open shapes.

    Raises:
        ValueError: a layer within makes a weight whose shape has that size.
    """
    try:
        return trace_call(layer, args, kwargs, training)
    except (TypeError, ValueError) as error:
        if not any(tensor.is_open for tensor in graphs.tensors_of(args, kwargs)):
            raise
        fresh = [each for each in layer._flatten_layers() if not each.built]
        for first, second in _sizes_for(layer):
            try:
                one = trace_call(layer, _filled(args, first), _filled(kwargs, first), training)
                for each in fresh:
                    each._open_axes_of(first)
                other = trace_call(layer, _filled(args, second), _filled(kwargs, second), training)
                break
            except WeightOfOpenSizeError:
                raise
            except (TypeError, ValueError):
                for each in fresh:  # those that were built before it failed
                    each._open_axes_of(first)
        else:
            raise error from None
    return _opened(one, other)


def _opened(one: graphs.Graph, other: graphs.Graph) -> graphs.Graph:
    """First of two graphs of a call, with None for the sizes that differ in the other."""
    results = [(one.outputs, other.outputs)]
    if len(one.nodes) == len(other.nodes):  # else it loops over the axis
        pairs = zip(one.nodes, other.nodes, strict=True)
        results = [*((here.outputs, there.outputs) for here, there in pairs), *results]
    for here, there in results:
        for a, b in zip(tree.flatten(here), tree.flatten(there), strict=True):
            if isinstance(a, KerasTensor):
                sizes = zip(a.shape, b.shape, strict=True)
                a.shape = tuple(n if n == m else None for n, m in sizes)
    return one


def _sizes_for(layer: Layer) -> Iterator[tuple[int, int]]:
    """Pairs of sizes for an open axis: numbers that are none of the layer's own.

    The small ones are for layers with a largest number of steps, such as tables of positions.
    """
    own = {n for each in layer._flatten_layers() for n in vars(each).values() if type(n) is int}
    for sizes in _SIZES:
        first, second, *_ = (n for n in sizes if n not in own)
        yield first, second


_SIZES = (range(83, 10_000, 6), range(5, 83), range(2, 83))  # of them, 83 and 89 as in Keras


def _filled(arguments: Any, size: int) -> Any:
    """Arguments with a size for the open axes of tensors."""

    def fill(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        at = leaf.batch_axis if leaf.rows_per_sample else -1
        filled = leaf.like([size if n is None and i != at else n for i, n in enumerate(leaf.shape)])
        filled.mask = fill(leaf.mask)
        return filled

    return tree.map_structure(fill, arguments) if arguments else arguments


def told_masks(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Mask arguments of `call`, as the tensors have masks: for a list of tensors a list."""
    names = parameters_of(type(layer).call)
    if not any(name.endswith("mask") for name in names):
        return {}
    of_first = getattr(layer, "_masks_by_first", False)  # see RNN
    found = masks.arguments(names, args, kwargs, masks.of_tensor, is_tensor, of_first)
    return {name: mask for name, mask in found.items() if mask is not None}


@contextlib.contextmanager
def _entered(layer: Layer) -> Iterator[None]:
    """Context that marks the layer as being traced; ValueError for endless recursion."""
    stack = _TRACED.__dict__.setdefault("stack", [])
    if stack.count(layer) >= _MOST_WITHIN_ITSELF:
        names = list(dict.fromkeys(layer.name for layer in stack[stack.index(layer) :]))
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: the layers must not form a cycle, got one "
            f"of the calls of {names}"
        )
    stack.append(layer)
    try:
        yield
    finally:
        stack.pop()


@contextlib.contextmanager
def undone_on_failure(layer: Layer) -> Iterator[None]:
    """Context that undoes what was built if the body fails."""
    fresh = [(each, each._kept()) for each in layer._flatten_layers() if not each.built]
    try:
        yield
    except BaseException:
        for each, kept in fresh:
            each._put_back(kept)
        raise


def first_node(layer: Layer, what: str) -> graphs.Node:
    """First call of a layer in a graph; AttributeError without one: it has no `what`."""
    stack = stack_of(layer)
    if not layer._inbound_nodes and stack is not None and stack.built:
        stack.outputs  # noqa: B018 - which calls its layers on symbolic tensors
    if layer._inbound_nodes:
        return layer._inbound_nodes[0]
    owner = f"{type(layer).__name__} {layer.name!r}"
    raise AttributeError(f"{owner} has no {what}: it was never called on a symbolic tensor")


def _like(leaf: Any, to: str | None = None) -> Any:
    """New tensor of the same shape, floats in that dtype; other leaves as they are."""
    if not isinstance(leaf, KerasTensor):
        return leaf
    return leaf.twin(to if "float" in leaf.dtype else None)


def _all_like(arguments: Any, to: str | None) -> Any:
    """Arguments with new tensors, floats in that dtype."""
    return tree.map_structure(lambda leaf: _like(leaf, to), arguments) if arguments else arguments
