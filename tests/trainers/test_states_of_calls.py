"""Variables that layers keep from call to call: a call changes them once.

Gradients start from the values that the call found.
"""

import numpy as np
import pytest
from oracle import slopes

import cdl
from cdl import layers, ops

BATCH, ROWS = 8, 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 4, 3)).astype("float32")
Y = RNG.normal(size=(ROWS, 2)).astype("float32")


class Fading(layers.Layer):
    """Layer whose factor is less with each call."""

    def build(self, input_shape):
        self.factor = self.add_weight((), "ones", trainable=False, name="factor")

    def call(self, inputs):
        self.factor.assign(self.factor * 0.9)
        return layers.Flatten()(inputs) * self.factor


STATES = {
    "lstm": lambda: layers.LSTM(5, stateful=True),
    "gru": lambda: layers.GRU(5, stateful=True, reset_after=False),
    "rnn": lambda: layers.SimpleRNN(5, stateful=True),
    "both ways": lambda: layers.Bidirectional(layers.GRU(3, stateful=True)),
    "cells": lambda: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)], stateful=True),
    "own": Fading,
}


class Taped(cdl.Model):
    """Model with a step like that of `fit`, by a tape."""

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean((self(x, training=True) - y) ** 2)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


class ByFunction(Taped):
    """Model with the same step by a function."""

    def train_step(self, data):
        x, y = data

        def loss_of(x, y):
            return ops.mean((self(x, training=True) - y) ** 2)

        loss, gradients = cdl.value_and_grad(loss_of, variables=self.trainable_variables)(x, y)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def net(name, cls=cdl.Model, **options):
    cdl.utils.set_random_seed(0)
    inputs = cdl.Input(batch_shape=(BATCH, 4, 3))
    model = cls(inputs, layers.Dense(2)(STATES[name]()(inputs)))
    model.compile(cdl.optimizers.SGD(0.1), loss="mse", **options)
    return model


def variables(model):
    """Variables that calls move: the own variable, or the states of recurrent layers."""
    layer = model.layers[1]
    if isinstance(layer, Fading):
        return [layer.factor]
    parts = [layer.forward_layer, layer.backward_layer] if hasattr(layer, "forward_layer") else []
    return cdl.tree.flatten([part.states for part in parts or [layer]])


def states(model):
    return [each.numpy() for each in variables(model)]


def assert_equal(one, other):
    for a, b in zip(
        states(one) + one.get_weights(), states(other) + other.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("cls", [Taped, ByFunction])
@pytest.mark.parametrize("name", STATES)
def test_steps_of_ones_own_move_states_as_fit_does(name, cls, run_eagerly):
    expected, own = net(name), net(name, cls, run_eagerly=run_eagerly)
    for model in (expected, own):
        model.fit(X, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    assert_equal(own, expected)


@pytest.mark.parametrize("name", STATES)
def test_calls_predictions_and_eager_runs_move_states_once(name):
    def run(model, call):
        parts = [X[at : at + BATCH] for at in range(0, ROWS, BATCH)]
        found = np.concatenate([call(each) for each in parts])
        return found, states(model)

    by_layers = net(name)
    first, second = by_layers.layers[1:]
    expected, after = run(by_layers, lambda x: second(first(x, **_mode(first))))
    assert not np.allclose(after[0], states(net(name))[0])
    for run_eagerly in (False, True):
        ways = {
            "call": lambda model: model,
            "training": lambda model: lambda x: model(x, training=True),
            "predict": lambda model: lambda x: model.predict(x, batch_size=BATCH, verbose=0),
            "on batch": lambda model: model.predict_on_batch,
        }
        for way in ways.values():
            model = net(name, run_eagerly=run_eagerly)
            found, left = run(model, way(model))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            for a, b in zip(left, after, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        model = net(name, run_eagerly=run_eagerly)
        found = model.predict(X, batch_size=BATCH, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(states(model)[0], after[0], rtol=1e-5, atol=1e-6)


def _mode(layer):
    return {} if isinstance(layer, Fading) else {"training": False}


@pytest.mark.parametrize("name", STATES)
def test_a_gradient_is_that_of_the_states_which_the_call_found(name):
    model = net(name)
    model(X[:BATCH], training=True)  # so that they are no zeros
    weight = model.layers[-1].kernel if name == "own" else model.trainable_variables[0]
    before = states(model)

    def back():
        for each, value in zip(variables(model), before, strict=True):
            each.assign(value)

    def loss():
        back()
        made = np.asarray(model(X[:BATCH], training=True), np.float64)
        return np.mean((made - Y[:BATCH]) ** 2)

    with cdl.GradientTape() as tape:
        value = ops.mean((model(X[:BATCH], training=True) - Y[:BATCH]) ** 2)
    after = states(model)
    found = np.asarray(tape.gradient(value, [weight])[0])
    for a, b in zip(states(model), after, strict=True):
        np.testing.assert_array_equal(a, b)
    kernel, step = weight.numpy(), np.zeros(weight.shape, "float32")
    step[0, 0] = 1e-2
    values = []
    for sign in (1, -1):
        weight.assign(kernel + sign * step)
        values.append(loss())
    np.testing.assert_allclose(found[0, 0], (values[0] - values[1]) / 2e-2, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("name", STATES)
def test_a_derivative_in_a_direction_on_a_tape_is_that_of_the_states_which_it_found(name):
    model = net(name)
    weight = model.layers[-1].kernel
    direction = RNG.normal(size=X[:BATCH].shape).astype("float32")

    def penalty():
        return ops.sum(cdl.jvp(model, (X[:BATCH],), (direction,))[1] ** 2)

    for _ in range(2):  # from other states the second time
        before = states(model)

        def of_weights(before=before):
            for each, value in zip(variables(model), before, strict=True):
                each.assign(value)
            return penalty()

        with cdl.GradientTape() as tape:
            value = penalty()
        after = states(model)
        found = np.asarray(tape.gradient(value, weight))
        for a, b in zip(states(model), after, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(value, of_weights(), rtol=1e-5)
        (expected,) = slopes(of_weights, [weight])
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)


def test_predictions_that_assign_read_low_rank_weights_as_they_are_now():
    dense = layers.Dense(4)
    inputs = cdl.Input((3,))
    cdl.Model(inputs, dense(inputs))
    dense.enable_lora(2)
    model = cdl.Sequential([inputs, dense, Fading()])
    model.predict(X[:, 0], verbose=0)
    dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
    model.layers[1].factor.assign(1.0)
    expected = 0.9 * np.asarray(dense(X[:, 0]))
    np.testing.assert_allclose(model.predict(X[:, 0], verbose=0), expected, rtol=1e-5, atol=1e-6)
