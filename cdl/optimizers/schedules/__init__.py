"""Learning rate schedules: learning rates as functions of the step."""

from cdl._common.public_names import publish as _publish
from cdl.optimizers.schedules.cosine import CosineDecay as CosineDecay
from cdl.optimizers.schedules.cosine import CosineDecayRestarts as CosineDecayRestarts
from cdl.optimizers.schedules.decay import ExponentialDecay as ExponentialDecay
from cdl.optimizers.schedules.decay import InverseTimeDecay as InverseTimeDecay
from cdl.optimizers.schedules.decay import PiecewiseConstantDecay as PiecewiseConstantDecay
from cdl.optimizers.schedules.decay import PolynomialDecay as PolynomialDecay
from cdl.optimizers.schedules.log_cosine import LogCosineCycles as LogCosineCycles
from cdl.optimizers.schedules.schedule import LearningRateSchedule as LearningRateSchedule
from cdl.optimizers.schedules.schedule import registry as _family

serialize, deserialize = _family.serialize, _family.deserialize
_publish(globals())
