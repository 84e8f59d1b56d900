"""Programs of calls on arrays, kept from one call to the next while they are true.

A call traces the layer, rewrites the program and plans its memory, which takes many times as long
as a small batch. A program holds as long as the layer and those within it have the attributes that
they had: the same objects, so that a rate that is set, a layer that is frozen or appended to a list
make a new one. Of layers of the user's attributes of the class count too, and what is in arrays,
variables and plain objects there, since a trace has read these as constants.
"""

from __future__ import annotations

import operator
import types
import weakref
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.overriding import is_users
from cdl._tracing.eager import Runner
from cdl._variables.state import State
from cdl.layers.tracking import PASSING, attributes_set, things_in

if TYPE_CHECKING:
    from cdl.layers.layer import Layer


_LONG = 256  # of longer lists and dicts what is in them is not looked at
_LARGE = 2**16  # bytes of an array; what is in larger ones is not looked at
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MOST = 16  # programs of one layer: shapes that came once must not pile up


class Snapshot:
    """What a layer and all layers within it have as attributes.

    Args:
        layer: the layer; it is not held, so that it may hold the snapshot.
    """

    def __init__(self, layer: Layer) -> None:
        inner = layer._flatten_layers(include_self=False)
        self._attributes = _Attributes(layer)
        self._inner = [(each, _Attributes(each)) for each in inner]

    def holds(self, layer: Layer) -> bool:
        """Whether the layer, that of before, has them still."""
        if not self._attributes.are_those_of(layer):
            return False
        for each, attributes in self._inner:  # noqa: SIM110 - half the time of all()
            if not attributes.are_those_of(each):
                return False
        return True

    def of_users(self) -> list[_Attributes]:
        """Those of layers of the user's, which may change inside without being set."""
        every = [self._attributes, *(attributes for _, attributes in self._inner)]
        return [each for each in every if each.of_users]


class _Attributes:
    """Those of one layer, and what is in those that are lists and dicts."""

    def __init__(self, layer: Layer) -> None:
        there = {name: value for name, value in vars(layer).items() if name not in PASSING}
        self._names = list(there)
        self._values = list(there.values())
        self._count = len(vars(layer))
        held = [each for each in there.values() if isinstance(each, (list, dict))]
        self._held = [
            (each, len(each), list(things_in(each))) for each in held if len(each) <= _LONG
        ]
        self.of_users = is_users(type(layer))
        # Of the user's: what may change inside without being set.
        self._inside: list[tuple[Any, int, list[Any]]] = []
        self._arrays: list[tuple[Any, bytes]] = []
        self._mappings: list[tuple[Any, list[Any]]] = []
        if self.of_users:
            self._look_inside(layer, there)

    def _look_inside(self, layer: Layer, there: dict[str, Any]) -> None:
        """Note what a trace may have read through the class and through what is in attributes."""
        mappings = [vars(each) for each in type(layer).__mro__ if is_users(each)]
        for name, value in there.items():
            if name in _OF_LAYERS:
                continue
            self._inside += [held for held in self._held if held[0] is value]
            for thing in things_in(value):
                array = thing._array if isinstance(thing, State) else thing
                if isinstance(array, np.ndarray):
                    if array.nbytes <= _LARGE:
                        self._arrays.append((array, array.tobytes()))
                elif _is_plain_object(thing):
                    mappings.append(vars(thing))
        self._mappings = [(each, list(each.values())) for each in mappings]

    def are_those_of(self, layer: Layer) -> bool:
        """Whether a layer has the same ones, in number too."""
        there = vars(layer)
        if len(there) != self._count:
            if [name for name in there if name not in PASSING] != self._names:
                return False
            self._count = len(there)
        if not _alike(list(map(there.get, self._names)), self._values):
            return False
        return all(_same(*held) for held in self._held) and self.hold_the_same()

    def hold_the_same(self) -> bool:
        """Whether lists, dicts, arrays, objects and the class of a user's layer are as before."""
        for held in self._inside:
            if not _same(*held):
                return False
        for mapping, values in self._mappings:
            if len(mapping) != len(values) or not _alike(mapping.values(), values):
                return False
        return all(array.tobytes() == before for array, before in self._arrays)


_OF_LAYERS = frozenset(("_given", "_weights", "_frozen", "_dtype_policy", "_compiled"))


def _is_plain_object(thing: Any) -> bool:
    """Whether a thing is of a class of the user's that has nothing to do with cdl."""
    if isinstance(thing, (type, types.ModuleType, types.FunctionType)):
        return False
    bases = type(thing).__mro__
    if type(thing) is types.SimpleNamespace:
        return True
    modules = [(each.__module__ or "").partition(".")[0] for each in bases[:-1]]
    return hasattr(thing, "__dict__") and not {"cdl", "builtins", "numpy"} & set(modules)


class Watch:
    """Whether a model computes as it did when its programs were made.

    Attributes that are set are counted for all layers, so that a model is compared only after one
    was; what changes inside layers of the user's is compared each time.

    Args:
        layer: the model; it is not held.
    """

    def __init__(self, layer: Layer) -> None:
        self._seen = attributes_set()
        self._layer = weakref.ref(layer)
        self._snapshot = Snapshot(layer)
        self._inside = self._snapshot.of_users()

    def holds(self) -> bool:
        """Whether the layers have the same attributes still."""
        now = attributes_set()
        if now == self._seen:
            return not self._inside or all(each.hold_the_same() for each in self._inside)
        layer = self._layer()
        if layer is None or not self._snapshot.holds(layer):
            return False
        self._seen = now
        return True


class KeptPrograms:
    """The programs of one layer; a copy or a pickle of the layer begins without."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Snapshot, Runner]] = {}

    def get(self, layer: Any, key: Any, make: Callable[[], Runner]) -> Runner:
        """The program for a key, made anew where there is none that is still true.

        Args:
            layer: whose program it is.
            key: what else it depends on: mode and shapes.
            make: makes it.
        """
        found = self._found.get(key)
        if found is not None and found[0].holds(layer):
            return found[1]
        runner = make()
        if key not in self._found and len(self._found) >= _MOST:
            self._found.pop(next(iter(list(self._found))), None)
        self._found[key] = Snapshot(layer), runner
        return runner

    def __reduce__(self) -> Any:
        return KeptPrograms, ()


def _alike(now: Collection[Any], before: list[Any]) -> bool:
    """Whether as many things are the same objects, or equal numbers and texts."""
    if all(map(operator.is_, now, before)):
        return True
    for a, b in zip(now, before, strict=True):
        if a is not b and not (type(a) is type(b) and type(a) in _PLAIN and a == b):
            return False
    return True


def _same(there: Any, length: int, things: list[Any]) -> bool:
    """Whether the same things are in a list or dict as before."""
    if len(there) != length:
        return False
    flat = length == len(things) and type(there) is list
    if flat and all(map(operator.is_, there, things)):
        return True
    now = things_in(there)
    return len(now) == len(things) and _alike(now, things)
