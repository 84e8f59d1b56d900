"""Tapes and training steps over recurrent layers whose states go on from batch to batch."""

import warnings

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 4, 3)).astype(np.float32)
Y = RNG.normal(size=(12, 1)).astype(np.float32)
KINDS = [
    lambda: layers.SimpleRNN(3, stateful=True),
    lambda: layers.LSTM(3, stateful=True),
    lambda: layers.GRU(3, stateful=True),
    lambda: layers.Bidirectional(layers.LSTM(2, stateful=True)),
]


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
@pytest.mark.parametrize("is_model", [False, True])
def test_gradients_start_from_the_states_before_the_calls(kind, is_model):
    layer, whole = kind(3, stateful=True), kind(3, return_state=True)
    x = cdl.Input(batch_shape=(4, 4, 3))
    net = cdl.Model(x, layer(x)) if is_model else layer
    net(X[:4])  # the states are no zeros any more
    whole.build((None, 4, 3))
    whole.set_weights(layer.get_weights())
    before = [np.array(each) for each in layer.states]
    with cdl.GradientTape() as tape:
        loss = ops.mean(net(X[4:8], training=True) ** 2) + ops.mean(net(X[8:], training=True))
    found = tape.gradient(loss, layer.trainable_variables)
    with cdl.GradientTape() as tape:
        first, *states = whole(X[4:8], initial_state=before)
        between = [np.array(each) for each in states]  # a state is a variable: no gradient through
        second, *_ = whole(X[8:], initial_state=between)
        expected = ops.mean(first**2) + ops.mean(second)
    wanted = tape.gradient(expected, whole.trainable_variables)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    after = [np.array(each) for each in layer.states]
    layer.reset_state()
    for each in np.split(X, 3):
        net(each, training=True)
    for one, other in zip(after, layer.states, strict=True):  # the gradient moved none
        np.testing.assert_allclose(one, np.array(other), rtol=1e-5, atol=1e-6)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def trained(kind, eagerly, branches):
    class Own(cdl.Model):
        def train_step(self, data):
            x, y = data
            with cdl.GradientTape() as tape:
                loss = ops.mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            if branches and loss > 0.5:
                gradients = [0.5 * each for each in gradients]
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

        def test_step(self, data):
            return {"loss": ops.mean(ops.abs(self(data[0], training=False) - data[1]))}

    cdl.utils.set_random_seed(1)
    x = cdl.Input(batch_shape=(2, 4, 3))
    layer = kind()
    model = Own(x, layers.Dense(1)(layer(x)))
    model.compile(cdl.optimizers.SGD(0.1), run_eagerly=eagerly)
    given = {"batch_size": 2, "verbose": 0, "validation_data": (X[:6], Y[:6])}
    with warnings.catch_warnings(record=True):  # that the step runs in Python
        history = model.fit(X, Y, epochs=3, shuffle=False, **given).history
    numbers = [*model.get_weights(), *(np.array(each) for each in layer.states)]
    return [each.tobytes() for each in numbers], history


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("branches", [False, True])
def test_own_steps_train_as_eager_ones(kind, branches):
    assert trained(kind, False, branches) == trained(kind, True, branches)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_eager_models_move_states_once_a_call(kind, training):
    layer = kind()
    x = cdl.Input(batch_shape=(4, 4, 3))
    model = cdl.Model(x, layer(x))
    found = []
    for eagerly in (False, True):
        model.compile("sgd", run_eagerly=eagerly)
        layer.reset_state()
        model(X[:4], training=training)
        found.append([np.array(each).tobytes() for each in layer.states])
    assert found[0] == found[1]


def test_eager_models_move_generators_once_a_call():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = cdl.random.SeedGenerator(3)

        def call(self, x):
            return x + cdl.random.normal((3,), seed=self.generator)

    found = []
    for eagerly in (False, True):
        noise = Noise()
        model = cdl.Sequential([cdl.Input((3,)), noise, layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=eagerly)
        model(X[:, 0], training=True)
        model.predict(X[:, 0], verbose=0)
        found.append(np.array(noise.generator.state).tolist())
    assert found[0] == found[1]
