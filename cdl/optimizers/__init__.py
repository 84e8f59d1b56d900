"""__init__.py - optimizers: how weights follow their gradients, found by their Keras names."""

from __future__ import annotations

from typing import Any

from cdl.optimizers import schedules as schedules
from cdl.optimizers.adadelta import Adadelta as Adadelta
from cdl.optimizers.adafactor import Adafactor as Adafactor
from cdl.optimizers.adagrad import Adagrad as Adagrad
from cdl.optimizers.adam import Adam as Adam
from cdl.optimizers.adam import AdamW as AdamW
from cdl.optimizers.adamax import Adamax as Adamax
from cdl.optimizers.ftrl import Ftrl as Ftrl
from cdl.optimizers.lamb import Lamb as Lamb
from cdl.optimizers.lion import Lion as Lion
from cdl.optimizers.loss_scale_optimizer import LossScaleOptimizer as LossScaleOptimizer
from cdl.optimizers.muon import Muon as Muon
from cdl.optimizers.nadam import Nadam as Nadam
from cdl.optimizers.optimizer import Optimizer as Optimizer
from cdl.optimizers.optimizer import family
from cdl.optimizers.rmsprop import RMSprop as RMSprop
from cdl.optimizers.schedule_free_adamw import ScheduleFreeAdamW as ScheduleFreeAdamW
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
