"""SpectralNormalization in training, which golden cases on JAX do not show."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 4)).astype("f"), RNG.normal(size=(8, 3)).astype("f")


def net():
    inner = layers.SpectralNormalization(layers.Dense(3), power_iterations=2)
    model = cdl.Sequential([layers.Input((4,)), inner])
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    return model


def steps(kernel, u, bias, epochs):
    """Steps by hand: the kernel is divided by its norm, then descends from there."""
    for _ in range(epochs):
        for rows in (slice(0, 4), slice(4, 8)):
            for _ in range(2):
                v = u @ kernel.T
                v /= np.linalg.norm(v)
                u = v @ kernel
                u /= np.linalg.norm(u)
            kernel = kernel / (v @ kernel @ u.T)
            slopes = 2 * (X[rows] @ kernel + bias - Y[rows]) / 12
            kernel, bias = kernel - 0.1 * X[rows].T @ slopes, bias - 0.1 * slopes.sum(0)
    return kernel, u, bias


@pytest.mark.parametrize("by_batch", [False, True])
def test_a_step_begins_with_the_divided_kernel(by_batch):
    model = net()
    expected = steps(*(w.numpy().astype(float) for w in model.weights), 2)
    for _ in range(2):
        if by_batch:
            model.train_on_batch(X[:4], Y[:4])
            model.train_on_batch(X[4:], Y[4:])
        else:
            model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for weight, value in zip(model.weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, 1e-4, 1e-5)


def test_predictions_and_evaluation_leave_the_kernel():
    model = net()
    before = model.get_weights()
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_file_holds_the_kernel_of_both_layers_and_comes_back(tmp_path):
    model = net()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "net.keras")
    loaded = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    loaded.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-6)


class ByTape(cdl.Model):
    """Step by a tape: the call of the net on arrays."""

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean((self(x, training=True) - y) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return {"loss": loss}


class ByFunction(cdl.Model):
    """Step by the gradient of a function that calls the net."""

    def train_step(self, data):
        def loss(x, y):
            return ops.mean((self(x, training=True) - y) ** 2)

        value, slopes = cdl.value_and_grad(loss, variables=self.trainable_weights)(*data)
        self.optimizer.apply(slopes, self.trainable_weights)
        return {"loss": value}


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("kind", [ByTape, ByFunction])
def test_steps_of_ones_own_divide_the_kernel_as_fit_does(kind, eagerly):
    usual = net()
    own = kind(usual.inputs, usual.outputs)
    before = own.get_weights()
    usual.fit(X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0)
    expected = usual.get_weights()
    own.set_weights(before)
    own.compile(cdl.optimizers.SGD(0.1), run_eagerly=eagerly)
    own.fit(X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0)
    for a, b in zip(own.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_by_inputs_are_those_of_the_divided_kernel():
    model = net()
    slope = cdl.grad(lambda x: ops.sum(model(x, training=True)))(X)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(slope, np.tile(kernel.sum(1), (8, 1)), rtol=1e-5)
    assert abs(np.linalg.norm(kernel, 2) - 1) < 0.3
