"""Small nets, their data, and their float64 twins, for the tests of models."""

import numpy as np
from trainers.reference_fit import Net

from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import SGD
from cdl.utils import set_random_seed


def data(rows=70, inputs=5, classes=3, seed=0):
    """x in float32; y as numbers, classes and one-hot rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs)).astype(np.float32)
    labels = rng.integers(0, classes, rows)
    return x, rng.normal(size=(rows, 2)).astype(np.float32), labels, np.eye(classes)[labels]


def net(*layers, inputs=5, seed=1):
    """A Sequential of Dense layers (units, activation), always with the same weights."""
    model = Sequential([Input((inputs,)), *(Dense(n, activation=name) for n, name in layers)])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def twin(model):
    """A reference net in float64 NumPy with the model's weights."""
    names = [getattr(layer.activation, "__name__", "linear") for layer in model.layers]
    return Net(model.get_weights(), names)


def same_weights(model, before):
    """Whether the weights are bit for bit those of `before`."""
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


# A net that does not train, and targets by blocks of five: the loss tells which rows a batch had.
ZEROS = np.zeros((20, 5), np.float32)
BLOCKS = np.repeat(np.arange(4.0), 5)


def still():
    model = net((1, "linear"))
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.compile(SGD(0.0), "mse")
    return model


def fit(model=None, x=ZEROS, y=BLOCKS, **kwargs):
    return (model or still()).fit(x, y, **({"verbose": 0, "shuffle": False} | kwargs))


def trained(model, x, y, **kwargs):
    """The model after a fit in this process, which may be a worker: workers can import it here."""
    set_random_seed(0)
    model.fit(x, y, **kwargs, verbose=0)
    return model
