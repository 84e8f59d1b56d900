"""Tensors that know which call made them, while a tape is open."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cdl import Variable, tree
from cdl._tracing.graph import current_scope
from cdl.scripts.tensor import Tensor, tensors

_METHODS = (
    "sum", "mean", "max", "min", "prod", "std", "var", "reshape", "astype", "transpose", "flatten",
    "ravel", "squeeze", "clip", "cumsum", "dot", "round", "swapaxes", "repeat", "argmax", "argmin",
)  # fmt: skip
_serials = itertools.count()


class _State(threading.local):
    """Tapes that are open in a thread, and whether a call that is noted runs just now."""

    def __init__(self) -> None:
        self.tapes: list[Any] = []
        self.busy = False


state = _State()


class Node(NamedTuple):
    """A call that was noted.

    Attributes:
        call: what was called.
        key: tells it from other calls, together with `owner`.
        owner: the layer or loss that was called, or None.
        args: its arguments: positional ones, and those by name.
        serial: which comes first.
    """

    call: Callable[..., Any]
    key: Any
    owner: Any
    args: tuple[tuple[Any, ...], dict[str, Any]]
    serial: int


class Taped(Tensor):
    """A tensor that knows which call made it."""

    def __array_finalize__(self, before: Any) -> None:
        """A view is no result of that call."""
        self.__dict__.pop("made_by", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)  # of `x += y`, which gives a tensor of its own

        def run(*inputs: Any, **kwargs: Any) -> Any:
            return getattr(ufunc, method)(*map(plain, inputs), **kwargs)

        return tensors(noted(run, ("ufunc", ufunc.__name__, method))(*inputs, **kwargs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            return func(*tree.map_structure(plain, args), **tree.map_structure(plain, kwargs))

        return tensors(noted(run, ("numpy", func.__module__, func.__name__))(*args, **kwargs))

    def __getitem__(self, key: Any) -> Any:
        def run(x: Any, *key: Any) -> Any:
            return plain(x)[key if many else key[0]]

        many = isinstance(key, tuple)
        return tensors(noted(run, ("item", many))(self, *(key if many else (key,))))

    @property
    def T(self) -> Any:  # noqa: N802
        """The axes in the reverse order."""
        return self.transpose()


def _method(name: str) -> Callable[..., Any]:
    def method(self: Taped, *args: Any, **kwargs: Any) -> Any:
        def run(x: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(plain(x), name)(*args, **kwargs)

        return tensors(noted(run, ("method", name))(self, *args, **kwargs))

    return method


for _name in _METHODS:
    setattr(Taped, _name, _method(_name))


def plain(leaf: Any) -> Any:
    """A tensor as an array of NumPy's own; anything else as it is."""
    return leaf.view(np.ndarray) if isinstance(leaf, Tensor) else leaf


def is_noting() -> bool:
    """Whether what is called now is to be noted."""
    return bool(state.tapes) and not state.busy


def noted(function: Callable[..., Any], key: Any, owner: Any = None) -> Callable[..., Any]:
    """A function whose results know that it made them, while a tape is open.

    Args:
        function: of arrays, and of symbolic tensors.
        key: tells what it does, together with `owner`.
        owner: a layer or loss.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not is_noting():
            return function(*args, **kwargs)
        state.busy = True
        try:
            result = function(*args, **kwargs)
        finally:
            state.busy = False
        sources: tuple[type, ...] = (Taped, Variable)
        known = not hasattr(owner, "variables") and key[0] != "penalties"
        if known and not any(isinstance(each, sources) for each in tree.flatten((args, kwargs))):
            return result
        node = Node(function, key, owner, (args, kwargs), next(_serials))
        leaves = [_taped(leaf, node, i) for i, leaf in enumerate(tree.flatten(result))]
        return tree.pack_sequence_as(result, leaves)

    return call


def _taped(leaf: Any, node: Node, place: int) -> Any:
    """A result that is made of numbers with a note of its origin; any other as it is."""
    if (
        not isinstance(leaf, (np.ndarray, np.generic, float))
        or np.asarray(leaf).dtype.kind in "OUS"
    ):
        return leaf
    made = np.asarray(leaf).view(Taped)
    made.__dict__["made_by"] = (node, place)
    return made


def made_by(leaf: Any, cuts: Any = None) -> tuple[Node, int] | None:
    """The call that made it, and which of its results it is.

    Args:
        leaf: anything.
        cuts: calls in whose place others are; see `_cuts`.
    """
    origin: tuple[Node, int] | None = (
        leaf.__dict__.get("made_by") if isinstance(leaf, Taped) else None
    )
    if cuts and origin is not None and origin[0].serial in cuts:
        node, places = cuts[origin[0].serial]
        return (node, places[origin[1]]) if origin[1] in places else None
    return origin


def penalties(losses: list[Any]) -> list[Any]:
    """The numbers that layers add to a loss: a gradient counts them by itself, so they are 0."""

    def run() -> Any:
        return [0.0] * len(losses) if current_scope() is not None else losses

    return list(noted(run, ("penalties", len(losses)))())
