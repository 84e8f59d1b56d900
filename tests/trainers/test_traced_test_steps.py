"""`test_step` and `predict_step` of users, recorded: as those in Python, to the bit."""

import collections
import sys
import types

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, Y, assert_close, fit, made

import cdl
from cdl import layers, ops
from cdl.trainers.chains.chain import Chain

Pair = collections.namedtuple("Pair", "mean rows")


def runs_of(cls, name, run):
    """Result of a function, and how often the code of a method of a class ran in it."""
    code, runs = getattr(cls, name).__code__, []

    def note(frame, event, arg):
        if event == "call" and frame.f_code is code:
            runs.append(frame)

    sys.setprofile(note)
    try:
        return run(), len(runs)
    finally:
        sys.setprofile(None)


class Measured(Net):
    """A net whose `test_step` is that of Keras's guide, with metrics of its own."""

    def __init__(self):
        super().__init__()
        self.mean, self.error = cdl.metrics.Mean(name="mean"), cdl.metrics.MeanAbsoluteError()

    def test_step(self, data):
        x, y = data
        predictions = self(x, training=False)
        self.mean.update_state(self.compute_loss(x=x, y=y, y_pred=predictions))
        self.error.update_state(y, predictions)
        return {"mean": self.mean.result(), "error": self.error.result(), "x": ops.max(x)}


class ByCompile(Net):
    def test_step(self, data):
        x, y = data
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(self.compute_loss(y=y, y_pred=self(x, training=False)))
            else:
                metric.update_state(y, self(x, training=False))
        return {metric.name: metric.result() for metric in self.metrics}


class Super(Net):
    def test_step(self, data):
        x, y = data
        return {**super().test_step((x + 0.1, y)), "last": ops.mean(y)}


class Draws(Net):
    """A net that is tested with noise, by losses called as functions."""

    def __init__(self):
        super().__init__()
        self.seeds, self.huber = cdl.random.SeedGenerator(3), cdl.losses.Huber()

    def test_step(self, data):
        x, y = data
        noise = cdl.random.normal(x.shape, seed=self.seeds)
        errors = cdl.losses.mean_squared_error(y, self(x + noise))
        return {"loss": ops.mean(errors), "huber": self.huber(y, self(x))}


class Changing(Net):
    """A net whose layers behave otherwise in training, tested with weights and by attributes."""

    def __init__(self):
        super().__init__()
        self.more = [layers.BatchNormalization(), layers.Dropout(0.5)]
        self.mean = cdl.metrics.Mean(name="mean")

    def call(self, inputs, training=False):
        for layer in self.more:
            inputs = layer(inputs, training=training)
        return super().call(inputs)

    def test_step(self, data):
        x, y = data
        errors = ops.square(y - self(x, training=False)) * self.factor
        self.mean.update_state(errors, sample_weight=ops.abs(x[:, :1]))
        return {"mean": self.mean.result(), "last": ops.sum(errors)}


class Printing(Net):
    def test_step(self, data):
        print(end="")
        return {"loss": ops.mean(data[1])}


def evaluations(model):
    def evaluate():
        return model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)

    first = [evaluate() for _ in range(2)]
    history = fit(model, validation_data=(X[:40], Y[:40]))
    model.optimizer.learning_rate = 0.1
    model.factor = 2.0
    last = fit(model, validation_split=0.3, validation_batch_size=7)
    return first, history, last, [evaluate() for _ in range(2)], model.test_on_batch(X[:16], Y[:16])


def state_of_weights(model):
    states = map(np.asarray, (*model.weights, *model.optimizer.variables))
    return [each.tobytes() for each in states]


def assert_equal(one, other):
    assert one == other


IN_CORE = Measured, ByCompile, Changing


