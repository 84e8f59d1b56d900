"""All rows: what cdl has that keeps something from one call to the next."""

from over_time import (
    callbacks,
    layers,
    metrics,
    models,
    optimizers,
    preprocessing,
    serving,
    training,
)

THINGS = [*layers.ROWS, *metrics.ROWS, *models.ROWS, *optimizers.ROWS, *serving.ROWS]
THINGS += [*callbacks.ROWS, *preprocessing.ROWS, *training.ROWS]
