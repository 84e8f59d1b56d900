"""A tensor that is several outputs gets the gradients of all losses."""

from itertools import product

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 12)]


def in_numpy(y, p):
    return np.square(np.asarray(p) - np.asarray(y)).mean(-1)


def of_whole_batches(y, p):
    return ops.mean(ops.square(ops.matmul(p, ops.transpose(p))), -1)


def traced(y, p):
    return ops.mean(ops.square(y - p) * ops.exp(p), -1)


LOSSES = {
    "categorical": "categorical_crossentropy",
    "binary": "binary_crossentropy",
    "NumPy": in_numpy,
    "whole batches": of_whole_batches,
    "traced": traced,
}
SECOND = {
    "itself": lambda p: p,
    "an Identity": layers.Identity(),
    "its double": lambda p: p * 2.0,
}


def model_of(activation, second):
    x = layers.Input((4,))
    p = layers.Dense(3, activation)(layers.Dense(5, "tanh")(x))
    return cdl.Model(x, [p, SECOND[second](p), p])


def gradient(model, start, losses):
    """The gradient of the sum of the losses by the weights, in one vector."""
    model.set_weights(start)
    model.compile(cdl.optimizers.SGD(1.0), losses)
    model.train_on_batch(X, [Y, Y, Y])
    steps = [a - b for a, b in zip(start, model.get_weights(), strict=True)]
    return np.concatenate([step.ravel() for step in steps])


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "relu", None])
def test_the_gradient_is_the_sum_of_those_of_each_loss(activation, second):
    model = model_of(activation, second)
    start = model.get_weights()
    alone = {
        (place, name): gradient(model, start, [loss if k == place else None for k in range(3)])
        for place in range(3)
        for name, loss in LOSSES.items()
    }
    for names in [*product(LOSSES, LOSSES, [None]), ("NumPy", "NumPy", "NumPy")]:
        found = gradient(model, start, [name and LOSSES[name] for name in names])
        expected = sum(alone[place, name] for place, name in enumerate(names) if name)
        atol = 2e-3 * np.abs(expected).max()  # what is in NumPy is measured by differences
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=str(names))
