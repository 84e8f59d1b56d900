"""Context of layers that build or run: names, training mode, dtype."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.dtypes import LOW, is_float, is_low
from cdl._variables.low_array import low, plain

if TYPE_CHECKING:
    from cdl.layers.layer import Layer


_RUNNING = threading.local()  # its names: of the layers that build or run; its training: their mode


class name_scope:  # noqa: N801 - a context
    """Context that puts a layer's name before those of variables made within."""

    __slots__ = ("_inner", "_layer", "_stack")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        self._stack = _RUNNING.__dict__.setdefault("names", [])
        self._inner = not self._stack or self._stack[-1] is not self._layer
        if self._inner:
            self._stack.append(self._layer)

    def __exit__(self, *raised: object) -> None:
        if self._inner:
            self._stack.pop()


def path_of(layer: Any) -> str:
    """Path: the names of the layers that build or run, and of one within them."""
    stack = _RUNNING.__dict__.get("names")
    if not stack:
        return str(layer.name)
    names = [each.name for each in stack]
    return "/".join(names if stack[-1] is layer else [*names, layer.name])


def training_around() -> bool | None:
    """Training mode of the surrounding call on arrays; None without one."""
    return _RUNNING.__dict__.get("training")


@contextlib.contextmanager
def call_context(training: bool | None) -> Iterator[None]:
    """Context of the training mode of calls on arrays, unless they set it."""
    before = training_around()
    _RUNNING.training = training
    try:
        yield
    finally:
        _RUNNING.training = before


@contextlib.contextmanager
def preparing() -> Iterator[list[Any]]:
    """Context with a list of the layers that are called in training and change before a step."""
    before = _RUNNING.__dict__.get("prepared")
    found: list[Any] = []
    _RUNNING.prepared = found
    try:
        yield found
    finally:
        _RUNNING.prepared = before


def prepare(layer: Layer) -> None:
    """Note a layer that is called in training and changes before a step; see `preparing`."""
    found = _RUNNING.__dict__.get("prepared")
    if found is not None and layer not in found:
        found.append(layer)


def in_dtype(arguments: Any, dtype: str | None) -> Any:
    """Arguments with arrays of floats in this dtype; None leaves them, or makes them float32."""

    def cast(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or not is_float(leaf.dtype.name):
            return leaf
        to = dtype or (leaf.dtype.name if is_low(leaf.dtype) else "float32")
        if to in LOW:
            return low(leaf, to)
        return leaf if leaf.dtype.name == to else plain(leaf).astype(to)

    return tree.map_structure(cast, arguments) if arguments else arguments
