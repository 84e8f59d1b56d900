"""Parts that two jobs cannot share, as training one would change the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdl import metrics
from cdl.data import PyDataset
from cdl.layers import Layer
from cdl.optimizers import LossScaleOptimizer, MultiOptimizer
from cdl.random import SeedGenerator
from cdl.trainers.compile_arguments import leaves

Calls = Sequence[tuple[Any, Mapping[str, Any]]]
_OF_OTHERS = LossScaleOptimizer, MultiOptimizer


def check_shared(calls: Calls) -> None:
    """Check that no two jobs share a part which both would change.

    Raises:
        ValueError: with the part and the numbers of the jobs.
    """
    for number, (text, first) in sharing(calls).items():
        raise ValueError(f"train_many: jobs must have each {text} in jobs {first} and {number}")


def sharing(calls: Calls) -> dict[int, tuple[str, int]]:
    """Jobs that share a part with another: by their numbers a text, and the number of the other."""
    if _are_apart(calls):
        return {}
    owners: dict[int, tuple[int, Any]] = {}  # by id; the part itself keeps its id in use
    found: dict[int, tuple[str, int]] = {}
    for number, (model, options) in enumerate(calls):
        for part, kind, holder in _parts(model, options):
            first, _ = owners.setdefault(id(part), (number, part))
            if first != number:
                text = f"{kind} of its own, got one twice: {_shown(part, holder)}"
                found.setdefault(number, (text, first))
                found.setdefault(first, (text, number))
    return found


def _are_apart(calls: Calls) -> bool:
    """Whether no two jobs have a layer or an optimizer in common, by a look at plain jobs alone."""
    parts: list[Any] = []
    for model, options in calls:
        compiled = getattr(model, "_compiled", None)
        if compiled is None or not hasattr(model, "_flatten_layers"):
            return False
        given, optimizer = compiled.given, compiled.optimizer
        if type(options.get("x")) is not np.ndarray or options.get("validation_data") is not None:
            return False
        if given["metrics"] or given["weighted_metrics"] or isinstance(optimizer, _OF_OTHERS):
            return False
        layers = model._flatten_layers(include_self=False)
        if not all([layer.built for layer in layers]):
            return False
        parts += (model, optimizer, *layers)
    return len({*map(id, parts)}) == len(parts)


def _shown(part: Any, holder: Any) -> str:
    """Name of a part, that of the layer which holds it, or its class."""
    if holder is not None:
        return f"that of layer {holder.name!r}"
    return repr(part.name) if hasattr(part, "name") else f"a {type(part).__name__}"


def _parts(model: Any, options: Mapping[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Parts that training changes, each with its kind, and the layer that holds it or None."""
    yield model, "a model", None
    compiled = getattr(model, "_compiled", None)
    if compiled is not None:
        optimizer = compiled.optimizer
        yield optimizer, "an optimizer", None
        if isinstance(optimizer, LossScaleOptimizer):
            optimizer = optimizer.inner_optimizer
            yield optimizer, "an optimizer", None
        if isinstance(optimizer, MultiOptimizer):
            for each in optimizer.optimizers:
                yield each, "an optimizer", None
        for name in ("metrics", "weighted_metrics"):
            for each in leaves(compiled.given[name]):
                # The core counts within each program, not in the object.
                if isinstance(each, metrics.Metric) and not metrics.is_compiled(each):
                    yield each, "a metric of the user's", None
    if hasattr(model, "_flatten_layers"):
        for layer in model._flatten_layers(include_self=False):
            if _learns(layer):
                yield layer, "a layer that learns", None
            for value in vars(layer).values() if not layer.built else ():
                seed = getattr(value, "seed", None)  # initial weights are drawn within the job
                if isinstance(seed, SeedGenerator):
                    yield seed, "a seed generator", layer
    for name in ("x", "validation_data"):
        value = options.get(name)
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(each, "__next__"):
                yield each, f"an iterator as `{name}`", None
            elif isinstance(each, PyDataset) and _changes(type(each)):
                yield each, f"a `{name}` that changes between epochs", None


def _changes(cls: type[PyDataset]) -> bool:
    """Whether a dataset has epoch hooks, which change it."""
    hooks = ("on_epoch_begin", "on_epoch_end")
    return any(getattr(cls, hook) is not getattr(PyDataset, hook) for hook in hooks)


def _learns(layer: Any) -> bool:
    """Whether training may change the layer's own weights, not those of layers within it."""
    if not layer.trainable:
        return False
    if not layer.built:
        return type(layer).build is not Layer.build
    return any(weight.trainable for weight in layer._direct_variables())
