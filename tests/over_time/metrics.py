"""Metrics over time: a row for each."""

from functools import partial

import numpy as np
from keras_names import classes, made
from over_time.thing import COPIES, Thing

import cdl
from cdl import metrics

RNG = np.random.default_rng(1)
LABELS = RNG.integers(2, size=(6, 2)).astype(np.float32)
P = RNG.uniform(0.01, 0.99, size=(6, 2)).astype(np.float32)
CLASSES = np.array([0, 1, 1, 0, 1, 0], np.int32)
BASES = {"Metric"}
PUBLIC = [each for each in classes(cdl, "metrics") if each.__name__ not in BASES]
MADE = {"MeanMetricWrapper": lambda: metrics.MeanMetricWrapper(cdl.losses.mean_squared_error)}


def fresh(cls):
    return MADE[cls.__name__]() if cls.__name__ in MADE else made(cls, cdl)


def use(metric):
    if isinstance(metric, (metrics.Mean, metrics.Sum)) and type(metric).update_state in (
        metrics.Mean.update_state,
        metrics.Sum.update_state,
    ):
        metric.update_state(P, sample_weight=np.arange(6.0))
    elif type(metric).__name__.startswith("Sparse"):
        metric.update_state(CLASSES, P, sample_weight=np.arange(6.0))
    elif isinstance(metric, (metrics.IoU, metrics.BinaryIoU)) and "OneHot" not in str(type(metric)):
        metric.update_state(CLASSES, CLASSES[::-1])
    else:
        metric.update_state(LABELS, P)
    return [np.asarray(metric.result()), *map(np.array, metric.variables)]


def by_config(metric, folder):
    twin = type(metric).from_config(metric.get_config())
    use(twin)  # some make their states then
    twin.reset_state()
    if metric.variables:
        for mine, other in zip(twin.variables, metric.variables, strict=True):
            mine.assign(np.asarray(other))
    return twin


def double(metric):
    for each in metric.variables:
        each.assign(np.asarray(each) * 2 + 1)


ROWS = [
    Thing(
        f"metric {cls.__name__}",
        partial(fresh, cls),
        use,
        (cls,),
        {"states": double},
        {**COPIES, "config": by_config},
        resets=lambda metric: metric.reset_state(),
        fails={"shapes": lambda metric: metric.update_state(np.ones((3, 2)), np.ones((4, 5)), 1)},
    )
    for cls in PUBLIC
]
