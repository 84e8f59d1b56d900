"""Optimizers: update rules that change a model's weights by the gradients of its loss."""

from __future__ import annotations

import importlib
from typing import Any

from cdl._common.public_names import publish
from cdl.optimizers import schedules
from cdl.optimizers.adadelta import Adadelta
from cdl.optimizers.adafactor import Adafactor
from cdl.optimizers.adagrad import Adagrad
from cdl.optimizers.adam import Adam, AdamW
from cdl.optimizers.adamax import Adamax
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.ftrl import Ftrl
from cdl.optimizers.lamb import Lamb
from cdl.optimizers.lbfgs import LBFGS
from cdl.optimizers.lion import Lion
from cdl.optimizers.loss_scale_optimizer import LossScaleOptimizer
from cdl.optimizers.multi_optimizer import MultiOptimizer, OptimizerMap
from cdl.optimizers.muon import Muon
from cdl.optimizers.nadam import Nadam
from cdl.optimizers.rmsprop import RMSprop
from cdl.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from cdl.optimizers.sgd import SGD

__all__ = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "LBFGS",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "SGD",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "legacy",
    "schedules",
    "serialize",
]

serialize, deserialize = registry.serialize, registry.deserialize


def get(identifier: Any) -> Optimizer | None:
    """The optimizer of an identifier: a name, a config or an optimizer.

    Args:
        identifier: None, a name in any case, a config, or an Optimizer.

    Raises:
        ValueError: nothing of these; a class is none of these either.
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if not isinstance(identifier, (str, dict)):
        raise registry.not_one(identifier)
    optimizer = registry.deserialize(identifier)
    if not isinstance(optimizer, Optimizer):
        raise registry.not_one(identifier)
    return optimizer


def __getattr__(name: str) -> Any:
    if name != "legacy":
        raise AttributeError(name)
    return importlib.import_module("cdl.optimizers.legacy")  # a module, since scripts import it


publish(globals())
