"""Recurrent layers: what golden cases do not show."""

import re

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 6, 3)).astype(np.float32)
KINDS = [layers.SimpleRNN, layers.LSTM, layers.GRU]


def net_of(layer, shape=(6, 3), batch=None):
    x = cdl.Input(shape, batch_size=batch)
    return cdl.Model(x, layer(x))


@pytest.mark.filterwarnings("ignore:Flatten")  # which has no mask to give on
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_central_differences(kind):
    layer = kind(4, return_sequences=True, go_backwards=True)
    x = cdl.Input((6, 3))
    y = layer(x, mask=ops.any(x != 0, axis=-1))
    net = cdl.Model(x, layers.Dense(1)(layers.Flatten()(y)))
    shown = X.copy()
    shown[1, :3] = shown[2, 4:] = 0.0
    net.compile("sgd", "mse")
    y = np.ones((4, 1), np.float32)
    found = net.gradients(shown, y)
    for weight in net.trainable_weights:
        gradient = found[weight.path]
        before = weight.numpy()
        for place in [(0, 0), (-1, -1)] if before.ndim == 2 else [(0,), (-1,)]:
            sides = []
            for step in (1e-2, -1e-2):
                moved = before.copy()
                moved[place] += step
                weight.assign(moved)
                sides.append(net.evaluate(shown, y, verbose=0))
            weight.assign(before)
            slope = (sides[0] - sides[1]) / 2e-2
            assert gradient[place] == pytest.approx(slope, abs=2e-3), (weight.path, place)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_dropout_are_shared_by_all_steps(kind):
    layer = kind(3, activation=None, use_bias=False, dropout=0.5, return_sequences=True)
    ones = np.ones((32, 5, 3), np.float32)
    layer.build((None, 5, 3))
    kernels = [np.ones(w.shape, np.float32) for w in layer.weights]
    kernels[1] *= 0.0
    layer.set_weights(kernels)
    for y in (layer(ones, training=True), net_of(layer, (5, 3))(ones, training=True)):
        kept = np.round(np.asarray(y)[:, 0, 0], 4)
        assert len(np.unique(kept)) > 1, "samples have masks of their own"
        # Without a recurrent kernel each step is the same function of inputs that are the same,
        # but for the states that LSTM and GRU carry on.
        for n in np.unique(kept):
            alike = np.asarray(y)[kept == n]
            assert np.allclose(alike, alike[:1], atol=1e-5)
    assert layer.cell._dropout_mask is None


def test_gates_have_masks_of_their_own_with_recurrent_dropout():
    for kind, n in ((layers.LSTMCell, 4), (layers.GRUCell, 3)):
        assert isinstance(kind(2, dropout=0.5).get_dropout_mask(X[:, 0]), np.ndarray)
        cell = kind(2, dropout=0.5, recurrent_dropout=0.5)
        assert len(cell.get_dropout_mask(X[:, 0])) == n
        masks = cell.get_recurrent_dropout_mask(np.ones((64, 2), np.float32))
        assert not np.array_equal(masks[0], masks[1])


