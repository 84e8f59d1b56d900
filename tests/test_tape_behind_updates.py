"""Gradients of tapes behind updates of the weights that they have read."""

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


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", ["assign", "apply", "set_weights"])
def test_gradient_is_by_the_weights_that_the_call_has_read(persistent, inside, how):
    net = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)

    def update():
        if how == "set_weights":
            net.set_weights([3 * each + 1 for each in net.get_weights()])
        elif how == "apply":
            weights = net.trainable_variables
            cdl.optimizers.SGD(0.5).apply([np.ones(v.shape, np.float32) for v in weights], weights)
        else:
            for each in net.trainable_variables:
                each.assign(each * 2.0)

    found = []
    for updates in (False, True):
        weights = net.get_weights()
        with cdl.GradientTape(persistent=persistent) as tape:
            loss = ops.mean(ops.square(net(x) - 1.0))
            if updates and inside:
                update()
        if updates and not inside:
            update()
        now = net.get_weights()
        found.append(tape.gradient(loss, net.trainable_variables))
        for one, other in zip(now, net.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        net.set_weights(weights)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tape_that_stays_open_has_the_values_of_each_call():
    v = cdl.Variable(2.0)
    with cdl.GradientTape(persistent=True) as tape:
        first = v * v * v
        v.assign(5.0)
        second = v * v * v
        assert tape.gradient(second, v) == 75.0
    v.assign(-1.0)
    assert (tape.gradient(first, v), tape.gradient(second, v)) == (12.0, 75.0)


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_steps_that_update_ahead_of_a_gradient(eagerly, inside):
    class Pair(cdl.Model):
        def __init__(self, updates):
            super().__init__()
            self.first, self.second = layers.Dense(4, "tanh"), layers.Dense(1)
            self.sgd = cdl.optimizers.SGD(0.5)
            self.updates = updates

        def call(self, inputs):
            return self.second(self.first(inputs))

        def train_step(self, data):
            x, y = data
            with cdl.GradientTape() as tape:
                loss = ops.mean((self(x, training=True) - y) ** 2)
                if self.updates and inside:
                    self.change()
            if self.updates and not inside:
                self.change()
            weights = self.second.trainable_variables
            gradients = tape.gradient(loss, weights)
            if not self.updates:
                self.change()
            self.sgd.apply(gradients, weights)
            return {"loss": loss}

        def change(self):
            self.first.kernel.assign(self.first.kernel * 0.5)

    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    found = []
    for updates in (True, False):
        cdl.utils.set_random_seed(0)
        model = Pair(updates)
        model.compile(run_eagerly=eagerly)
        model.fit(x, x.sum(1, keepdims=True), batch_size=16, epochs=2, verbose=0, shuffle=False)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("seed", "rows"), [(17, 22), (21, 6), (69, 14)])
def test_gradient_of_a_loss_in_bfloat16(seed, rows):
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)[:rows]
    cdl.utils.set_random_seed(seed)
    first = layers.Dense(5, "tanh", dtype="mixed_bfloat16")
    last = layers.Dense(2, "sigmoid", dtype="mixed_bfloat16")
    first.build((None, 3))
    last.build((None, 5))
    with cdl.GradientTape() as tape:
        loss = ops.mean(ops.square(last(first(x))))  # whose sum a program rounds once
    gradients = tape.gradient(loss, first.trainable_variables)
    assert all(np.any(np.asarray(each)) for each in gradients)
