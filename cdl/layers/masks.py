"""Masks in programs: the lines of a layer's output that count."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from cdl import tree
from cdl._common.errors import warn
from cdl._ir import emit
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdl.layers.arguments import Lowering, Value
    from cdl.layers.layer import Layer

# Layers that have warned: each is lowered several times, but says it once.
_WARNED: weakref.WeakSet[Any] = weakref.WeakSet()


def tensor_of(mask: Value) -> KerasTensor:
    """Symbolic tensor of a mask for Python code: of bools, without the axis of size 1."""
    return KerasTensor((None, *mask.shape[:-1]), "bool")


def of_tensor(leaf: Any) -> KerasTensor | None:
    """Symbolic mask of a symbolic tensor, a new one; None for what has none."""
    mask: KerasTensor | None = leaf.mask if isinstance(leaf, KerasTensor) else None
    return None if mask is None else mask.like()


def tells_truths(mask: Any) -> bool:
    """Whether a call's named mask is of tensors of bools."""
    tensors = graphs.tensors_in(mask)
    return bool(tensors) and all(each.dtype == "bool" for each in tensors)


def as_tensor(program: Lowering, mask: Value) -> Value:
    """Mask in the shape of `tensor_of`."""
    return program.emit("reshape", (mask,), mask.shape[:-1])


