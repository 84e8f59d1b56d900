"""`model.losses` behind a call of the whole model: what layers add, and penalties."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2]


class Adding(layers.Layer):
    """A layer that adds to the loss, in training twice as much."""

    def call(self, inputs, training=None):
        self.add_loss((0.02 if training else 0.01) * ops.sum(inputs))
        return inputs


class Subclass(cdl.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.adding = layers.Dense(5, "relu"), Adding()
        self.last = layers.Dense(1)

    def call(self, inputs, training=None):
        return self.last(self.adding(self.hidden(inputs), training=training))


def functional(**options):
    cdl.utils.set_random_seed(3)
    inputs = cdl.Input((4,))
    hidden = Adding()(layers.Dense(5, "relu", **options)(inputs))
    return cdl.Model(inputs, layers.Dense(1)(hidden))


def subclass():
    cdl.utils.set_random_seed(3)
    model = Subclass()
    model(X)
    return model


def hidden_of(model, x=X):
    kernel, bias = (each.astype(np.float64) for each in model.get_weights()[:2])
    return np.maximum(x @ kernel + bias, 0), kernel


@pytest.mark.parametrize("make", [functional, subclass])
@pytest.mark.parametrize("training", [None, False, True])
def test_losses_are_those_of_the_last_call(make, training):
    model = make()
    for x in (X, X[:7], X[7:9]):
        found = model(x, training=training)
        factor = 0.02 if training else 0.01
        expected = factor * hidden_of(model, x)[0].sum()
        assert sum(model.losses) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_penalties_of_outputs_and_of_weights_count_once_each():
    rule = cdl.regularizers.L2(0.1)
    model = functional(activity_regularizer=rule, kernel_regularizer="l2")
    for training in (True, False):
        for _ in range(2):
            model(X, training=training)
        hidden, kernel = hidden_of(model)
        added = (0.02 if training else 0.01) * hidden.sum() + 0.1 * (hidden**2).sum() / len(X)
        assert len(model.losses) == 2
        assert sum(model.losses) == pytest.approx(added + 0.01 * (kernel**2).sum(), rel=1e-5)
    model.layers[1](X)  # by itself, after which the losses are that layer's
    assert sum(model.layers[1].losses) < sum(model.losses)


def by_tape(model, training=True):
    with cdl.GradientTape() as tape:
        loss = ops.mean(ops.square(Y - model(X, training=training))) + sum(model.losses)
    return loss, tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("make", [functional, subclass])
def test_gradients_of_a_tape_are_those_of_training(make):
    model, trained = make(), make()
    trained.compile(cdl.optimizers.SGD(1.0), "mse")
    before = trained.get_weights()
    loss, gradients = by_tape(model)
    assert trained.train_on_batch(X, Y) == pytest.approx(float(loss), rel=1e-5)
    for w, after, gradient in zip(before, trained.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(w - after, gradient, rtol=1e-4, atol=1e-6)


def step_of(model, shows):
    adam = cdl.optimizers.Adam(0.01)

    def step(x, y):
        weights = model.trainable_variables
        with cdl.GradientTape() as tape:
            error = ops.mean(ops.square(y - model(x, training=True)))
            added = sum(model.losses)
            loss = error + added
        adam.apply(tape.gradient(loss, weights), weights)
        return added if shows == "added" else loss

    return step


@pytest.mark.parametrize("shows", ["loss", "added"])
@pytest.mark.parametrize("options", [{}, {"kernel_regularizer": "l2"}])
def test_recorded_steps_read_the_losses_of_their_own_batch(shows, options):
    found = []
    for wrap in (lambda step: step, cdl.Steps):
        model = functional(**options)
        step = wrap(step_of(model, shows))
        losses = [float(step(X[i : i + 8] * (i + 1), Y[i : i + 8])) for i in (0, 8, 16) * 3]
        found.append((losses, [each.tobytes() for each in model.get_weights()]))
    assert found[0] == found[1]
    assert len(set(losses)) == 9 and step.reason == ""
