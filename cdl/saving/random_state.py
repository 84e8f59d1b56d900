"""`random_state.json`: generator states, to resume with the same random numbers.

It is a member of a `.keras` file that Keras does not look at: the states of the generators of
Python and NumPy, the seed of the core, and where the generators of the layers stand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdl.layers import Layer
from cdl.random import Kept, state
from cdl.saving.variable_paths import Part, parts

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

MEMBER = "random_state.json"
LONGEST = 4_000_000  # bytes
_SEEDS = 2**32


def written(model: TrainableModel, walked: list[Part] | None = None) -> str:
    """Text of the member `random_state.json` for a model, whose parts may be given."""
    layers = {
        path: [generator.state.numpy().tolist() for generator in generators]
        for path, generators in _generators(walked or parts(model))
    }
    return json.dumps({"generators": state(), "layers": layers})


def read(model: TrainableModel, text: bytes, walked: list[Part] | None = None) -> None:
    """Restore the generators of a model's layers from a text, and keep the rest for its `fit`.

    Parts that have other generators than those in the text keep them.

    Raises:
        ValueError: the text is not that of such a member.
    """
    try:
        given = json.loads(text)
    except RecursionError:
        raise ValueError("it is not JSON that can be read: it is too deep") from None
    if not isinstance(given, dict) or not isinstance(given.get("layers"), dict):
        raise ValueError("it must be a dict of generators and layers")
    kept = Kept(given.get("generators"))
    found: list[tuple[Any, list[int]]] = []
    for path, generators in _generators(walked or parts(model)):
        states = given["layers"].get(path, [])
        if not isinstance(states, list) or not all(map(_is_state, states)):
            raise ValueError(f"layers: {path} must have pairs of ints from 0 to 2**32 - 1")
        if len(states) == len(generators):
            found += zip(generators, states, strict=True)
    for generator, (seed, used) in found:
        generator.go_on_from(seed, used)
    model._keep_random_state(kept)


def _generators(walked: list[Part]) -> list[tuple[str, list[Any]]]:
    """Generators of each part that has any, by its path.

    Those of a layer within that files do not name, as the dropout of attention, are its holder's.
    """
    named = {id(part) for _, part, _ in walked}
    generators: list[tuple[str, list[Any]]] = []
    for path, part, _ in walked:
        within = part._sublayers() if isinstance(part, Layer) else []
        owners = [part, *(each for each in within if id(each) not in named)]
        found = [g for each in owners for g in getattr(each, "_seed_generators", [])]
        generators.append((path, found))
    return [(path, its) for path, its in generators if its]


def _is_state(thing: Any) -> bool:
    pair = isinstance(thing, list) and len(thing) == 2
    return pair and all(type(n) is int and 0 <= n < _SEEDS for n in thing)
