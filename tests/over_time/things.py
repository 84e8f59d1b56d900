"""All rows: what cdl has that keeps something from one call to the next."""

from over_time import layers, metrics, models, optimizers, serving

THINGS = [*layers.ROWS, *metrics.ROWS, *models.ROWS, *optimizers.ROWS, *serving.ROWS]
