"""Layers that stand in a model twice or in two models, and models as layers."""

import numpy as np
import pytest

from cdl import layers
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import SGD

RNG = np.random.default_rng(7)
X = RNG.normal(size=(24, 5)).astype(np.float32)
Y = RNG.normal(size=(24, 5)).astype(np.float32)


def test_a_layer_that_stands_twice_has_its_weights_once():
    shared = Dense(5, "tanh")
    net = Sequential([Input((5,)), shared, Dense(5), shared])
    assert len(net.weights) == 4
    assert net.count_params() == 60
    once = np.tanh(X @ shared.kernel.numpy())
    kernel = net.layers[1].kernel.numpy()
    expected = np.tanh(once @ kernel @ shared.kernel.numpy())
    np.testing.assert_allclose(net.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_the_derivative_of_the_loss():
    """Along the gradient itself, where the derivative is the gradient's length."""
    shared = Dense(5, "tanh")
    net = Sequential([Input((5,)), shared, layers.LayerNormalization(), shared, shared])
    start = [RNG.normal(size=w.shape).astype(np.float32) for w in net.get_weights()]
    net.set_weights(start)
    net.compile(SGD(1.0), "mse")
    net.train_on_batch(X, Y)
    gradient = start[0] - shared.kernel.numpy()
    length = np.linalg.norm(gradient)

    def loss(step):
        net.set_weights(start)
        shared.kernel.assign(start[0] + step * gradient / length)
        return np.square(net.predict(X, verbose=0).astype(np.float64) - Y).mean()

    derivative = (loss(1e-2) - loss(-1e-2)) / 2e-2
    np.testing.assert_allclose(length, derivative, rtol=5e-3)


def test_a_layer_in_two_models_learns_in_both():
    shared = Dense(5, "tanh")
    first = Sequential([Input((5,)), shared, Dense(5)])
    second = Sequential([Input((5,)), Dense(5), shared])
    for net in (first, second):
        net.compile(SGD(0.1), "mse")
        before = shared.kernel.numpy()
        net.fit(X, Y, verbose=0)
        assert (shared.kernel.numpy() != before).any()
    assert first.layers[0].kernel is second.layers[1].kernel


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
def test_shared_batch_normalization_follows_both_of_its_inputs():
    shared = layers.BatchNormalization(momentum=0.5, scale=False, center=False)
    net = Sequential([Input((5,)), shared, layers.Rescaling(2.0, 1.0), shared])
    net.compile(SGD(0.0), "mse")
    net.train_on_batch(X, Y)
    mean = X.mean(0)
    once = (X - mean) / np.sqrt(X.var(0) + 1e-3)
    after = 0.5 * (0.5 * mean) + 0.5 * (2 * once + 1).mean(0)
    np.testing.assert_allclose(shared.moving_mean.numpy(), after, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("times", [1, 2])
def test_a_model_is_a_layer(times):
    inner = Sequential([Dense(4, "relu"), layers.BatchNormalization(), Dense(5)], name="inner")
    net = Sequential([Input((5,)), Dense(5), *[inner] * times, Dense(5)])
    assert len(net.weights) == 4 + 8
    assert len(net.trainable_weights) == 10
    hidden = net.layers[0](X)
    for _ in range(times):
        hidden = inner.predict(hidden, verbose=0)
    expected = net.layers[-1](hidden)
    np.testing.assert_allclose(net.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
    before = inner.get_weights()
    net.compile("adam", "mse")
    loss = net.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    assert all((a != b).any() for a, b in zip(before, inner.get_weights(), strict=True))


def test_freezing_a_model_freezes_its_layers():
    inner = Sequential([Dense(4), layers.BatchNormalization(), Dense(5)])
    net = Sequential([Input((5,)), inner, Dense(5)])
    inner.trainable = False
    assert len(net.trainable_weights) == 2
    before = inner.get_weights()
    net.compile("adam", "mse")
    net.fit(X, Y, verbose=0)
    for a, b in zip(before, inner.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dense_nets_of_more_axes_learn():
    x = RNG.normal(size=(30, 3, 4)).astype(np.float32)
    net = Sequential([Input((3, 4)), Dense(8, "tanh"), layers.LayerNormalization(), Dense(2)])
    net.compile("adam", "mse")
    loss = net.fit(x, x[..., :2] ** 2, epochs=60, batch_size=10, verbose=0).history["loss"]
    assert loss[-1] < 0.5 * loss[0]
