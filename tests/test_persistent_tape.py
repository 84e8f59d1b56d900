"""Gradients of persistent tapes behind updates of the weights that they have seen."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops


def test_persistent_tape_reads_weights_as_they_were_when_it_closed():
    v = cdl.Variable(2.0)
    with cdl.GradientTape(persistent=True) as tape:
        target = v * v * v
    for value in (5.0, -1.0):
        v.assign(value)
        assert tape.gradient(target, v) == 12.0
        assert v.numpy() == value


@pytest.mark.parametrize("eagerly", [True, False])
def test_updates_between_gradients_of_a_persistent_tape(eagerly):
    class Pair(cdl.Model):
        def __init__(self, updates_first):
            super().__init__()
            self.first, self.second = layers.Dense(4, "tanh"), layers.Dense(1)
            self.rates = cdl.optimizers.SGD(0.5), cdl.optimizers.SGD(0.5)
            self.updates_first = updates_first

        def call(self, inputs):
            return self.second(self.first(inputs))

        def train_step(self, data):
            x, y = data
            with cdl.GradientTape(persistent=True) as tape:
                error = self(x, training=True) - y
                losses = ops.mean(error**2), ops.mean(ops.abs(error))
            weights = self.first.trainable_variables, self.second.trainable_variables
            one = tape.gradient(losses[0], weights[0])
            if self.updates_first:
                self.rates[0].apply(one, weights[0])
            other = tape.gradient(losses[1], weights[1])
            if not self.updates_first:
                self.rates[0].apply(one, weights[0])
            self.rates[1].apply(other, weights[1])
            return {"loss": losses[0]}

    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    found = []
    for updates_first in (True, False):
        cdl.utils.set_random_seed(0)
        model = Pair(updates_first)
        model.compile(run_eagerly=eagerly)
        model.fit(x, x.sum(1, keepdims=True), batch_size=16, epochs=2, verbose=0, shuffle=False)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
