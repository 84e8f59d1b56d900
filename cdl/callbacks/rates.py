"""Learning rates and steps of a model's optimizer, or of each optimizer of a MultiOptimizer."""

from typing import Any

import numpy as np


def rated(optimizer: Any) -> list[tuple[str, Any]]:
    """Pairs of the rate's name in logs and the optimizer that has it."""
    if not hasattr(optimizer, "optimizers"):
        return [] if optimizer is None else [("learning rate", optimizer)]
    return [(f"{each.name} learning rate", each) for each in optimizer.optimizers]


def rates_of(optimizer: Any) -> dict[str, float]:
    """Learning rates by their names in logs."""
    if not hasattr(optimizer, "optimizers"):
        if optimizer is None:
            return {}
        return {"learning_rate": float(np.asarray(optimizer.learning_rate))}
    each = optimizer.optimizers
    return {f"learning_rate_{one.name}": float(np.asarray(one.learning_rate)) for one in each}


def steps_of(optimizer: Any) -> int:
    """Number of steps made; 0 without an optimizer."""
    return 0 if optimizer is None else int(optimizer.iterations)
