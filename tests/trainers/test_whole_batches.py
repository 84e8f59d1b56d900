"""Gradients of losses that see whole batches, where user code runs in Python."""

import numpy as np
import pytest

from cdl import Input, Sequential, layers, losses, ops
from cdl.optimizers import Adam
from cdl.trainers.custom.losses import BatchLoss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 5)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 22)


def supervised(y, p):
    z = ops.normalize(p, axis=1)
    near = ops.matmul(z, ops.transpose(z)) / 0.5
    y = ops.reshape(y, (-1, 1))
    others = 1.0 - ops.eye(ops.shape(y)[0])
    alike = ops.cast(ops.equal(y, ops.transpose(y)), "float32") * others
    logs = near - ops.log(ops.sum(ops.exp(near) * others, 1, keepdims=True))
    return -ops.sum(alike * logs, 1) / (ops.sum(alike, 1) + 1e-9)


def retrieval(y, p):
    scores = ops.matmul(p[:, :2], ops.transpose(p[:, 2:]))
    places = ops.arange(ops.shape(scores)[0])
    return losses.sparse_categorical_crossentropy(places, scores, from_logits=True)


def one_number(y, p):
    return ops.mean(ops.square(p[:, None] - p[None])) * 0.5


FUNCTIONS = [supervised, retrieval, one_number]


def of(function, reduction="sum_over_batch_size"):
    return losses.LossFunctionWrapper(function, reduction)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_gradient_is_that_of_central_differences(function, weighted):
    p, y = RNG.normal(size=(7, 4)).astype(np.float32), CLASSES[:7].astype(np.float32)
    weight = np.linspace(0.5, 2.0, 7).astype(np.float32) if weighted else None
    exact = BatchLoss(of(function)).gradient(y, p, weight)
    measured = np.zeros(p.shape)
    for at in np.ndindex(p.shape):
        for step in (0.01, -0.01):
            moved = p.copy()
            moved[at] += step
            measured[at] += float(np.mean(of(function)(y, moved, weight))) / (2 * step)
    np.testing.assert_allclose(exact, measured, rtol=0.01, atol=5e-4)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_trains_also_on_a_last_batch_that_is_smaller(function):
    net = Sequential([Input((5,)), layers.Dense(4)])
    net.compile(Adam(0.01), function)
    fitted = net.fit(X, CLASSES, batch_size=8, epochs=12, shuffle=False, verbose=0)
    history = fitted.history["loss"]
    assert history[-1] < history[0]


def test_what_cannot_be_followed_is_none():
    def in_numpy(y, p):
        return np.square(np.asarray(p)).sum()

    p = np.ones((3, 2), np.float32)
    assert BatchLoss(of(in_numpy)).gradient(p, p, None) is None
