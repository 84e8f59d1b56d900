"""Recorded calls, and arrays that know the call that made them.

A tape holds the calls; an array has the number of its call alone, so that a loss that is kept for
later holds nothing else.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from cdl import tree
from cdl._tracing.graph import current_scope
from cdl._tracing.variable import Variable
from cdl._variables import stepping
from cdl._variables.step_forms import NUMBERS, of_python
from cdl.layers import Layer
from cdl.layers.moved import moved_variables

_METHODS = (
    "sum", "mean", "max", "min", "prod", "std", "var", "reshape", "astype", "transpose", "flatten",
    "ravel", "squeeze", "clip", "cumsum", "dot", "round", "swapaxes", "repeat", "argmax", "argmin",
)  # fmt: skip
_FUNCTIONS = ("all", "any", "argsort", "copy", "cumprod", "diagonal", "take", "trace")
_IN_PLACE = ("fill", "itemset", "partition", "put", "resize", "sort")
_WRITING = ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask")
_NESTED = (list, tuple, dict)
_serials = itertools.count()


class _State(threading.local):
    """Tapes of a thread that record; whether a recorded call is running, or is done again."""

    def __init__(self) -> None:
        self.tapes: list[Any] = []
        self.busy = self.replays = False


state = _State()


class Node(NamedTuple):
    """A recorded call.

    Attributes:
        call: the function.
        key: the identity of the call, together with `owner`.
        owner: the layer or loss that was called, or None.
        args: positional and keyword arguments.
        leaves: these as a flat list.
        serial: a number that grows with each call.
        before: what the call found in variables that such calls change, each with its value.
    """

    call: Callable[..., Any]
    key: Any
    owner: Any
    args: tuple[tuple[Any, ...], dict[str, Any]]
    leaves: list[Any]
    serial: int
    before: Sequence[tuple[Any, Any]] = ()

    @property
    def form(self) -> Any:
        """The structure of the arguments, for comparisons."""
        args, kwargs = self.args
        if len(self.leaves) == len(args) + len(kwargs):
            return len(args), tuple(kwargs)
        return repr(tree.map_structure(lambda leaf: 0, self.args))


class Taped(np.ndarray[Any, np.dtype[Any]]):
    """An array that a tape watches or that a recorded call gave; arithmetic on it is recorded.

    Attributes:
        origin: the serial number of the call, and the position among its results; or None.
    """

    origin: tuple[int, int] | None = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))[0]
        if method == "at":
            self._refuse_writing()
        if out is not None and out is not inputs[0]:  # `x += y` gives a new array
            raise TypeError(
                f"GradientTape: {ufunc.__name__} of an array that it has recorded takes no out="
            )

        def run(*inputs: Any, **kwargs: Any) -> Any:
            return getattr(ufunc, method)(*map(plain, inputs), **kwargs)

        key = ("ufunc", ufunc.__name__, method)
        return self.unrecorded(recorded(run, key, None, inputs, kwargs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ in _WRITING and args and isinstance(args[0], Taped):
            self._refuse_writing()

        def run(*args: Any, **kwargs: Any) -> Any:
            return func(*tree.map_structure(plain, args), **tree.map_structure(plain, kwargs))

        key = ("numpy", func.__module__, func.__name__)
        return self.unrecorded(recorded(run, key, None, args, kwargs))

    def __getitem__(self, key: Any) -> Any:
        return self.unrecorded(recorded_item(lambda x, key: plain(x)[key], self, key))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse_writing()

    def _refuse_writing(self, *given: Any, **named: Any) -> NoReturn:
        """Error of methods that write into the array."""
        raise TypeError(
            "GradientTape: an array that it has recorded must stay as it is: np.array(x) is a copy "
            "to write into, without gradients; ops.where and ops.scatter_update give new arrays"
        )

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose: axes in reverse order."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802
        """The transposes of matrices: the last two axes change places."""
        return self.swapaxes(-2, -1)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))

    @staticmethod
    def unrecorded(result: Any) -> Any:
        """Result of a call that has no record, as calls give it."""
        return result


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name) if name in _FUNCTIONS else None

    def method(self: Taped, *args: Any, **kwargs: Any) -> Any:
        def run(x: Any, *args: Any, **kwargs: Any) -> Any:
            if function is not None:
                return function(plain(x), *args, **kwargs)
            return getattr(plain(x), name)(*args, **kwargs)

        return self.unrecorded(recorded(run, ("method", name), None, (self, *args), kwargs))

    method.__doc__ = getattr(np.ndarray, name).__doc__
    return method


for _name in (*_METHODS, *_FUNCTIONS):
    setattr(Taped, _name, _method(_name))
for _name in _IN_PLACE:
    setattr(Taped, _name, Taped._refuse_writing)

CLASS: list[type[Taped]] = [Taped]  # its last: the class of the arrays that calls give


def plain(leaf: Any) -> Any:
    """View an array as one without a record, and a number of a step as one of Python's own.

    Any other value is returned unchanged.
    """
    return leaf.view(np.ndarray) if isinstance(leaf, Taped) else of_python(leaf)


def is_recording() -> bool:
    """Whether a call is recorded now: a tape is open, and no recorded call is running."""
    return bool(state.tapes) and not state.busy and current_scope() is None


def recorded(
    function: Callable[..., Any],
    key: Any,
    owner: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Result of a call, which is recorded if a tape is open.

    Args:
        function: of arrays and of symbolic tensors.
        key: the identity of the call, together with `owner`.
        owner: the layer or loss, if any.
    """
    if not is_recording():
        return function(*args, **kwargs)
    step = stepping.state.recording
    if step is not None:  # of a training step, which makes the call on its arrays
        return step.call(recorded, (function, key, owner, args, kwargs), {})
    leaves, given = tree.flatten((args, kwargs)), (args, kwargs)
    is_taped = any([isinstance(leaf, Taped) for leaf in leaves])
    if is_taped or any([type(leaf) in NUMBERS for leaf in leaves]):
        given = tree.map_structure(plain, given)
    before = {id(each): (each, each.numpy()) for each in moved_variables([owner], only_read=True)}
    is_first = not getattr(owner, "built", True)
    state.busy = True
    try:
        result = function(*given[0], **given[1])
    finally:
        state.busy = False
    has_weights = isinstance(owner, Layer) or any([isinstance(leaf, Variable) for leaf in leaves])
    if not is_taped and not has_weights:
        return result
    for each in moved_variables([owner], only_read=True) if is_first else ():
        if each.name == "rnn_state":  # that call has made them, as zeros
            before.setdefault(id(each), (each, np.zeros_like(each.numpy())))
    found = [*before.values()]
    node = Node(function, key, owner, (args, kwargs), leaves, next(_serials), found)
    for tape in state.tapes:
        tape._note(node)
    if not isinstance(result, _NESTED):
        return _made(result, node.serial, 0)
    parts = [_made(leaf, node.serial, i) for i, leaf in enumerate(tree.flatten(result))]
    return tree.pack_sequence_as(result, parts)


