"""Rules of weights, arguments of many layers: initializers, regularizers, constraints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cdl import activations, constraints, initializers, regularizers
from cdl._tracing.variable import Variable

_FAMILIES: dict[str, Any] = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


def names(*weights: str) -> list[str]:
    """Names of the constructor arguments that are rules of a layer's weights."""
    families = ("initializer", "regularizer", "constraint")
    return [f"{weight}_{family}" for family in families for weight in weights]


def keep(layer: Any, **given: Any) -> None:
    """Store initializers, regularizers and constraints by name, resolved."""
    for name, value in given.items():
        setattr(layer, name, _FAMILIES[name.rpartition("_")[2]].get(value))


def add(layer: Any, kind: str, shape: Sequence[Any], **options: Any) -> Variable:
    """Create a weight with the initializer, regularizer and constraint of its kind."""
    options.setdefault("matrix", False)
    options.setdefault("initializer", getattr(layer, f"{kind}_initializer"))
    rules = {name: getattr(layer, f"{kind}_{name}") for name in ("regularizer", "constraint")}
    weight: Variable = layer.add_weight(shape, name=options.pop("name", kind), **rules, **options)
    return weight


def uniform_within(size: int | None) -> Any:
    """Initializer of uniform values within ``1 / sqrt(size)``, for size terms of a sum.

    A size that is not known is one that `add_weight` refuses by the weight's name.
    """
    limit = 1.0 / math.sqrt(size or 1)
    return initializers.RandomUniform(-limit, limit)


def config(layer: Any, names: str) -> dict[str, Any]:
    """Constructor arguments as configs have them, by names with blanks between."""
    return {name: serialized(name, getattr(layer, name)) for name in names.split()}


def serialized(name: str, value: Any) -> Any:
    """Value of a constructor argument as configs have it."""
    family = _FAMILIES.get(name.rpartition("_")[2])
    return value if family is None else family.serialize(value)
