"""Programs of calls on arrays, kept from one call to the next while they are true.

A call traces the layer, rewrites the program and plans its memory, which takes many times as long
as a small batch. A program holds as long as the layer and those within it have the attributes that
they had: the same objects, so that a rate that is set, a layer that is frozen or appended to a list
make a new one. What else the user's Python code reads is not looked at, as in `fit`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._tracing.eager import Runner
from cdl.layers.tracking import things_in

if TYPE_CHECKING:
    from cdl.layers.layer import Layer


# Attributes that calls themselves change, and what a model keeps of its compilation and runs.
_PASSING = frozenset(
    ("_activity", "_added", "_added_to_loss", "_calls", "_compiled", "_executors", "_inbound_nodes",
     "_kept_programs", "_last_fit", "_last_train_function", "_loss_and_metrics_made", "_place",
     "_predictors_made", "_sizes_made")
)  # fmt: skip
_LONG = 256  # of longer lists and dicts what is in them is not looked at
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


class _Attributes:
    """Those of one layer, and what is in those that are lists and dicts."""

    def __init__(self, layer: Layer) -> None:
        there = {name: value for name, value in vars(layer).items() if name not in _PASSING}
        self._names = list(there)
        self._values = list(there.values())
        self._passing = len(vars(layer)) - len(there)
        held = [each for each in there.values() if isinstance(each, (list, dict))]
        self._held = [
            (each, len(each), list(things_in(each))) for each in held if len(each) <= _LONG
        ]

    def are_those_of(self, layer: Layer) -> bool:
        """Whether a layer has the same ones, in number too."""
        there = vars(layer)
        if len(there) != len(self._names) + self._passing:
            return False
        if not all(map(operator.is_, map(there.get, self._names), self._values)):
            return False
        return all(_same(*held) for held in self._held)


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


def _same(there: Any, length: int, things: list[Any]) -> bool:
    """Whether the same things are in a list or dict as before."""
    if len(there) != length:
        return False
    flat = length == len(things) and type(there) is list
    if flat and all(map(operator.is_, there, things)):
        return True
    now = list(things_in(there))
    return len(now) == len(things) and all(map(operator.is_, now, things))
