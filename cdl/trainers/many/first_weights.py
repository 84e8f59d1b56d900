"""Initial weights of members: those of clones of a model, drawn without making clones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl.initializers import Initializer
from cdl.initializers.random import RandomInitializer
from cdl.layers.weighted import noting_initializers
from cdl.random import draw_seed, seeded
from cdl.trainers.many.stand_in import Stacks

_MOST_SEEDS = 1000  # drawn by a model's layers, for initializers, dropout and others


def draw(model: Any, clone: Callable[[], Any], stacks: Stacks, seeds: Sequence[int]) -> None:
    """Set trained weights of members to those of a clone after `set_random_seed` of each seed.

    Args:
        model: the model.
        clone: function that makes a clone of it.
        stacks: the arrays of the weights.
        seeds: one for each member.
    """
    trained = set(map(id, model.trainable_weights))
    to = [
        stack if id(w) in trained else None for w, stack in zip(model.weights, stacks, strict=False)
    ]
    initializers = _Initializers(clone, seeds[0])
    values = initializers.values if initializers.are_known else initializers.of_clone
    for number, seed in enumerate(seeds):
        for stack, value in zip(to, values(seed), strict=True):
            if stack is not None:
                stack[number] = value


class _Initializers:
    """Initializers of a clone's weights, each with the index of its seed among those drawn.

    Attributes:
        are_known: whether `values` equals `of_clone`; False if a layer sets weights itself.
    """

    def __init__(self, clone: Callable[[], Any], seed: int) -> None:
        self._clone = clone
        with seeded(seed):
            drawn = [draw_seed() for _ in range(_MOST_SEEDS)]
        with seeded(seed), noting_initializers() as found:
            made = clone()
        of_weights = {id(weight): first for weight, first in found}
        self._each: list[tuple[Any, Any]] = [
            (of_weights.get(id(each)), each) for each in made.weights
        ]
        self._places = {
            id(first): drawn.index(first.seed)
            for first, _ in self._each
            if isinstance(first, RandomInitializer) and first.seed in drawn
        }
        self._last = max(self._places.values(), default=-1)
        self.are_known = all(_is_plain(first, each) for first, each in self._each) and all(
            self._agrees(each) for each in (seed, seed // 2 + 1)
        )

    def of_clone(self, seed: int) -> list[Any]:
        """Weights of a clone."""
        with seeded(seed):
            return [each.numpy() for each in self._clone().weights]

    def values(self, seed: int) -> list[Any]:
        """Values that the initializers of a clone would draw."""
        with seeded(seed):
            drawn = [draw_seed() for _ in range(self._last + 1)]
        found = []
        for first, weight in self._each:
            place = self._places.get(id(first))
            if place is not None:
                first.seed = drawn[place]
            found.append(first(weight.shape, dtype="float32"))
        return found

    def _agrees(self, seed: int) -> bool:
        pairs = zip(self.values(seed), self.of_clone(seed), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)


def _is_plain(first: Any, weight: Any) -> bool:
    """Whether an initializer is cdl's, and its weight stores values unchanged."""
    is_own = isinstance(first, Initializer) and type(first).__module__.startswith("cdl.")
    return is_own and weight.kept_dtype == "float32"