def as_lines(program: Lowering, owner: str, x: Value, mask: Value) -> Value:
    """Mask with one number for each line of `x`, from a mask in the shape of `tensor_of`.

    Raises:
        ValueError: it does not have one number, or one for all, for each line of the value.
    """
    lines = x.shape[:-1]
    fits = len(mask.shape) == len(lines) and all(
        n in (1, m) for n, m in zip(mask.shape, lines, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{owner}: mask must have shape {(None, *lines)}, one axis less than the inputs, got "
            f"{(None, *mask.shape)}"
        )
    whole = emit.broadcast(program, mask, lines)
    return program.emit("reshape", (whole,), (*lines, 1))


def is_value(leaf: Any) -> bool:
    """Whether it is a value of a program."""
    return hasattr(leaf, "mask") and hasattr(leaf, "role")


def arguments(
    names: Iterable[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    mask_of: Any,
    is_tensor: Any,
    of_first: bool = False,
) -> dict[str, Any]:
    """Mask arguments of a `call`, where its caller gives none.

    With one argument of tensors it is `mask`, nested as they are; with several, the mask of
    ``query`` is ``query_mask``, as in Keras.

    Args:
        names: the names of the arguments of `call`.
        mask_of: gives the mask of a leaf, or None.
        is_tensor: tells leaves that may have one.
        of_first: whether `mask` is that of the first argument though there are several.
    """
    names = list(names)
    given = dict(zip(names, args, strict=False)) | kwargs
    carriers = {
        name: value
        for name, value in given.items()
        if name != "mask"
        and not name.endswith("_mask")
        and any(map(is_tensor, tree.flatten(value)))
    }
    places = {name: f"{name}_mask" for name in carriers}
    if len(carriers) == 1:
        places = dict.fromkeys(carriers, "mask")
    elif of_first:
        places = {names[0]: "mask"} if names[0] in carriers else {}
    return {
        place: tree.map_structure(mask_of, carriers[name])
        for name, place in places.items()
        if place in names and given.get(place) is None
    }


def of_outputs(
    layer: Layer, program: Lowering, spec: Any, inputs: Any, outputs: Any, told: Any = None
) -> None:
    """Set the masks of a layer's outputs; a single mask is that of the first.

    A mask that the call was told goes on in place of that of the inputs, as in Keras.

    Args:
        layer: the layer; it passes masks on, has a `compute_mask` of its own, or warns.
        program: of the values.
        spec: symbolic tensors like the inputs.
        inputs: the layer's first argument, with values.
        outputs: the values, nested.
        told: the `mask=` of the call: values of truths, nested, without the axis of size 1.
    """
    values = [y for y in tree.flatten(outputs) if is_value(y)]
    if all(y.mask is not None for y in values):
        return
    given = [v for v in tree.flatten(inputs) if is_value(v)]
    masked = any(v.mask is not None for v in given)
    if layer._computes_masks():
        _give(values, _computed(layer, program, spec, inputs, told))
    elif layer.supports_masking and is_value(told) and told.shape == given[0].shape[:-1]:
        _give(values, [_as_mask(program, told)])
    elif masked and layer.supports_masking:
        _give(values, [given[0].mask])
    elif masked and layer not in _WARNED:
        _WARNED.add(layer)
        warn(
            f"{type(layer).__name__} {layer.name!r} does not support masking: layers after it, "
            "losses and metrics do not see the mask of its input"
        )


def of_symbolic_outputs(
    layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
) -> None:
    """Set the masks of a call's symbolic outputs, for the code behind it that is traced.

    Args:
        layer: the layer; see `of_outputs`, which sets those of a program's values.
        outputs: symbolic tensors, nested.
    """
    from cdl.layers.layer import Layer as Base

    inputs = (*args, *kwargs.values(), None)[0]
    computes = type(layer).compute_mask is not Base.compute_mask
    masked = any(tensor.mask is not None for tensor in graphs.tensors_in(inputs))
    if not (computes or masked or "mask" in kwargs):
        return
    own = tree.map_structure(of_tensor, inputs)
    told = kwargs.get("mask") if tells_truths(kwargs.get("mask")) else None
    found: list[Any] = []
    if computes:
        with graphs.scope(training=False):
            like = tree.map_structure(_like, inputs)
            found = tree.flatten(layer.compute_mask(like, own if told is None else told))
    elif layer.supports_masking:
        first = tree.flatten(inputs)[0]
        fits = isinstance(told, KerasTensor) and told.shape[1:] == first.shape[1:-1]
        found = [told] if fits else tree.flatten(own)[:1]
    for y, mask in zip(tree.flatten(outputs), found, strict=False):
        if isinstance(y, KerasTensor) and isinstance(mask, KerasTensor) and y.mask is None:
            y.mask = mask.like(dtype="bool")


def _like(leaf: Any) -> Any:
    return leaf.like() if isinstance(leaf, KerasTensor) else leaf


def _give(values: list[Any], masks: list[Value | None]) -> None:
    for y, mask in zip(values, masks, strict=False):
        y.mask = mask if y.mask is None else y.mask


def _as_mask(program: Lowering, told: Value) -> Value:
    """Mask from the value of `as_tensor`."""
    return program.emit("reshape", (told,), (*told.shape, 1))


def _computed(
    layer: Layer, program: Lowering, spec: Any, inputs: Any, told: Any
) -> list[Value | None]:
    """Masks of the outputs by `compute_mask`, one for each."""
    tensors = tree.map_structure(
        lambda t: KerasTensor(t.shape, t.dtype) if isinstance(t, KerasTensor) else t, spec
    )
    if any(map(is_value, tree.flatten(told))):
        shown = tree.map_structure(lambda v: v if is_value(v) else None, told)
    else:
        shown = tree.map_structure(
            lambda v: as_tensor(program, v.mask) if is_value(v) and v.mask is not None else None,
            inputs,
        )
    of_masks = tree.map_structure(
        lambda v: None if v is None else KerasTensor((None, *v.shape), "bool"), shown
    )
    graph = graphs.trace(layer.compute_mask, (tensors, of_masks), {}, program.training)
    found = tree.flatten(graph.outputs)
    if not any(isinstance(each, KerasTensor) for each in found):
        return []
    values = [v for v in tree.flatten((inputs, shown)) if is_value(v)]
    return [
        _as_mask(program, mask) if is_value(mask) else None
        for mask in tree.flatten(graph.lower(program, values))
    ]
