"""States of members beside weights, as a user's code keeps them: counts, lists, frozen layers."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cdl._common.errors import warn
from cdl._common.overriding import is_users
from cdl.layers.kept import OF_LAYERS, Snapshot
from cdl.optimizers import Optimizer
from cdl.random import SeedGenerator
from cdl.trainers.compile_arguments import leaves
from cdl.trainers.many.alike import OF_OPTIMIZERS
from cdl.trainers.many.stand_in import StandIn

_PASSING = OF_OPTIMIZERS | OF_LAYERS | {"_states", "untraced"}  # what calls of cdl's change
_COMPILED = "loss", "metrics", "weighted_metrics"
_BY_VALUE = (list, dict, set)


class _State:
    """Snapshot of the attributes of a model, its layers, optimizer, losses and metrics."""

    def __init__(self, model: Any) -> None:
        self._model, self._compiled = model, model._compiled
        self._layers = Snapshot(model)
        layers = model._flatten_layers()
        parts = layers + [metric for each in layers for metric in each._direct_metrics()]
        if self._compiled is not None:
            given = self._compiled.given
            parts += [each for name in _COMPILED for each in leaves(given[name])]
        self._parts = [each for each in parts if is_users(type(each)) and hasattr(each, "__dict__")]
        self._parts += [] if self._compiled is None else [self._compiled.optimizer]
        self._values = [*map(_values, self._parts)]

    def holds(self) -> bool:
        """Whether the model still has these attributes."""
        return (
            self._model._compiled is self._compiled
            and self._layers.holds(self._model)
            and self._values == [*map(_values, self._parts)]
        )


class _Pickler(pickle.Pickler):
    """Pickler of numbers, texts, arrays and generators, with objects of cdl's by identity.

    Attributes:
        looks_within: whether variables of optimizers count.
    """

    looks_within = True

    def persistent_id(self, thing: Any) -> Any:
        """Identity of an object that is not compared by value."""
        bases = type(thing).__mro__
        if isinstance(thing, _BY_VALUE) or all(map(is_users, bases)):
            return None
        kept = []
        if self.looks_within and isinstance(thing, Optimizer):  # as the two of a GAN
            kept = thing.variables
        elif isinstance(thing, SeedGenerator):
            kept = [thing.state]
        return id(thing), [each.numpy().tobytes() for each in kept]


def _values(part: Any) -> dict[str, Any]:
    """Attributes that a user's code may change, as bytes; by identity, where there are none."""
    left_out = getattr(part, "_passing", frozenset()) | _PASSING
    found = dict[str, Any]()
    for name, value in vars(part).items():
        if name not in left_out:
            file = io.BytesIO()
            found[name] = id(value)
            pickler = _Pickler(file)
            pickler.looks_within = not isinstance(part, Optimizer)  # whose variables are a member's
            with suppress(Exception):  # of a lock, a file, a function within a function
                pickler.dump(value)
                found[name] = file.getvalue()
    return found


@contextmanager
def standing_in_for(
    number: int, stand_in: StandIn, own: dict[int, StandIn], original: Any, note: str
) -> Iterator[StandIn]:
    """Context with the stand-in of a member, of which attributes that change are the member's.

    Args:
        number: the member's.
        stand_in: that of members whose attributes are those of the original.
        own: those of other members, by number, to which this one's is added; programs are dropped.
        original: the model that the members replicate.
        note: what an error is told to be of.
    """
    used = copy.deepcopy(own[number]) if number in own else stand_in
    state = _State(used.model)
    try:
        yield used
    except Exception as error:  # the member is as before
        error.add_note(note)
        if not state.holds():
            used.take_model(original)
        raise
    except BaseException:  # at a whole batch
        _keep(number, used, state, own, original)
        raise
    _keep(number, used, state, own, original)


def of_member(call: str, number: int, n: int) -> str:
    """Text of a note on an error."""
    return f"{call}: of member {number} of {n}"


def warn_of_attributes(own: dict[int, StandIn]) -> None:
    """Warn that a file does not hold what members keep beside the model's variables."""
    if own:
        warn(
            f"Replicas.save: the file does not hold the attributes, and the optimizers in these, "
            f"that {len(own)} of the members keep (member {min(own)} is the first); pickle does"
        )


def _keep(
    number: int, used: StandIn, state: _State, own: dict[int, StandIn], original: Any
) -> None:
    if not state.holds():
        own[number] = copy.deepcopy(used)
        used.take_model(original)
