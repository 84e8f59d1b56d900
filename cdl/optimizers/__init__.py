"""__init__.py - optimizers: how weights follow their gradients, found by their Keras names."""

from __future__ import annotations

from typing import Any

from cdl.optimizers import schedules as schedules
from cdl.optimizers.adam import Adam as Adam
from cdl.optimizers.optimizer import Optimizer as Optimizer
from cdl.optimizers.optimizer import family
from cdl.optimizers.sgd import SGD as SGD

serialize, deserialize = family.serialize, family.deserialize


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that an identifier stands for.

    Args:
        identifier: None, a name in any case, a config, or an Optimizer.

    Raises:
        ValueError: nothing of these; a class is none of these either.
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if not isinstance(identifier, (str, dict)):
        raise family.not_one(identifier)
    optimizer = family.deserialize(identifier)
    if not isinstance(optimizer, Optimizer):
        raise family.not_one(identifier)
    return optimizer
