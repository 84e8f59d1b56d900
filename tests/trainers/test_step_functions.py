"""Steps of models as functions of an iterator; metrics and layers that models find once."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl import Sequential, layers, metrics

X = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(8, 3)
Y = X[:, :1] - X[:, 1:2]


def net(kind=Sequential):
    cdl.utils.set_random_seed(0)
    model = kind([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile(cdl.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


def test_functions_run_the_steps_on_the_next_batch():
    model, same = net(), net()
    function = model.make_train_function()
    batches = iter([(X, Y), (X[:4], Y[:4])])
    assert function is model.train_function
    found = [function(batches), function(batches)]
    assert found == [same.train_step((X, Y)), same.train_step((X[:4], Y[:4]))]
    np.testing.assert_array_equal(model.get_weights()[0], same.get_weights()[0])
    assert model.make_test_function()(iter([(X, Y)])) == same.test_step((X, Y))
    predicted = model.make_predict_function()(iter([(X,)]))
    np.testing.assert_array_equal(predicted, same.predict_step((X,)))
    with pytest.raises(StopIteration):
        function(batches)


def test_a_function_is_made_once_unless_it_is_forced():
    model = net()
    assert model.train_function is None
    first = model.make_train_function()
    assert model.make_train_function() is first
    assert model.make_train_function(force=True) is not first


def test_a_copy_has_functions_of_its_own(tmp_path):
    model = net()
    model.make_train_function()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = model.get_weights()
        other.make_train_function()(iter([(X, Y)]))
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        assert np.abs(other.get_weights()[0] - before[0]).max() > 0
    model.save(tmp_path / "model.keras")
    assert cdl.saving.load_model(tmp_path / "model.keras").train_function is None


class Making(Sequential):
    """A model that makes its functions."""

    count = 0

    def make_train_function(self, force=False):
        if self.train_function is None or force:

            def run(iterator):
                self.count += 1
                return self.train_step(next(iterator))

            self.train_function = run
        return self.train_function

    def make_predict_function(self, force=False):
        return lambda iterator: self.predict_step(next(iterator)) + 7.0


def test_functions_of_users_are_called_for_each_batch():
    model, same = net(Making), net()
    model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    same.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    assert model.count == 6
    np.testing.assert_array_equal(model.get_weights()[0], same.get_weights()[0])
    model.train_on_batch(X, Y)
    assert model.count == 7
    same.train_on_batch(X, Y)
    expected = same.predict(X, verbose=0) + 7.0
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-6)


class Stepping(Sequential):
    """A model whose step runs in Python."""

    def train_step(self, data):
        return {metric.name: 0.0 for metric in self.metrics}


class Counting(layers.Layer):
    """A layer with metrics in a list."""

    def __init__(self):
        super().__init__()
        self.counts = [metrics.Mean(name="first")]

    def call(self, x):
        return x


class Asked(Counting):
    """A layer that says itself which metrics it has."""

    shown = ()

    @property
    def metrics(self):
        return list(Asked.shown)


def test_metrics_that_come_and_go_between_epochs_are_found():
    layer = Counting()
    model = Stepping([cdl.Input((3,)), layer])
    model.compile("sgd", "mse")

    def add(epoch, logs):
        layer.counts.append(metrics.Mean(name=f"of_{epoch}"))

    callback = cdl.callbacks.LambdaCallback(on_epoch_end=add)
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback]).history
    assert {name: len(values) for name, values in history.items() if name != "loss"} == {
        "first": 3, "of_0": 2, "of_1": 1,
    }  # fmt: skip
    layer.counts = []
    assert [metric.name for metric in model.metrics] == ["loss"]
    model.extra = metrics.Mean(name="extra")
    assert [metric.name for metric in model.metrics] == ["loss", "extra"]


def test_metrics_by_a_property_of_the_user_are_asked_for_each_time():
    model = Stepping([cdl.Input((3,)), Asked()])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert [metric.name for metric in model.metrics] == ["loss"]
    Asked.shown = [metrics.Mean(name="late")]
    try:
        assert [metric.name for metric in model.metrics] == ["loss", "late"]
    finally:
        Asked.shown = ()


def test_layers_that_come_after_a_fit_are_found():
    layer = Counting()
    model = Stepping([cdl.Input((3,)), layer])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert model._flatten_layers(include_self=False) == model.layers
    late = layers.Dense(3, activity_regularizer="l2")
    layer.counts.append(late)
    late(X)
    assert model._flatten_layers() == [model, *model.layers, late]
    assert model.losses == late.losses != []
    del layer.counts[-1]
    assert model._flatten_layers() == [model, *model.layers]
