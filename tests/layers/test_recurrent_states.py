"""Stateful recurrent layers: states go on from batch to batch, whatever runs the batches."""

import os

import numpy as np
import pytest

import cdl
from cdl import _core, layers
from cdl.trainers.lowering import lower_inference

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 6, 3)).astype(np.float32)
KINDS = [layers.SimpleRNN, layers.LSTM, layers.GRU]


def net_of(layer, shape=(6, 3), batch=None):
    x = cdl.Input(shape, batch_size=batch)
    return cdl.Model(x, layer(x))


def after_each_other(kind, **options):
    """A stateful layer, the same without, and what that gives for batches joined along time."""
    layer = kind(5, stateful=True, return_sequences=True, **options)
    net = net_of(layer, batch=2)
    whole = kind(5, return_sequences=True, **options)
    whole.build((None, 12, 3))
    whole.set_weights(net.get_weights())
    return layer, net, np.asarray(whole(np.concatenate([X[:2], X[2:]], 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_states_go_on_from_batch_to_batch_until_they_are_reset(kind):
    layer, net, wanted = after_each_other(kind)
    net.compile("sgd", "mse")
    ways = {
        "predict": lambda: net.predict(X, verbose=0),
        "predict of batches": lambda: net.predict(X, batch_size=2, verbose=0),
        "predict seen": lambda: net.predict(X, callbacks=[cdl.callbacks.Callback()], verbose=0),
        "predict on batches": lambda: [*net.predict_on_batch(X[:2]), *net.predict_on_batch(X[2:])],
        "calls of the net": lambda: [*net(X[:2]), *net(X[2:])],
        "calls of the layer": lambda: [*layer(X[:2]), *layer(X[2:])],
        "one after evaluate": lambda: (
            net.evaluate(X[:2], np.ones((2, 6, 5)), verbose=0) and [*wanted[:, :6], *net(X[2:])]
        ),
    }
    for name, way in ways.items():
        layer.reset_state()
        y = np.asarray(way())
        assert np.allclose(np.concatenate([y[:2], y[2:]], 1), wanted, atol=1e-5), name
    assert len(net.weights) == 3, "states are no weights"


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_from_batch_to_batch_and_epoch_to_epoch(kind):
    layer, net, wanted = after_each_other(kind)
    net.compile(cdl.optimizers.SGD(0.0), "mse")
    net.fit(X, np.ones((4, 6, 5)), batch_size=2, shuffle=False, epochs=1, verbose=0)
    assert np.allclose(layer.states[0], wanted[:, -1], atol=1e-5)
    net.fit(X, np.ones((4, 6, 5)), batch_size=2, shuffle=False, epochs=1, verbose=0)
    assert not np.allclose(layer.states[0], wanted[:, -1], atol=1e-5)
    layer.reset_states()
    assert not np.any(layer.states[0])


def test_threads_keep_states_the_same(run_python):
    code = """
import cdl, numpy as np
cdl.utils.set_random_seed(1)
x = cdl.Input(batch_shape=(64, 6, 40))
layer = cdl.layers.RNN([cdl.layers.GRUCell(64), cdl.layers.LSTMCell(64)], stateful=True)
net = cdl.Model(x, cdl.layers.Dense(1)(layer(x)))
net.compile("adam", "mse")
data = np.random.default_rng(1).normal(size=(256, 6, 40)).astype("f")
net.fit(data, data[:, 0, :1], batch_size=64, epochs=2, verbose=0)
y = net.predict(data, batch_size=64, verbose=0)
layer.reset_state()
print(y.tobytes().hex()[:400], float(y.sum()), float(net.predict(data, verbose=0).sum()))
"""
    seen = {
        run_python(code, env={**os.environ, "OMP_NUM_THREADS": str(n)}).stdout for n in (1, 2, 4)
    }
    assert len(seen) == 1


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_threads_that_share_the_samples_of_batches_predict_the_same(threads, lockstep):
    """Batches of 72 samples are four blocks of 16 and one of 8."""
    x = cdl.Input(batch_shape=(72, 3, 5))
    first = layers.LSTM(6, stateful=True, return_sequences=True)
    second = layers.GRU(4, stateful=True)
    program = lower_inference(cdl.Model(x, second(first(x)))).fused(False)
    data = RNG.normal(size=(4 * 72, 3, 5)).astype(np.float32)
    found = []
    for given in ({"threads": 1}, {"threads": threads, "lockstep": lockstep}):
        for layer in (first, second):
            layer.reset_states()
        executor = _core.Executor(program, 72, predicts=True, **given)
        assert executor.threads == given["threads"]
        y = [executor.predict([data])[0] for _ in range(2)]
        found.append([*y, *map(np.array, (*first.states, *second.states))])
    for one, several in zip(*found, strict=True):
        np.testing.assert_array_equal(one, several)


def test_states_of_stacked_cells_are_kept_and_reset():
    cells = [layers.GRUCell(3), layers.LSTMCell(4)]
    layer = layers.RNN(cells, stateful=True)
    first = np.asarray(layer(X))
    assert not np.allclose(layer(X), first)
    layer.reset_state()
    assert np.allclose(layer(X), first, atol=1e-6)


def test_a_stateful_wrapper_of_both_ways_keeps_the_states_of_both():
    layer = layers.Bidirectional(layers.LSTM(3, stateful=True, return_sequences=True))
    net = net_of(layer, batch=4)
    first = net.predict(X, verbose=0)
    assert len(layer.states) == 4
    assert not np.allclose(net.predict(X, verbose=0), first)
    layer.reset_state()
    assert np.allclose(net.predict(X, verbose=0), first, atol=1e-6)


def test_an_initial_state_counts_more_than_the_one_that_was_kept():
    layer = layers.GRU(5, stateful=True)
    layer(X)
    zeros = np.zeros((4, 5), np.float32)
    again = layers.GRU(5)
    again.build((None, 6, 3))
    again.set_weights(layer.get_weights())
    assert np.allclose(layer(X, initial_state=zeros), again(X), atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda net, y: net.predict(X, batch_size=3, verbose=0),
        lambda net, y: net.predict(X[:3], verbose=0),
        lambda net, y: net(X[:3]),
        lambda net, y: net.fit(X, y, batch_size=4, verbose=0),
        lambda net, y: net.evaluate(X[:3], y[:3], verbose=0),
        lambda net, y: net.train_on_batch(X, y),
        lambda net, y: net.fit(((X[:n], y[:n]) for n in (2, 3)), verbose=0),
        lambda net, y: net.fit(X, y, batch_size=2, validation_data=(X[:3], y[:3]), verbose=0),
    ],
)
def test_batches_of_another_number_of_samples_are_refused(call):
    net = net_of(layers.GRU(5, stateful=True), batch=2)
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"(of|have) 2 samples"):
        call(net, np.ones((4, 5), np.float32))


def test_prediction_step_by_step_is_that_of_the_whole():
    steps = cdl.Sequential([cdl.Input(batch_shape=(1, 1, 3)), layers.LSTM(4, stateful=True)])
    whole = cdl.Sequential([cdl.Input((6, 3)), layers.LSTM(4, return_sequences=True)])
    whole.set_weights(steps.get_weights())
    one = np.concatenate([steps.predict(X[:1, t : t + 1], verbose=0) for t in range(6)])
    assert np.allclose(one, whole.predict(X[:1], verbose=0)[0], atol=1e-6)


@pytest.mark.parametrize("size", [1, 300])
def test_a_stateful_layer_may_have_any_number_of_samples(size):
    given = RNG.normal(size=(size, 4, 3)).astype(np.float32)
    layer = layers.GRU(3, stateful=True)
    whole = layers.GRU(3)
    whole.build((None, 4, 3))
    layer(given)
    whole.set_weights(layer.get_weights())
    wanted = whole(np.concatenate([given, given], 1))
    assert np.allclose(layer(given), wanted, atol=1e-6)
    layer.reset_state()
    net = net_of(layer, (4, 3), batch=size)
    net.predict(given, verbose=0)
    assert np.allclose(net.predict(given, verbose=0), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "call", ["fit", "evaluate", "predict", "train_on_batch", "predict_on_batch"]
)
def test_batches_of_other_sizes_are_refused_in_the_same_words(call):
    net = net_of(layers.GRU(2, stateful=True), batch=4)
    net.compile("sgd", "mse")
    x, y = np.zeros((6, 6, 3)), np.zeros((6, 2))
    given = (x,) if "predict" in call else (x, y)
    with pytest.raises(ValueError, match="batches must have 4 samples, as many as the states of"):
        getattr(net, call)(*given)
    with pytest.raises(ValueError, match="batches must have 4 samples, as many as the states of"):
        net(x)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: layers.GRU(0), "GRU: units must be"),
        (lambda: layers.LSTM(2, unit_forget_bias=3), "LSTM: unit_forget_bias must be"),
        (lambda: layers.GRU(2, reset_after="a"), "GRU: reset_after must be"),
        (lambda: layers.SimpleRNN(-1), "SimpleRNN: units must be"),
        (lambda: layers.LSTM(2, seed="a"), "LSTM: seed must be"),
        (lambda: layers.ConvLSTM2D(2, 0), "ConvLSTM2D: kernel_size must be"),
        (lambda: layers.GRUCell(0), "GRUCell: units must be"),
        (lambda: layers.LSTMCell(2, unit_forget_bias=3), "LSTMCell: unit_forget_bias must be"),
    ],
)
def test_errors_name_the_layer_that_was_made(make, what):
    with pytest.raises(ValueError, match=what):
        make()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: layers.SimpleRNNCell(2, recurrent_activation="relu"), "recurrent_activation"),
        (lambda: layers.SimpleRNN(2, recurrent_activation="relu"), "recurrent_activation"),
        (lambda: layers.SimpleRNN(2, use_cudnn=True), "use_cudnn"),
        (lambda: layers.SimpleRNN(2, implementation=1), "implementation"),
        (lambda: layers.ConvLSTM1D(2, 1, use_cudnn=False), "use_cudnn"),
        (lambda: layers.ConvLSTM1D(2, 1, implementation=1), "implementation"),
        (lambda: layers.ConvLSTM1D(2, 1, units=3), "units"),
        (lambda: layers.LSTM(2, reset_after=True), "reset_after"),
        (lambda: layers.GRU(2, unit_forget_bias=True), "unit_forget_bias"),
    ],
)
def test_arguments_of_other_recurrent_layers_are_refused(make, argument):
    with pytest.raises((TypeError, ValueError), match=argument):
        make()


def test_first_call_of_a_stateful_bidirectional_layer_fixes_the_samples():
    both = layers.Bidirectional(layers.LSTM(3, stateful=True))
    first, second = both(X), both(X)
    net = cdl.Sequential([cdl.Input(batch_shape=X.shape), layers.Bidirectional(layers.LSTM(3))])
    net.set_weights(both.get_weights())
    np.testing.assert_allclose(first, net.predict(X), rtol=1e-5, atol=1e-6)
    assert not np.allclose(first, second, atol=1e-4)
    with pytest.raises(ValueError, match="samples"):
        both(X[:1])