@pytest.mark.parametrize(
    ("cls", "most"),
    [(Changing, 60), (Measured, 14), (ByCompile, 14), (Super, 18), (Draws, 18), (Printing, 100)],
)
def test_test_steps_are_recorded(cls, most):
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly)
        model.compile("adam", "mae", metrics=["mse"], run_eagerly=eagerly)
        found, runs = runs_of(cls, "test_step", lambda model=model: evaluations(model))
        results.append((found, state_of_weights(model)))
    assert results[0][1] == results[1][1]
    (assert_close if cls in IN_CORE else assert_equal)(results[0][0], results[1][0])
    chains = [e for e in model._compiled.chains._states.values() if isinstance(e, Chain)]
    assert any(each._observers() for each in chains) == (cls in IN_CORE)
    assert runs <= most if most < 100 else runs > most / 3, (runs, model._compiled.chains.reasons)


class Named(Net):
    def predict_step(self, data):
        found = self(data, training=False)
        return {"p": ops.sigmoid(found), "sum": (data[:, :1] + found, [ops.shape(data)[1] * found])}


class Ordered(Net):
    def predict_step(self, data):
        found = super().predict_step(data)
        return collections.OrderedDict(b=found, a=Pair(found * 2.0, found[:, 0]))


class Dropping(Net):
    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5, seed=1)

    def predict_step(self, data):
        return self.drop(self(data), training=True)


class Constant(Net):
    def predict_step(self, data):
        return self(data), np.ones((len(data), 1), np.float32)


class Hidden(Net):
    def predict_step(self, data):
        return types.SimpleNamespace(p=self(data)).p


class Masked(Net):
    def predict_step(self, data):
        found = self(data)
        return found[found[:, 0] > -10.0]


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("cls", [Named, Ordered, Dropping, Constant, Hidden, Masked])
def test_predict_steps_are_recorded(cls, compiles):
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly)
        if not compiles:
            model = cls()
            model.build((None, 3))
            model.set_weights([np.full(w.shape, 0.3) for w in model.weights])
        found = []

        def run(model=model, found=found):
            found += [model.predict(X[:80], batch_size=16, verbose=0) for _ in range(3)]
            model.set_weights([w + 0.1 for w in model.get_weights()])
            cdl.tree.map_structure(lambda each: each.fill(7.0), found[-1])
            found += [model.predict(X[:80], batch_size=16, verbose=0) for _ in range(2)]
            found.append(model.predict_on_batch(X[:16]))

        _, runs = runs_of(cls, "predict_step", run)
        results.append(found)
    assert repr(results[0]) == repr(results[1])
    leaves = [[each.tobytes() for each in cdl.tree.flatten(found)] for found in results]
    assert leaves[0] == leaves[1]
    if cls is Named:
        assert runs == (2 if compiles else 11)


def test_results_that_hide_arrays_are_not_recorded():
    net = made(Net)

    def loss_of(x):
        return reversed([ops.mean(net(x))])

    step = cdl.Steps(loss_of)
    with pytest.warns(cdl.UntracedWarning, match="an object that is no array"):
        found = [next(step(part)) for part in np.split(X[:80], 5)]
    assert len(set(map(float, found))) == 5


def of_one_form():
    """A model that predicts by a step of its own, and the chains of its steps."""
    model = made(Named)
    model.predict(X[:16], batch_size=8, verbose=0)
    return model, model._compiled.chains


def test_of_two_threads_one_takes_a_chain(monkeypatch):
    _, chains = of_one_form()
    (key,) = chains._states
    others = []

    def holds(chain):
        monkeypatch.undo()
        others.append(chains.take(key))  # as another thread does meanwhile
        return True

    monkeypatch.setattr(Chain, "holds", holds)
    assert isinstance(chains.take(key), Chain)
    assert others == [None]


def test_a_trial_of_predict_step_leaves_weights_that_another_thread_trains(monkeypatch):
    again, model = Chain.again, made(Named)

    def trains(chain, *args):
        result = again(chain, *args)
        model.last.bias.assign([7.0])
        return result

    monkeypatch.setattr(Chain, "again", trains)
    model.predict(X[:16], batch_size=8, verbose=0)
    assert model.last.bias.numpy() == 7.0
