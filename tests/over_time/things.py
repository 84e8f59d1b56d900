"""All rows: the classes of cdl that keep state from one call to the next."""

from over_time import (
    callbacks,
    estimators,
    generators,
    layers,
    metrics,
    models,
    optimizers,
    preprocessing,
    serving,
    training,
)

THINGS = [*layers.ROWS, *metrics.ROWS, *models.ROWS, *optimizers.ROWS, *serving.ROWS]
THINGS += [*estimators.ROWS, *generators.ROWS, *callbacks.ROWS, *preprocessing.ROWS, *training.ROWS]
