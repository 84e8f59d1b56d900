"""Tensors that store the call that made them, while a tape is open."""

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
    """The open tapes of a thread, and a flag that is set within a recorded call."""

    def __init__(self) -> None:
        self.tapes: list[Any] = []
        self.busy = False


state = _State()


class Node(NamedTuple):
    """A recorded call.

    Attributes:
        call: the function.
        key: the identity of the call, together with `owner`.
        owner: the layer or loss that was called, or None.
        args: positional and keyword arguments.
        serial: a number that grows with each call.
    """

    call: Callable[..., Any]
    key: Any
    owner: Any
    args: tuple[tuple[Any, ...], dict[str, Any]]
    serial: int


class Taped(Tensor):
    """A tensor with the call that made it in `made_by`."""

    def __array_finalize__(self, before: Any) -> None:
        """Drop the record from views, which are not results of the call."""
        self.__dict__.pop("made_by", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)  # `x += y` returns a new tensor

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
        """The transpose: axes in reverse order."""
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
    """View a tensor as a plain NumPy array; return any other value unchanged."""
    return leaf.view(np.ndarray) if isinstance(leaf, Tensor) else leaf


def is_noting() -> bool:
    """Whether a call is recorded now: a tape is open, and no recorded call is running."""
    return bool(state.tapes) and not state.busy


def noted(function: Callable[..., Any], key: Any, owner: Any = None) -> Callable[..., Any]:
    """Wrap a function to record its calls while a tape is open.

    Args:
        function: a function of arrays and of symbolic tensors.
        key: the identity of the call, together with `owner`.
        owner: the layer or loss, if any.
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
    """A numeric result as a tensor with its origin; any other result unchanged."""
    if (
        not isinstance(leaf, (np.ndarray, np.generic, float))
        or np.asarray(leaf).dtype.kind in "OUS"
    ):
        return leaf
    if not np.ndim(leaf) and np.asarray(leaf).dtype.kind in "biu":
        return tensors(np.asarray(leaf))  # a place or a count has no gradient: a constant
    made = np.asarray(leaf).view(Taped)
    made.__dict__["made_by"] = (node, place)
    return made


def made_by(leaf: Any, cuts: Any = None) -> tuple[Node, int] | None:
    """The call that made a tensor, and the position of the tensor among its results.

    Args:
        leaf: any value; one that is not recorded has no origin (None).
        cuts: replacements of calls: see `tape_programs._cuts`.
    """
    origin: tuple[Node, int] | None = (
        leaf.__dict__.get("made_by") if isinstance(leaf, Taped) else None
    )
    if cuts and origin is not None and origin[0].serial in cuts:
        node, places = cuts[origin[0].serial]
        return (node, places[origin[1]]) if origin[1] in places else None
    return origin


def penalties(losses: list[Any]) -> list[Any]:
    """Regularization losses of layers: 0 when traced, since the gradient adds them itself."""

    def run() -> Any:
        return [0.0] * len(losses) if current_scope() is not None else losses

    return list(noted(run, ("penalties", len(losses)))())
