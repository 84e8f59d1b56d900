"""Tracking of layers and weights in a layer's attributes."""

from __future__ import annotations

import inspect
import itertools
import types
from collections.abc import Sequence
from typing import Any

from cdl._common.overriding import is_users
from cdl._core import delete_and_count, pairs_by_type, set_and_count
from cdl._tracing.integer_variable import WholeNumbers
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.metrics.metric import Metric
from cdl.random import SeedGenerator

_clock = itertools.count()  # ticks when a layer is created, and when one may be assigned


class Tracking:
    """Mixin of layers: layers, metrics and variables in attributes, in the order of assignment."""

    _made: int = 0  # the order of creation among all layers
    training_by_default: bool | None
    _weights: list[Variable]
    _frozen: set[Variable]
    built: bool
    # The constructor's arguments, of layers of the user's alone: which is how these are told apart.
    _given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    # Attributes that hold layers without owning them.
    _not_owned: frozenset[str] = frozenset({"_inbound_nodes", "_given"})
    # Attributes that calls themselves change.
    _passing: frozenset[str] = frozenset(
        ("_activity", "_added", "_building", "_calls", "_inbound_nodes", "_kept_programs", "_place",
         "_set_at")
    )  # fmt: skip

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if is_users(cls) and cls.__setattr__ is set_and_count:
            cls.__setattr__ = _set_and_noted  # type: ignore[method-assign, assignment]
        call = vars(cls).get("call")
        if is_users(cls) and isinstance(call, types.FunctionType):
            parameter = inspect.signature(call).parameters.get("training")
            if parameter is not None and isinstance(parameter.default, bool):
                cls.training_by_default = parameter.default

    def _sublayers(self) -> list[Any]:
        """Layers in attributes, also in lists and dicts there, each once.

        A layer that was created after its list became an attribute is ordered by its creation: two
        lists to which a loop appends alternate, as in Keras.
        """
        if self._given is None:
            return []
        found: dict[int, tuple[int, Any]] = {}
        set_at, last = vars(self).get("_set_at", {}), 0
        for name, value in vars(self).items():
            if name not in self._not_owned:
                last = set_at.get(name, last)
                for thing in things_in(value):
                    if isinstance(thing, Tracking) and thing is not self:
                        found.setdefault(id(thing), (max(last, thing._made), thing))
        return [thing for _, thing in sorted(found.values(), key=lambda pair: pair[0])]

    def _direct_metrics(self) -> list[Metric]:
        """Metrics in attributes, also in lists and dicts there, each once."""
        found: dict[int, Metric] = {}
        for name, value in pairs_by_type(vars(self), _LEAVES, False):
            if isinstance(value, _OWNING) and name not in self._not_owned:
                for thing in things_in(value):
                    if isinstance(thing, Metric):
                        found[id(thing)] = thing
        return list(found.values())

    @property
    def metrics(self) -> list[Metric]:
        """Metrics in attributes of the layer and of the layers within it."""
        if self._given is None:
            return []
        inner = [metric for layer in self._sublayers() for metric in layer.metrics]
        return [*self._direct_metrics(), *inner]

    @property
    def metrics_variables(self) -> list[Any]:
        """States of the metrics in `metrics`."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def _direct_variables(self) -> list[Any]:
        """Weights of `add_weight`, and other variables in attributes; private ones of cdl are none.

        ValueError if a variable of float64 among these is to be trained.
        """
        if self._given is None:
            others = pairs_by_type(vars(self), _VARIABLES, True, self._weights)
            if not others:
                return self._weights
            held = {id(value): value for name, value in others if name[0] != "_"}
            return [*self._weights, *held.values()] if held else self._weights
        found: dict[int, Any] = {id(weight): weight for weight in self._weights}
        for name, value in vars(self).items():
            if name not in ("_weights", "_frozen", *self._not_owned):
                for thing in things_in(value):
                    if isinstance(thing, State) and thing.trainable and thing.dtype == "float64":
                        raise ValueError(
                            f"{type(self).__name__}: the variable {name!r} of float64 does not "
                            "learn: give it trainable=False, or dtype='float32'"
                        )
                    if isinstance(thing, (Variable, State)):
                        found.setdefault(id(thing), thing)
        return list(found.values())

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        """Layer itself and all layers within it, at any depth, each once.

        Keras's own tests call this and `_seed_generators`.

        Args:
            include_self: whether the layer itself is among them.
            recursive: whether layers within layers are.
        """
        watch = vars(self).get("_watch")  # of a model for which programs were made
        if recursive and watch is not None and watch.holds():
            return [self, *watch.within] if include_self else list(watch.within)
        found: dict[int, Any] = {id(self): self}
        waiting = self._sublayers()[::-1]
        while waiting:
            layer = waiting.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                if recursive:
                    waiting += layer._sublayers()[::-1]
        every = list(found.values())
        return every if include_self else every[1:]

    @property
    def _seed_generators(self) -> list[Any]:
        """Seed generators in attributes, one per stream of random numbers."""
        return [
            thing
            for name, value in vars(self).items()
            if name not in self._not_owned
            for thing in things_in(value)
            if isinstance(thing, SeedGenerator)
        ]

    def _kept(self) -> tuple[dict[str, Any], list[Variable], set[Variable]]:
        """State for `_put_back`, to undo a `build` that begins now."""
        return vars(self).copy(), list(self._weights), set(self._frozen)

    def _put_back(self, kept: tuple[dict[str, Any], list[Variable], set[Variable]]) -> None:
        """Restore the state before `build`: without the weights and layers that it made."""
        attributes, self._weights[:], frozen = kept
        self.built = False
        self._frozen.clear()
        self._frozen |= frozen
        if "input_spec" in attributes:
            vars(self)["input_spec"] = attributes["input_spec"]
        for name, value in list(vars(self).items()):
            if value is attributes.get(name) or name in self._not_owned:
                continue
            if any(isinstance(thing, (Tracking, Variable)) for thing in things_in(value)):
                if name in attributes:
                    vars(self)[name] = attributes[name]
                else:
                    del vars(self)[name]

    def _ruled(self, name: str, value: Any) -> Any:
        """Set a regularizer or constraint of an existing weight; the rule as it has it, if any."""
        if self._given is None and not getattr(self, "_weights", None):
            return value
        kind = "regularizer" if name.endswith("_regularizer") else "constraint"
        of, kept = name[: -len(kind) - 1], vars(self)
        more = ("kernel",) if of == "depthwise" else ()
        for key in (of, f"_{of}", f"{of}_kernel", *more):
            weight = kept.get(key)
            if isinstance(weight, Variable):
                setattr(weight, kind, value)
                return getattr(weight, kind)
        return value


def _set_and_noted(self: Tracking, name: str, value: Any) -> None:
    """Set an attribute of a custom layer, and record when, if there may be layers in it."""
    if isinstance(value, (Tracking, list, tuple, dict)):
        vars(self).setdefault("_set_at", {})[name] = next(_clock)
    set_and_count(self, name, value)


# Not written as methods: type checkers would take any attribute of a layer to be there then.
Tracking.__setattr__ = set_and_count  # type: ignore[method-assign]
Tracking.__delattr__ = delete_and_count  # type: ignore[method-assign]


def now() -> int:
    """Next number of a counter, larger than all before."""
    return next(_clock)


_NESTING = (list, tuple, dict)
_OWNING = (Metric, *_NESTING)
_VARIABLES = (Variable, WholeNumbers, State)
_LEAVES = (str, bool, type(None), int, float)  # types of most attributes


def things_in(value: Any) -> Sequence[Any]:
    """Leaves of lists, tuples and dicts, at any depth; the object itself if it is none."""
    if not isinstance(value, _NESTING):
        return (value,)
    found: list[Any] = []
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, _NESTING):
            found += things_in(part)
        else:
            found.append(part)
    return found
