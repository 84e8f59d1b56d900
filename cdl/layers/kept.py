"""Cached programs of calls on arrays, valid until a layer's attributes change.

A call traces the layer, rewrites the program and plans its memory, which takes many times as long
as a small batch. A program is valid as long as the layer and those within it have identical
attributes: setting a rate, freezing a layer or appending one to a list invalidates it. Class
attributes of a custom layer count too, and the contents of its arrays, variables and plain objects,
which the trace has read as constants.
"""

from __future__ import annotations

import operator
import types
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cdl._common.overriding import is_users
from cdl._core import Steady, attributes_set, pairs_by_type
from cdl._tracing.variable import Variable
from cdl._variables.state import State

if TYPE_CHECKING:
    from cdl.layers.layer import Layer


T = TypeVar("T")

_LONG = 256  # elements of longer lists and dicts are not compared
_LARGE = 2**16  # bytes of an array; contents of larger ones are not compared
_PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None)))
_OF_CDLS = _PLAIN | {Variable}  # in layers of cdl's own, which are told of new values
_NESTING = (list, dict)  # in which a layer of cdl's own keeps what may change
_MOST = 16  # programs of one layer, so that shapes that came once do not pile up
_MOST_INSIDE = 256  # lists, dicts and objects compared within one layer


class Snapshot:
    """Attributes of a layer and of all layers within it.

    Args:
        layer: the layer, to which no reference is kept, since it may own the snapshot.

    Attributes:
        within: the layers within it.
    """

    def __init__(self, layer: Layer) -> None:
        self.within = layer._flatten_layers(include_self=False)
        self._attributes = _Attributes(layer)
        self._inner = [(each, _Attributes(each)) for each in self.within]

    def holds(self, layer: Layer) -> bool:
        """Whether the same layer still has these attributes."""
        if not self._attributes.are_those_of(layer):
            return False
        for each, attributes in self._inner:  # noqa: SIM110 - half the time of all()
            if not attributes.are_those_of(each):
                return False
        return True

    def of_users(self) -> list[_Attributes]:
        """Snapshots of custom layers, whose attributes may change in place."""
        every = [self._attributes, *(attributes for _, attributes in self._inner)]
        return [each for each in every if each.of_users]


class _Attributes:
    """Attributes of one layer, with the contents of lists and dicts."""

    def __init__(self, layer: Layer) -> None:
        there, self._passing = vars(layer), layer._passing
        self._before = there.copy()
        for name in self._passing.intersection(there):  # programs among them have such watches
            del self._before[name]
        # Names and values to compare, collected at the first comparison.
        self._counting: tuple[set[str], list[Any]] | None = None
        self._count = len(there)
        self.of_users = layer._given is not None
        self._inside: list[tuple[Collection[Any], list[Any]]] = []  # as it is now, and was
        self._arrays: list[tuple[Any, bytes]] = []
        if self.of_users:
            for each in type(layer).__mro__[:-1]:
                if is_users(each):
                    self._note(vars(each).values())
            self._look_into(
                each
                for name, each in there.items()
                if name not in self._passing and name not in OF_LAYERS
            )
        else:
            nested = pairs_by_type(there, _NESTING, True)
            self._look_into([each for name, each in nested if name not in self._passing])

    def _note(self, things: Collection[Any]) -> list[Any]:
        before = list(things)
        self._inside.append((things, before))
        return before

    def _look_into(self, things: Iterable[Any]) -> None:
        """Record the contents of lists and dicts, and of a custom layer's arrays and plain objects.

        The order is breadth-first.
        """
        skipped = _PLAIN if self.of_users else _OF_CDLS
        seen: set[int] = set()
        waiting = list(things)
        for thing in waiting:  # to which their contents are added
            if type(thing) in skipped or id(thing) in seen:
                continue
            if len(self._inside) >= _MOST_INSIDE:
                break
            seen.add(id(thing))
            if isinstance(thing, tuple):
                waiting.extend(thing)  # += would ask a subclass of tuple for its __radd__
            elif isinstance(thing, _COLLECTIONS):
                if not thing:
                    self._inside.append((thing, []))
                elif len(thing) <= _LONG:
                    waiting += self._note(thing)
                    if isinstance(thing, dict):
                        waiting += self._note(thing.values())
            elif self.of_users:
                array = thing._array if isinstance(thing, State) else thing
                if isinstance(array, np.ndarray):
                    if array.nbytes <= _LARGE:
                        self._arrays.append((array, array.tobytes()))
                elif (attributes := _attributes_of(thing)) is not None:
                    waiting += self._note(attributes)

    def are_those_of(self, layer: Layer) -> bool:
        """Whether a layer has the same attributes, in number too."""
        there = vars(layer)
        counting = self._counting
        if counting is None:
            names = self._before.keys() - self._passing
            self._counting = counting = names, list(map(self._before.get, names))
        names, values = counting
        if len(there) != self._count:
            if there.keys() - self._passing != names:
                return False
            self._count = len(there)
        return _alike(list(map(there.get, names)), values) and self.hold_the_same()

    def hold_the_same(self) -> bool:
        """Whether lists, dicts, arrays, objects and the class of a custom layer are as before."""
        for things, before in self._inside:
            if not _alike(things, before):
                return False
        for array, content in self._arrays:  # noqa: SIM110 - half the time of all()
            if array.tobytes() != content:
                return False
        return True


