"""Optimizers: update rules that change a model's weights by the gradients of its loss."""

from __future__ import annotations

import importlib
from typing import Any

from cdl._common.public_names import publish
from cdl.optimizers import schedules as schedules
from cdl.optimizers.adadelta import Adadelta as Adadelta
from cdl.optimizers.adafactor import Adafactor as Adafactor
from cdl.optimizers.adagrad import Adagrad as Adagrad
from cdl.optimizers.adam import Adam as Adam
from cdl.optimizers.adam import AdamW as AdamW
from cdl.optimizers.adamax import Adamax as Adamax
from cdl.optimizers.base_optimizer import Optimizer as Optimizer
from cdl.optimizers.base_optimizer import registry
from cdl.optimizers.ftrl import Ftrl as Ftrl
from cdl.optimizers.lamb import Lamb as Lamb
from cdl.optimizers.lbfgs import LBFGS as LBFGS
from cdl.optimizers.lion import Lion as Lion
from cdl.optimizers.loss_scale_optimizer import LossScaleOptimizer as LossScaleOptimizer
from cdl.optimizers.multi_optimizer import MultiOptimizer as MultiOptimizer
from cdl.optimizers.multi_optimizer import OptimizerMap as OptimizerMap
from cdl.optimizers.muon import Muon as Muon
from cdl.optimizers.nadam import Nadam as Nadam
from cdl.optimizers.rmsprop import RMSprop as RMSprop
from cdl.optimizers.schedule_free_adamw import ScheduleFreeAdamW as ScheduleFreeAdamW
from cdl.optimizers.sgd import SGD as SGD

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


publish(globals(), "schedules", "legacy", but="publish registry")