def test_a_cell_keeps_its_masks_until_they_are_reset():
    cell = layers.GRUCell(8, dropout=0.5)
    x = np.ones((16, 8), np.float32)
    first = cell.get_dropout_mask(x)
    assert cell.get_dropout_mask(x) is first
    cell.reset_dropout_mask()
    assert not np.array_equal(cell.get_dropout_mask(x), first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_1_drops_all_inputs(kind):
    layer = kind(3, dropout=1.0)
    nothing = layer(np.zeros_like(X))
    assert np.allclose(layer(X, training=True), nothing)
    assert not np.allclose(layer(X), nothing)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_draws_anew_in_each_step_of_training_and_not_in_inference(kind):
    net = net_of(kind(5, dropout=0.5, recurrent_dropout=0.5))
    assert np.array_equal(net.predict(X, verbose=0), net.predict(X, verbose=0))
    assert not np.array_equal(net(X, training=True), net(X, training=True))
    assert np.allclose(net(X), net.predict(X, verbose=0))


def test_a_layer_that_is_given_states_sees_the_mask_of_its_input():
    ids = np.array([[3, 1, 0, 0], [2, 0, 0, 0]])
    x, h = cdl.Input((4,)), cdl.Input((5,))
    y = layers.GRU(5)(layers.Embedding(4, 3, mask_zero=True)(x), initial_state=h)
    net = cdl.Model([x, h], y)
    h = RNG.normal(size=(2, 5)).astype(np.float32)
    whole = net.predict([ids, h], verbose=0)
    moved = np.array([[3, 1, 0, 0], [0, 2, 0, 0]])
    assert np.allclose(net.predict([moved, h], verbose=0), whole, atol=1e-6)


def test_states_of_a_cell_may_be_nested():
    class Nested(layers.Layer):
        def __init__(self):
            super().__init__()
            self.state_size = [[4, 2], 3]
            self.output_size = 3

        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 3))

        def get_initial_state(self, batch_size=None):
            return [
                {"a": ops.zeros((batch_size, 4)), "b": ops.ones((batch_size, 2))},
                ops.zeros((batch_size, 3)),
            ]

        def call(self, inputs, states):
            pair, h = states
            h = h + inputs @ self.kernel
            return h, [{"a": pair["a"] + 1.0, "b": pair["b"] * 2.0}, h]

    layer = layers.RNN(Nested(), return_state=True)
    output, pair, h = layer(X)
    assert np.allclose(pair["a"], 6.0) and np.allclose(pair["b"], 64.0)
    assert np.allclose(output, h)
    x = cdl.Input((6, 3))
    assert np.allclose(cdl.Model(x, layer(x)[0]).predict(X, verbose=0), output, atol=1e-5)


def test_a_cell_may_be_any_object():
    class Sum:
        state_size = 3

        def call(self, inputs, states):
            return inputs + states[0], [inputs + states[0]]

    layer = layers.RNN(Sum())
    assert np.allclose(layer(X), X.sum(1), atol=1e-5)
    assert np.allclose(net_of(layer).predict(X, verbose=0), X.sum(1), atol=1e-5)


def test_a_step_may_read_what_is_around_the_loop():
    class Scaled(layers.RNN):
        def call(self, sequences, initial_state=None, mask=None, training=False):
            self.cell.scale = ops.mean(sequences, axis=1)
            return super().call(sequences, initial_state, mask, training)

    class Cell:
        state_size = 3

        def call(self, inputs, states):
            h = inputs * self.scale + states[0]
            return h, [h]

    layer = Scaled(Cell())
    wanted = (X * X.mean(1, keepdims=True)).sum(1)
    assert np.allclose(net_of(layer).predict(X, verbose=0), wanted, atol=1e-5)


def test_what_does_not_depend_on_the_step_is_computed_once():
    net = net_of(layers.LSTM(4, "gelu", implementation=1))  # that the core has no loop of
    ops_of = [i.op for i in net.program().instructions]
    assert ops_of.count("param") == 3
    cuts = [i for i in net.program().instructions if i.op == "pick" and i.inputs[0].shared]
    assert len(cuts) == 3 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_files_bring_a_layer_back(kind, tmp_path):
    net = cdl.Sequential(
        [cdl.Input((6, 3)), kind(4, return_sequences=True), layers.RNN(layers.GRUCell(3))]
    )
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert np.array_equal(again.predict(X, verbose=0), net.predict(X, verbose=0))
    other = cdl.models.clone_model(net)
    net.save_weights(tmp_path / "net.weights.h5")
    other.load_weights(tmp_path / "net.weights.h5")
    assert np.array_equal(other.predict(X, verbose=0), net.predict(X, verbose=0))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: layers.GRU(0), "GRU: units must be a positive int, got 0"),
        (lambda: layers.RNN(layers.Dense(3)), "RNN: cell must be a cell with an attribute"),
        (lambda: layers.RNN(3), "RNN: cell must be a cell, which has a method call"),
        (lambda: layers.LSTM(3, use_cudnn="x"), "LSTM: use_cudnn must be one of"),
        (lambda: layers.LSTM(3, use_cudnn=True)(X), "use_cudnn must be 'auto' or False"),
        (lambda: layers.LSTM(3)(X, initial_state=[X[:, 0]]), "initial_state must be 2 tensors"),
        (
            lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(3)])(
                X, initial_state=[X[:, 0]] * 3
            ),
            "initial_state must be 3 tensors, nested as state_size=[[3, 3], 3], got 3 that are",
        ),
        (lambda: layers.RNN([]), "cells must be a list of at least one cell, got []"),
        (lambda: layers.LSTM(3)(X, mask=X[:, 1:, 0] > 0), "mask must have shape (samples, steps)"),
        (lambda: layers.GRU(3)(X, mask=X[:2, :, 0] > 0), "mask must have shape (samples, steps)"),
        (lambda: layers.GRU(3)(X, mask=X[0, :, 0] > 0), "mask must have shape (samples, steps)"),
        (lambda: layers.LSTM(3)(X[0]), "the input must have 3 axes"),
        (lambda: layers.GRU(3, dropout="a"), "GRU: dropout must be a number between 0 and 1"),
        (
            lambda: layers.GRU(3, stateful=True)(cdl.Input((6, 3))),
            "stateful=True needs a known number of samples",
        ),
    ],
)
def test_errors_name_what_was_expected(call, text):
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        call()


