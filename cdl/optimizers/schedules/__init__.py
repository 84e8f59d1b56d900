"""__init__.py - schedules: learning rates that follow the number of steps."""

from cdl.optimizers.schedules.cosine import CosineDecay, CosineDecayRestarts
from cdl.optimizers.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from cdl.optimizers.schedules.schedule import LearningRateSchedule, family

__all__ = [
    "LearningRateSchedule",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PolynomialDecay",
    "PiecewiseConstantDecay",
    "CosineDecay",
    "CosineDecayRestarts",
    "serialize",
    "deserialize",
]

serialize, deserialize = family.serialize, family.deserialize
