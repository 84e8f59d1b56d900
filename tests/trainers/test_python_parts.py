"""Losses and metrics that users write in Python work beside the core's."""

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl import Input, Sequential
from cdl.callbacks import Callback
from cdl.layers import Dropout, Identity, Reshape
from cdl.losses import Loss
from cdl.metrics import Metric
from cdl.optimizers import SGD, Adam

pytestmark = pytest.mark.filterwarnings(
    "ignore::cdl.UntracedWarning"
)  # functions that cannot be traced, since they ask for arrays, are meant

X, VALUES, LABELS, ONE_HOT = data()
RNG = np.random.default_rng(5)
WEIGHTS = RNG.uniform(0.2, 3, len(X)).astype(np.float32)
LAYERS = [(7, "tanh"), (4, "relu"), (2, "linear")]


def mine(y_true, y_pred):
    return np.mean((np.asarray(y_true) - y_pred) ** 2, axis=-1)


class Mine(Loss):
    def call(self, y_true, y_pred):
        return mine(y_true, y_pred)


def one_number(y_true, y_pred):
    return np.mean((np.asarray(y_true) - y_pred) ** 2)


def trained(loss, optimizer, **kwargs):
    model = net(*LAYERS)
    model.compile(optimizer(), loss, metrics=["mae"], weighted_metrics=["mse"])
    history = model.fit(
        X, VALUES, batch_size=16, epochs=3, shuffle=False, verbose=0, validation_split=0.2, **kwargs
    )
    return history.history, model.get_weights()


@pytest.mark.parametrize("loss", [mine, Mine(), one_number], ids=["function", "class", "number"])
@pytest.mark.parametrize("optimizer", [lambda: SGD(0.1), lambda: Adam(0.01)], ids=["sgd", "adam"])
def test_loss_in_python_trains_as_the_compiled_one_does(loss, optimizer):
    expected_logs, expected = trained("mean_squared_error", optimizer)
    logs, weights = trained(loss, optimizer)
    assert list(logs) == list(expected_logs)
    for name, values in expected_logs.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-3, err_msg=name)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_loss_in_python_is_weighted():
    sgd = lambda: SGD(0.1)  # noqa: E731
    expected, weights = trained("mean_squared_error", sgd, sample_weight=WEIGHTS)
    logs, ours = trained(mine, sgd, sample_weight=WEIGHTS)
    np.testing.assert_allclose(logs["val_loss"], expected["val_loss"], rtol=1e-3)
    np.testing.assert_allclose(ours[0], weights[0], rtol=1e-3, atol=1e-4)


def test_metric_in_python_sees_the_predictions_of_the_step():
    def mean_of_both(y_true, y_pred):
        return np.mean(np.abs(np.asarray(y_true) - y_pred), axis=-1)

    model = net(*LAYERS)
    model.compile(SGD(0.1), "mse", metrics=["mae", mean_of_both])
    logs = model.fit(X, VALUES, batch_size=16, epochs=2, validation_split=0.2, verbose=0).history
    np.testing.assert_allclose(logs["mean_of_both"], logs["mae"], rtol=1e-5)
    np.testing.assert_allclose(logs["val_mean_of_both"], logs["val_mae"], rtol=1e-5)


def test_lambda_is_reported_as_lambda():
    model = net(*LAYERS)
    model.compile("sgd", "mse", metrics=[lambda y, p: np.mean(np.asarray(y) - p, -1)])
    assert list(model.evaluate(X, VALUES, verbose=0, return_dict=True)) == ["lambda", "loss"]


class CountRows(Metric):
    """Rows seen, and the sum of their weights."""

    def __init__(self, name="rows"):
        super().__init__(name=name)
        self.n = self.add_variable(name="n")
        self.w = self.add_variable(name="w")

    def update_state(self, y_true, y_pred, sample_weight=None):
        assert y_true.dtype.kind == "i"
        assert y_pred.shape == (len(y_true), 3)
        self.n.assign_add(len(y_true))
        self.w.assign_add(len(y_true) if sample_weight is None else np.sum(sample_weight))

    def result(self):
        return {"n": float(self.n), "w": float(self.w)}


def test_metric_object_of_the_users_may_give_several_numbers_and_use_weights():
    model = net((3, "softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[CountRows()])
    logs = model.fit(
        X, LABELS, batch_size=16, epochs=2, sample_weight=WEIGHTS, verbose=0, validation_split=0.1
    ).history
    assert logs["n"] == [63, 63]
    assert logs["val_n"] == [7, 7]
    np.testing.assert_allclose(logs["w"], WEIGHTS[:63].sum(), rtol=1e-6)


def test_metric_objects_hold_what_the_core_added_up():
    from cdl.metrics import MeanAbsoluteError

    metric = MeanAbsoluteError()
    model = net(*LAYERS)
    model.compile("sgd", "mse", metrics=[metric])
    _, value = model.evaluate(X, VALUES, verbose=0)
    np.testing.assert_allclose(metric.result(), value, rtol=1e-6)


def test_error_in_a_python_loss_leaves_the_weights_of_the_last_whole_step():
    calls = []

    def broken(y_true, y_pred):
        calls.append(1)
        if len(calls) > 60:
            raise RuntimeError("mine")
        return mine(y_true, y_pred)

    model = net(*LAYERS)
    model.compile(SGD(0.1), broken)
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights())

    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, VALUES, batch_size=8, epochs=9, verbose=0, callbacks=[Watch()])
    assert np.array_equal(model.get_weights()[0], seen[-1][0])
    assert int(model.optimizer.iterations) == len(seen)
    calls.clear()
    model.fit(X[:8], VALUES[:8], verbose=0)


def test_python_parts_give_the_bar_its_turn_too(monkeypatch):
    from cdl.trainers.train_function import TrainFunction

    model = net(*LAYERS)
    model.compile("sgd", mine)
    returned = []
    run = TrainFunction.run
    monkeypatch.setattr(
        TrainFunction, "run", lambda self, steps, seconds: returned.append(run(self, steps, 0)) or 1
    )
    model.fit(X, VALUES, batch_size=10, verbose=0)
    assert returned == [1] * 7


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
def test_batches_of_a_generator_may_grow_with_parts_in_python():
    model, other = net(*LAYERS), net(*LAYERS)
    for each in (model, other):
        each.compile("sgd", mine, metrics=["mae"])
    parts = [(0, 3), (3, 20), (20, 24)]
    found = model.evaluate(((X[a:b], VALUES[a:b]) for a, b in parts), verbose=0)
    expected = other.evaluate(X[:24], VALUES[:24], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("value", "shown"), [(None, "got None"), ("a", "got 'a'")])
def test_loss_that_returns_no_numbers_is_refused_and_changes_nothing(value, shown):
    model = net((1, "linear"))
    model.compile("adam", lambda y_true, y_pred: value)
    before = model.get_weights()
    with pytest.raises(TypeError, match=f"loss 'lambda' must return numbers.*{shown}"):
        model.fit(X, VALUES[:, :1], verbose=0)
    assert same_weights(model, before)


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
@pytest.mark.parametrize("layers", [[Identity()], [Reshape((3, 4))], [Identity(), Dropout(0.5)]])
def test_loss_in_python_of_a_net_that_learns_nothing_leaves_it_as_it_is(layers):
    model = Sequential([Input((12,)), *layers])
    model.compile(SGD(0.1), mine)
    x = RNG.normal(size=(20, 12)).astype(np.float32)
    y = x.reshape(20, *model.output_shape[1:])
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert len(history["loss"]) == 2
    assert model.evaluate(x, y, verbose=0) == 0.0