def test_a_state_of_another_size_is_refused_when_it_is_compiled():
    class Growing:
        state_size = 3

        def call(self, inputs, states):
            return inputs, [ops.concatenate([states[0], inputs], -1)]

    with pytest.raises(ValueError, match="each step must carry on a state of the shape"):
        net_of(layers.RNN(Growing())).predict(X, verbose=0)


def test_a_wrapper_of_both_ways_has_copies_with_weights_of_their_own():
    inner = layers.LSTM(4, return_sequences=True)
    inner.build((None, 6, 3))
    both = layers.Bidirectional(inner)
    both.build((None, 6, 3))
    assert not any(mine is theirs for mine in inner.weights for theirs in both.weights)
    assert not np.array_equal(both.weights[0], inner.weights[0])
    assert both.backward_layer.go_backwards and not both.forward_layer.go_backwards


def test_weights_of_a_wrapper_of_both_ways_may_be_given():
    first = layers.Bidirectional(layers.GRU(4))
    y = first(X)
    assert np.array_equal(layers.Bidirectional(layers.GRU(4), weights=first.get_weights())(X), y)


def test_masks_pass_through_wrappers_and_states():
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    x = cdl.Input((None,))
    y = layers.Embedding(4, 3, mask_zero=True)(x)
    y, *_ = layers.Bidirectional(layers.LSTM(2, return_sequences=True, return_state=True))(y)
    y = layers.TimeDistributed(layers.Dense(2))(y)
    y, _ = layers.GRU(2, return_sequences=True, return_state=True)(y)
    net = cdl.Model(x, layers.GlobalAveragePooling1D()(y))
    whole = net.predict(ids, verbose=0)
    short = net(ids[:, :2])
    assert np.allclose(whole[0], short[0], atol=1e-6)


def test_each_step_of_a_wrapped_dropout_draws_anew():
    ones = np.ones((64, 5, 3), np.float32)
    frames = np.ones((16, 5, 2, 2, 3), np.float32)
    for layer, given in (
        (layers.Dropout(0.5, seed=3), ones),
        (layers.SpatialDropout2D(0.5, seed=3), frames),
        (layers.SpatialDropout2D(0.5), frames),
    ):
        x = cdl.Input(given.shape[1:])
        net = cdl.Model(x, layers.TimeDistributed(layer)(x))
        y = np.asarray(net(given, training=True))
        assert not np.array_equal(y[:, 0], y[:, 1])
        assert np.array_equal(net.predict(given, verbose=0), given)


@pytest.mark.parametrize("make", [lambda: layers.Conv2D(2, 2), lambda: layers.GRU(3)])
def test_files_bring_a_wrapped_layer_back(make, tmp_path):
    given = RNG.normal(size=(2, 4, 5, 5, 2)).astype(np.float32)
    given = given if isinstance(make(), layers.Conv2D) else given[:, :, :, 0]
    net = cdl.Sequential(
        [
            cdl.Input(given.shape[1:]),
            layers.TimeDistributed(make()),
            layers.TimeDistributed(layers.Flatten()),
            layers.Bidirectional(layers.LSTM(3)),
        ]
    )
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert np.array_equal(again.predict(given, verbose=0), net.predict(given, verbose=0))


def test_a_wrapped_layer_of_all_steps_at_once_is_one_instruction():
    net = net_of(layers.TimeDistributed(layers.Dense(4)))
    assert [i.op for i in net.program().instructions] == ["dense"]