_COLLECTIONS = (list, dict, set, deque)
OF_LAYERS = frozenset(("_given", "_weights", "_frozen", "_dtype_policy", "_compiled"))


class _InSlots:
    """Attributes of an object in the slots of its class."""

    def __init__(self, thing: Any, names: list[str]) -> None:
        self._thing, self._names = thing, names

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self._thing, name, None) for name in self._names)

    def __contains__(self, thing: Any) -> bool:
        return thing in list(self)


def _attributes_of(thing: Any) -> Collection[Any] | None:
    """Attributes of an object of a custom class unrelated to cdl; None of others.

    It is a live view.
    """
    if isinstance(thing, (type, types.ModuleType, types.FunctionType)):
        return None
    bases = type(thing).__mro__[:-1]
    modules = {(each.__module__ or "").partition(".")[0] for each in bases}
    if modules & {"cdl", "builtins", "numpy"}:
        return None
    if hasattr(thing, "__dict__"):
        there: dict[str, Any] = vars(thing)
        return there.values()
    slots = [vars(each).get("__slots__", ()) for each in bases]
    return _InSlots(
        thing, [name for each in slots for name in ([each] if isinstance(each, str) else each)]
    )


class Watch:
    """Watch for changes of a model since its programs were made.

    A global counter counts assignments of attributes, so that a model is compared only after one.
    Changes in place, inside layers of the user's, are compared each time.

    Args:
        layer: the model, to which no reference is kept.

    Attributes:
        steady: whether no attribute was set since the last check, so that `holds` is true; False if
            layers of the user's must be compared each time.
        within: the layers within the model, at any depth.
        trained: cache of the weights that training changes, or None.
        metrics: cache of the metrics in attributes of a model and its layers, or None.
    """

    trained: Any = None
    metrics: list[Any] | None = None

    def __init__(self, layer: Layer) -> None:
        now = attributes_set()
        self._layer = weakref.ref(layer)
        self._snapshot = Snapshot(layer)
        self.within = self._snapshot.within
        self._inside = self._snapshot.of_users()
        self._held_at(now)

    def _held_at(self, count: int) -> None:
        self._seen = count
        self.steady = False if self._inside else Steady(count)

    def holds(self) -> bool:
        """Whether the layers still have the same attributes."""
        now = attributes_set()
        if now == self._seen:
            for each in self._inside:  # noqa: SIM110 - half the time of all()
                if not each.hold_the_same():
                    return False
            return True
        layer = self._layer()
        if layer is None or not self._snapshot.holds(layer):
            return False
        self._held_at(now)
        return True


class KeptPrograms:
    """Program cache of one layer, empty in copies and pickles of the layer."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Snapshot, Any]] = {}

    def get(self, layer: Any, key: Any, make: Callable[[], T]) -> T:
        """Cached program for a key, made again if it is not valid.

        Args:
            layer: the layer.
            key: other dependencies of the program: mode and shapes.
            make: function that makes the program.
        """
        found = self._found.get(key)
        if found is not None and found[0].holds(layer):
            kept: T = found[1]
            return kept
        made = make()
        if key not in self._found and len(self._found) >= _MOST:
            self._found.pop(next(iter(list(self._found))), None)
        self._found[key] = Snapshot(layer), made
        return made

    def __reduce__(self) -> Any:
        return KeptPrograms, ()


def _alike(now: Collection[Any], before: list[Any]) -> bool:
    """Whether two lists hold the same objects, or equal numbers and texts."""
    if len(now) != len(before):
        return False
    if all(map(operator.is_, now, before)):
        return True
    now = list(now)  # which another thread may change meanwhile
    return len(now) == len(before) and all(
        a is b or (type(a) is type(b) and type(a) in _PLAIN and a == b)
        for a, b in zip(now, before, strict=True)
    )
