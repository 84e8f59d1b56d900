"""Recurrent layers on constants and weights, which have no samples, in code that is traced."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
ROWS = np.ones((6, 3), np.float32)


def _perceptron():
    return cdl.Sequential([layers.Dense(6, "tanh"), layers.LayerNormalization(), layers.Dense(2)])


MADE = {
    "LSTM": lambda: layers.LSTM(4),
    "GRU": lambda: layers.GRU(4, return_sequences=True),
    "SimpleRNN": lambda: layers.SimpleRNN(4, go_backwards=True),
    "RNN": lambda: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)]),
    "Bidirectional": lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True)),
    "Bidirectional of sums": lambda: layers.Bidirectional(layers.LSTM(4), merge_mode="sum"),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(2)),
    "TimeDistributed of a model": lambda: layers.TimeDistributed(_perceptron()),
}


class Summed(cdl.Model):
    """Adds the sum of squares of a layer's outputs for sequences that are no input."""

    def __init__(self, layer, learned):
        super().__init__()
        self.layer = layer
        self.sequences = SEQUENCES
        if learned:
            self.sequences = self.add_weight(SEQUENCES.shape, lambda *_, **__: SEQUENCES)

    def call(self, x):
        return ops.mean(x, axis=1) * 0 + ops.sum(ops.square(self.layer(self.sequences)))


def _expected(layer, sequences):
    """The sum for an array, and its gradients by the layer's weights and the array."""
    given = cdl.Input(SEQUENCES.shape[1:])
    model = cdl.Model(
        given, ops.sum(ops.square(layer(given)), axis=(1, 2)[: layer(given).ndim - 1])
    )
    with cdl.GradientTape() as tape:
        x = cdl.Variable(sequences)
        total = ops.sum(model(x))
    return float(total), tape.gradient(total, [*layer.trainable_weights, x])


@pytest.mark.parametrize("learned", [False, True], ids=["constant", "weight"])
@pytest.mark.parametrize("name", MADE)
def test_a_step_of_training_follows_the_gradient_of_the_same_call_on_samples(name, learned):
    cdl.utils.set_random_seed(3)
    layer = MADE[name]()
    layer(SEQUENCES)
    total, gradients = _expected(layer, SEQUENCES)
    model = Summed(layer, learned)
    np.testing.assert_allclose(model.predict(ROWS, verbose=0), total, rtol=1e-5)
    weights = [*layer.trainable_weights, *([model.sequences] if learned else [])]
    before = [w.numpy().copy() for w in weights]
    model.compile(cdl.optimizers.SGD(1.0), lambda _, y: y)
    model.train_on_batch(ROWS, np.zeros(6))
    for old, weight, gradient in zip(before, weights, gradients, strict=False):
        moved = old - weight.numpy()
        np.testing.assert_allclose(moved, gradient, rtol=1e-3, atol=2e-4 * np.abs(gradient).max())
    after = SEQUENCES if not learned else model.sequences.numpy()
    found = model.predict(ROWS, verbose=0)
    np.testing.assert_allclose(found, np.square(layer(after)).sum(), rtol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_the_gradient_by_a_variable_on_a_tape_is_that_of_central_differences(name):
    cdl.utils.set_random_seed(3)
    layer = MADE[name]()
    x = cdl.Variable(SEQUENCES)
    with cdl.GradientTape() as tape:
        total = ops.sum(ops.square(layer(x)))
    gradient = tape.gradient(total, x)
    direction = np.random.default_rng(1).normal(size=SEQUENCES.shape).astype(np.float32)
    ends = [np.square(np.float64(layer(SEQUENCES + h * direction))).sum() for h in (2e-3, -2e-3)]
    slope = np.sum(gradient * direction)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 4e-3, rtol=5e-3, atol=5e-3)


def test_states_kept_between_batches_ask_for_samples():
    layer = layers.LSTM(4, stateful=True)
    layer(SEQUENCES)
    with pytest.raises(ValueError, match=r"LSTM .*: with stateful=True inputs must have the sam"):
        Summed(layer, False).predict(ROWS, verbose=0)


class ByNode(layers.Layer):
    """Layer on the sequences of all nodes of a graph: (samples, steps, nodes, columns).

    With `nodes_first`, samples come after the nodes in the axis that is both.
    """

    def __init__(self, inner, nodes_first):
        super().__init__()
        self.inner, self.order = inner, (2, 0, 1, 3) if nodes_first else (0, 2, 1, 3)

    def call(self, x):
        one, other, steps, columns = ops.shape(x := ops.transpose(x, self.order))
        y = self.inner(ops.reshape(x, (one * other, steps, columns)))
        y = ops.reshape(y, (one, other, *y.shape[1:]))
        return ops.swapaxes(y, 0, 1) if self.order[0] else y


NODES = np.random.default_rng(1).normal(size=(3, 4, 5, 2)).astype(np.float32)
BY_NODE = {
    "in the core": lambda: layers.LSTM(3),
    "relu": lambda: layers.LSTM(3, activation="relu"),
    "elu, all steps": lambda: layers.GRU(3, activation="elu", return_sequences=True),
    "backwards": lambda: layers.SimpleRNN(
        3, activation="relu", go_backwards=True, return_sequences=True
    ),
    "stacked": lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2, activation="elu")]),
}


@pytest.mark.parametrize("nodes_first", [True, False])
@pytest.mark.parametrize("name", BY_NODE)
def test_sequences_of_nodes_and_samples_in_one_axis(name, nodes_first):
    cdl.utils.set_random_seed(3)
    inner = BY_NODE[name]()
    inputs = cdl.Input(NODES.shape[1:])
    model = cdl.Model(inputs, ByNode(inner, nodes_first)(inputs))
    expected = np.stack([np.asarray(inner(NODES[:, :, k])) for k in range(5)], 1)
    np.testing.assert_allclose(model.predict(NODES, verbose=0), expected, atol=2e-6)
    np.testing.assert_allclose(model(NODES), expected, atol=2e-6)
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    losses = model.fit(NODES, 0 * expected, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_states_that_are_arrays_begin_a_loop_in_traced_code(activation):
    states = [np.full((6, 4), 2.0, np.float32), np.full((6, 4), -1.0, np.float32)]
    layer = layers.LSTM(4, activation=activation)
    x = np.random.default_rng(2).normal(size=(6, 5, 3)).astype(np.float32)

    class Begun(layers.Layer):
        def call(self, x):
            return layer(x, initial_state=states)

    inputs = cdl.Input((5, 3), batch_size=6)
    model = cdl.Model(inputs, Begun()(inputs))
    expected = layer(x, initial_state=states)
    assert np.abs(expected - layer(x)).max() > 0.01
    np.testing.assert_allclose(model.predict(x, batch_size=6, verbose=0), expected, atol=2e-6)