def recorded_item(get: Callable[[Any, Any], Any], thing: Any, key: Any) -> Any:
    """Result of `thing[key]`, recorded with the parts of the key as arguments.

    Args:
        get: of a thing and a key.
        thing: an array or a variable.
        key: numbers, slices and arrays.
    """
    many = isinstance(key, tuple)

    def run(thing: Any, *parts: Any) -> Any:
        return get(thing, parts if many else parts[0])

    return recorded(run, ("item", many), None, (thing, *(key if many else (key,))), {})


def _made(leaf: Any, serial: int, place: int) -> Any:
    """A numeric result as an array with its origin; any other result unchanged."""
    if not isinstance(leaf, (np.ndarray, np.generic, float)):
        return leaf
    array = np.asarray(leaf)
    kind = array.dtype.kind
    if kind in "OUS":
        return leaf
    if not array.ndim and kind in "biu":
        return CLASS[-1].unrecorded(leaf)  # a place or a count has no gradient: a constant
    made = array.view(CLASS[-1])
    made.origin = (serial, place)
    return made


def origin_of(leaf: Any, nodes: dict[int, Node]) -> tuple[Node, int] | None:
    """The call that made an array, and the position of the array among its results.

    Args:
        leaf: any value; one that the tape has not recorded has no origin (None).
        nodes: of the tape.
    """
    origin = leaf.origin if isinstance(leaf, Taped) else None
    if origin is None or origin[0] not in nodes:
        return None
    return nodes[origin[0]], origin[1]
