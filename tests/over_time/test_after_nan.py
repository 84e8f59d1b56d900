"""A model that learned NaN and was given good weights again is as one that never did."""

import warnings

import numpy as np
import pytest

import cdl
from cdl import layers

NETS = {
    "dense": [layers.Dense(7, "tanh")],
    "batch norm": [layers.Dense(7), layers.BatchNormalization()],
    "layer norm": [layers.Dense(7), layers.LayerNormalization()],
    "noise": [layers.GaussianNoise(0.1, seed=3), layers.Dense(17, "tanh")],
    "prelu": [layers.Dense(6), layers.PReLU()],
    "gru": [layers.Reshape((5, 1)), layers.GRU(5)],
    "convolution": [layers.Reshape((5, 1)), layers.Conv1D(5, 2), layers.GlobalMaxPooling1D()],
    "separable": [layers.Reshape((5, 1)), layers.SeparableConv1D(5, 2), layers.Flatten()],
}
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 5)), RNG.normal(size=(20, 3))
BAD = X.copy()
BAD[3, 2] = np.nan


def learned(optimizer, kind, between):
    """Weights and losses after two epochs that begin at kept weights and slots."""
    cdl.utils.set_random_seed(1)
    stack = [cdl.layers.deserialize(cdl.layers.serialize(each)) for each in NETS[kind]]
    model = cdl.Sequential([layers.Input((5,)), *stack, layers.Dense(3)])
    model.compile(optimizer, "mse")
    how = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(X, Y, **how)
    kept = [(v, v.numpy()) for v in (*model.variables, *model.optimizer.variables)]
    model.fit(between, Y, **how)
    for variable, array in kept:
        variable.assign(array)
    losses = model.fit(X, Y, epochs=2, **how).history["loss"]
    return losses, [v.numpy().tobytes() for v in model.weights]


# Optimizers that sum over a weight read the pads behind its lines too, which NaN had reached.
@pytest.mark.parametrize("optimizer", ["lamb", "adafactor", "muon", "adam"])
@pytest.mark.parametrize("kind", NETS)
def test_weights_set_after_nan_learn_as_before(optimizer, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert learned(optimizer, kind, BAD) == learned(optimizer, kind, X)
