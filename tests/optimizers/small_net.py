"""Net of a few weights, and its training, by which optimizers of one's own are compared."""

import numpy as np

from cdl import layers
from cdl.models import Sequential

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 2))


def net(optimizer, **compiled):
    model = Sequential([layers.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(2)])
    shapes = [w.shape for w in model.weights]
    model.set_weights([np.linspace(-1, 1, int(np.prod(s))).reshape(s) for s in shapes])
    model.compile(optimizer, "mse", **compiled)
    return model


def fit(model, **options):
    return model.fit(X, Y, batch_size=7, shuffle=False, verbose=0, **options).history["loss"]
