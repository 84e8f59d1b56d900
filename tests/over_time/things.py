"""All rows: what cdl has that keeps something from one call to the next."""

from over_time import callbacks, layers, metrics, models, optimizers, serving, training

THINGS = [*layers.ROWS, *metrics.ROWS, *models.ROWS, *optimizers.ROWS, *serving.ROWS]
THINGS += [*callbacks.ROWS, *training.ROWS]
