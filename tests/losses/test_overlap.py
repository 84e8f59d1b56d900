"""Dice and Tversky on symbolic values: between Inputs, in a call, on a tape, in steps."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops

RNG = np.random.default_rng(0)
Y = (RNG.random((6, 4, 4, 2)) > 0.5).astype(np.float32)
P = RNG.random((6, 4, 4, 2)).astype(np.float32)
MADE = {
    "Dice": losses.Dice(),
    "Dice of samples": losses.Dice(axis=(1, 2, 3)),
    "Dice of parts": losses.Dice(axis=(1, 2), reduction="none"),
    "Tversky": losses.Tversky(alpha=0.3, beta=0.7),
    "Tversky of samples": losses.Tversky(alpha=0.3, axis=(1, 2, 3)),
    "dice": losses.dice,
    "tversky": lambda y, p: losses.tversky(y, p, 0.3, 0.7),
}


def formula(name, y, p):
    """Loss of a batch or its parts in float64."""
    axis = {"samples": (1, 2, 3), "parts": (1, 2)}.get(name.split()[-1])
    y, p = y.astype(np.float64), p.astype(np.float64)
    both = np.sum(y * p, axis)
    alpha, beta = (0.3, 0.7 if axis is None else 0.5) if "versky" in name else (0.5, 0.5)
    size = both + alpha * np.sum(y * (1 - p), axis) + beta * np.sum((1 - y) * p, axis)
    return 1 - both / size


@pytest.mark.parametrize("name", MADE)
def test_values_between_inputs_are_those_of_the_formula(name):
    y, p = cdl.Input(Y.shape[1:]), cdl.Input(P.shape[1:])
    model = cdl.Model([y, p], ops.mean(MADE[name](y, p)))
    for n in (6, 4):
        found = model.predict([Y[:n], P[:n]], batch_size=n, verbose=0)
        np.testing.assert_allclose(found, formula(name, Y[:n], P[:n]).mean(), rtol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_gradients_on_a_tape_are_those_of_differences(name):
    x = cdl.Variable(P)
    with cdl.GradientTape() as tape:
        value = ops.mean(MADE[name](Y, x))
    np.testing.assert_allclose(value, formula(name, Y, P).mean(), rtol=1e-5)
    along = RNG.normal(size=P.shape)
    ends = [formula(name, Y, P + h * along).mean() for h in (1e-5, -1e-5)]
    slope = np.sum(tape.gradient(value, x) * along)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-5)


class Stepping(cdl.Model):
    """Model with a loss in a step of its own."""

    def __init__(self, loss):
        super().__init__()
        self.scores, self.of_pairs = layers.Conv2D(2, 1, activation="sigmoid"), loss

    def call(self, x):
        return self.scores(x)

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(self.of_pairs(y, self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


@pytest.mark.parametrize("name", ["Dice", "Tversky of samples", "dice"])
def test_a_step_of_ones_own_learns_as_a_compiled_loss_does(name):
    found = []
    for own in (True, False):
        cdl.utils.set_random_seed(4)
        if own:
            model = Stepping(MADE[name])
        else:
            model = cdl.Sequential([layers.Conv2D(2, 1, activation="sigmoid")])
        model.build(P.shape)
        model.compile(cdl.optimizers.SGD(0.5), None if own else MADE[name])
        model.fit(P, Y, batch_size=3, epochs=4, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for own, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(own, compiled, rtol=1e-4, atol=1e-6)
