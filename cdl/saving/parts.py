"""parts.py - which parts of a model hold variables, and the path of each in a weights file.

Paths are Keras's: `layers/dense`, `layers/dense_1/activation`, `optimizer`: attributes by their
names, and what is in a list by its class, counted.
"""

from collections.abc import Iterator
from typing import Any

from cdl.layers import Layer
from cdl.utils.naming import snake_case


def parts(model: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """(path, part, its own variables) of a model and of all in it, each part once."""
    yield from _parts(model, "", set())
    if model.compiled:
        optimizer = model.optimizer
        yield "optimizer", optimizer, list(optimizer.variables)


def finalize(model: Any) -> None:
    """Let layers make of new variables what they make of them, as Normalization does."""
    for _, part, _ in parts(model):
        finalize_state = getattr(part, "finalize_state", None)
        if finalize_state is not None:
            finalize_state()


def _parts(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any, list[Any]]]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    layers = getattr(thing, "layers", None)
    yield path, thing, [] if layers is not None else list(thing.weights)
    prefix = f"{path}/" if path else ""
    if layers is not None:
        for name, layer in _numbered(layers):
            yield from _parts(layer, f"{prefix}layers/{name}", seen)
        return
    for name, value in sorted(vars(thing).items()):
        if isinstance(value, Layer):
            yield from _parts(value, f"{prefix}{name}", seen)


def _numbered(layers: list[Any]) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for layer in layers:
        name = snake_case(type(layer).__name__)
        count = counts.get(name, 0)
        counts[name] = count + 1
        yield f"{name}_{count}" if count else name, layer
