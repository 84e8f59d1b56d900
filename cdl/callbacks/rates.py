"""The learning rates of a model's optimizer, or of each optimizer of a MultiOptimizer."""

from typing import Any

import numpy as np


def rated(optimizer: Any) -> list[tuple[str, Any]]:
    """(what the rate is called, the optimizer that has it) of all optimizers."""
    if not hasattr(optimizer, "optimizers"):
        return [("learning rate", optimizer)]
    return [(f"{each.name} learning rate", each) for each in optimizer.optimizers]


def rates_of(optimizer: Any) -> dict[str, float]:
    """The rates as logs have them, by name."""
    if not hasattr(optimizer, "optimizers"):
        return {"learning_rate": float(np.asarray(optimizer.learning_rate))}
    each = optimizer.optimizers
    return {f"learning_rate_{one.name}": float(np.asarray(one.learning_rate)) for one in each}