def test_a_wrapper_of_both_ways_is_for_recurrent_layers():
    with pytest.raises(TypeError, match="Bidirectional: layer must be a recurrent layer"):
        layers.Bidirectional(layers.Dense(3))


def test_convolutions_along_time_keep_masks_states_and_files(tmp_path):
    given = RNG.normal(size=(2, 4, 5, 5, 2)).astype(np.float32)
    shown = np.array([[True, True, False, False], [True, True, True, True]])
    layer = layers.ConvLSTM2D(3, 2, return_state=True, unroll=True)
    y, h, _ = layer(given, mask=shown)
    assert np.allclose(y, h)
    assert np.allclose(y[0], layer(given[:1, :2])[0][0], atol=1e-6)
    kept = layers.ConvLSTM2D(3, 2, padding="same", stateful=True, dropout=0.5)
    net = net_of(kept, (4, 5, 5, 2), batch=2)
    first = net.predict(given, verbose=0)
    assert not np.allclose(net.predict(given, verbose=0), first)
    kept.reset_state()
    assert np.allclose(net.predict(given, verbose=0), first, atol=1e-6)
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert np.allclose(again.predict(given, verbose=0), first, atol=1e-6)


def test_convolutions_along_time_that_are_frozen_do_not_learn():
    layer = layers.ConvLSTM1D(2, 2, trainable=False)
    layer.build((None, 3, 5, 2))
    assert layer.trainable_weights == layer.cell.trainable_weights == []


@pytest.mark.parametrize("kind", KINDS)
def test_training_that_is_said_in_a_graph_holds_in_predictions(kind):
    x = cdl.Input((6, 3))
    net = cdl.Model(x, kind(8, dropout=0.5)(x, training=True))
    assert not np.array_equal(net.predict(X, verbose=0), net.predict(X, verbose=0))


def test_a_layer_on_arrays_follows_its_attributes_and_weights():
    layer = layers.LSTM(4)
    first = np.asarray(layer(X))
    layer.return_sequences = True
    assert np.allclose(layer(X)[:, -1], first, atol=1e-6)
    layer.set_weights([w * 0.5 for w in layer.get_weights()])
    assert not np.allclose(layer(X)[:, -1], first)
    drawn = layers.GRU(8, dropout=0.5)
    assert not np.array_equal(drawn(X, training=True), drawn(X, training=True))
    y, h = layers.RNN([layers.GRUCell(3)], return_state=True)(X)
    assert np.allclose(y, h)


def test_layers_within_a_cell_may_be_left_to_their_first_call():
    class Normalized(layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.state_size = self.output_size = units
            self.inner = layers.SimpleRNNCell(units, activation=None)
            self.norm = layers.LayerNormalization()

        def call(self, inputs, states):
            output, _ = self.inner(inputs, states)
            output = ops.tanh(self.norm(output))
            return output, [output]

    layer = layers.RNN(Normalized(4), return_sequences=True)
    net = net_of(layer)
    assert [w.shape for w in net.weights] == [(3, 4), (4, 4), (4,), (4,), (4,)]
    net.compile("adam", "mse")
    before = net.get_weights()
    net.fit(X, np.ones((4, 6, 4)), epochs=2, verbose=0)
    assert not any(map(np.array_equal, before, net.get_weights()))
    assert np.allclose(net.predict(X, verbose=0), layer(X), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(layers.LSTM(3), "dropout"), (layers.GRU(3), "units"), (layers.ConvLSTM1D(2, 3), "filters")],
    ids=str,
)
def test_what_a_layer_has_of_its_cell_is_not_set_on_the_layer_alone(layer, name):
    with pytest.raises(AttributeError, match=f"{name} must be given to the constructor, or set"):
        setattr(layer, name, 1)
    setattr(layer.cell, name, 1)
    assert getattr(layer, name) == 1


def test_stacks_within_stacks_draw_their_dropout_anew():
    inner = layers.StackedRNNCells([layers.GRUCell(3, dropout=0.5), layers.SimpleRNNCell(2)])
    layer = layers.RNN([inner, layers.LSTMCell(4)])
    assert layer(X).shape == (4, 4)
    assert not np.array_equal(layer(X, training=True), layer(X, training=True))
    assert np.allclose(net_of(layer).predict(X, verbose=0), layer(X), atol=1e-6)
