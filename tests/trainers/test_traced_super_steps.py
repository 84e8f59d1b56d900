"""Steps that call the one of cdl.Model and do more around it: as those in Python, to the bit."""

import numpy as np
import pytest
from trainers.stepping_nets import RNG, X, Y, assert_alike, fit, made, runs_of, state_of

import cdl
from cdl import layers, ops
from cdl.callbacks import LambdaCallback

Z = RNG.normal(size=(84, 2)).astype(np.float32)


class Plain(cdl.Model):
    """A net that trains by the step of cdl.Model."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last = layers.Dense(8, "tanh"), layers.Dense(1)
        self.teacher = cdl.Sequential(
            [cdl.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(1)], trainable=False
        )
        self.seen = cdl.Variable(0.0, trainable=False)
        self.other = cdl.optimizers.SGD(0.1)
        self.error = cdl.metrics.Mean(name="aside")

    def call(self, inputs):
        return self.last(self.hidden(inputs))

    def train_step(self, data):
        return super().train_step(data)


class Follows(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        learned = [*self.hidden.weights, *self.last.weights]
        for slow, fast in zip(self.teacher.weights, learned, strict=True):
            slow.assign(0.9 * slow + 0.1 * fast)
        return logs


class Counts(Plain):
    def train_step(self, data):
        self.seen.assign_add(1.0)
        logs = super().train_step(data)
        logs["seen"] = self.seen.value
        return {**logs, "rows": len(data[0])}


class Logs(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        x, y = data
        logs["error"] = ops.mean(ops.abs(y - self(x)))
        self.error.update_state(logs["error"])
        self.error.update_state(logs["loss"])
        return {**logs, "aside": self.error.result()}


class LearnsTwice(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        x, y = data
        weights = self.last.trainable_variables
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        self.other.apply(tape.gradient(loss, weights), weights)
        return {**logs, "second": loss}


class OnOtherData(Plain):
    def train_step(self, data):
        x, y = data
        return super().train_step((x + 0.5, y))


class Draws(Plain):
    def __init__(self):
        super().__init__()
        self.seeds = cdl.random.SeedGenerator(5)
        self.hidden = cdl.Sequential(
            [layers.Dense(8, "tanh", kernel_regularizer="l2"), layers.Dropout(0.3, seed=2)]
        )
        self.last = cdl.Sequential([layers.BatchNormalization(), layers.Dense(1)])

    def train_step(self, data):
        x, y = data
        noise = 0.1 * cdl.random.normal(x.shape, seed=self.seeds)
        return super().train_step((x + noise, y, np.full(len(x), 0.5, np.float32)))


class Between(Follows):
    """A class whose step reaches cdl's by two others."""

    def train_step(self, data):
        self.seen.assign_add(2.0)
        return super().train_step(data)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "cls", [Plain, Follows, Counts, Logs, LearnsTwice, OnOtherData, Draws, Between]
)
def test_steps_around_that_of_models_are_recorded(cls, threads):
    before = cdl._core.limit_threads(threads)
    try:
        assert_alike(cls, runs=6)
        assert_alike(cls, lambda model: fit(model, shuffle=False), runs=6, optimizer="rmsprop")
    finally:
        cdl._core.limit_threads(before)


def fit_watched(model):
    """Training with things that happen in between."""

    def between(batch, logs):
        if batch == 2:
            model.evaluate(X[:20], Y[:20], verbose=0)
        if batch == 4:
            model.optimizer.learning_rate = 0.5 * float(model.optimizer.learning_rate)

    watch = LambdaCallback(on_train_batch_end=between)
    first = fit(model, callbacks=[watch], validation_data=(X[:9], Y[:9]))
    model.train_on_batch(X[:16], Y[:16])
    model.teacher.trainable = False
    return first, fit(model, epochs=2), model.evaluate(X, Y, verbose=0, return_dict=True)


@pytest.mark.parametrize("cls", [Follows, Logs, LearnsTwice])
def test_what_happens_between_batches(cls):
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly)
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=eagerly)
        results.append((fit_watched(model), state_of(model)))
    assert results[0] == results[1]
    assert runs_of(model, lambda: fit(model)) <= 6


def test_saved_within_it_goes_on_alike(tmp_path):
    results = []
    for eagerly in (True, False):
        model = made(Follows, eagerly)
        fit(model)
        model.save_weights(tmp_path / "a.weights.h5")
        fit(model)
        model.load_weights(tmp_path / "a.weights.h5")
        results.append((fit(model), state_of(model)))
    assert results[0] == results[1]


# Steps that are not recorded: they need a number, or have code that no record shows.


class ComputesWithLogs(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        return {"scaled": logs["loss"] * np.float32(3.0)}


class Decides(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        if logs["loss"] > 0.5:
            self.seen.assign_add(1.0)
        return {**logs, "seen": self.seen.value}


class CountsInPython(Plain):
    n = 0

    def train_step(self, data):
        self.n += 1
        return {**super().train_step(data), "n": float(self.n)}


class OwnMetrics(Follows):
    n = 0

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.n += 1
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "n": float(self.n)}


class LossInPython(Follows):
    def compile(self, optimizer, loss, **options):
        def error(y, p):
            if float(np.mean(np.asarray(p))) > 100.0:
                return ops.mean(y)
            return ops.mean(ops.abs(y - p))

        super().compile(optimizer, error, **options)


class OfAnother(Plain):
    def __init__(self):
        super().__init__()
        self.inner = cdl.Sequential([cdl.Input((3,)), layers.Dense(1)])
        self.inner.compile("sgd", "mse")

    def train_step(self, data):
        self.inner.train_step(data)
        return super().train_step(data)


@pytest.mark.parametrize(
    "cls", [ComputesWithLogs, Decides, CountsInPython, OwnMetrics, LossInPython, OfAnother]
)
@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_what_no_record_shows_runs_in_python(cls):
    assert_alike(cls, runs=24)


def test_a_record_ends_with_compile_and_with_frozen_layers():
    results = []
    for eagerly in (True, False):
        model = made(Follows, eagerly)
        fit(model)
        model.hidden.trainable = False
        model.compile("sgd", "mse", run_eagerly=eagerly)
        results.append((fit(model), state_of(model)))
    assert results[0] == results[1]


def test_an_error_within_leaves_the_sums_of_the_metrics():
    results = []
    for eagerly in (True, False):
        model = made(Follows, eagerly)
        fit(model)
        with pytest.raises(ValueError, match="y"):
            model.train_step((X[:16], Z[:3]))
        results.append((fit(model), state_of(model)))
    assert results[0] == results[1]


class Computes(Plain):
    def train_step(self, data):
        logs = super().train_step(data)
        again = self.compute_metrics(*data, self(data[0]))
        return {**logs, "again": again["loss"]}


def test_metrics_computed_behind_the_step_go_on_with_its_values():
    seen, model = [], made(Computes)
    fit(model, 2, callbacks=[LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(logs))])
    np.testing.assert_allclose([e["again"] for e in seen], [e["loss"] for e in seen], rtol=1e-6)


def test_slots_that_are_made_before_a_chain_is_compared():
    def sets(model, epoch):
        if epoch == 1:  # the last batch is recorded, and compared in the next epoch
            model.optimizer.momentum = 0.5

    def run(model):
        return fit(model, 3, callbacks=[LambdaCallback(on_epoch_end=lambda e, _: sets(model, e))])

    results = []
    for eagerly in (True, False):
        model = made(Plain, eagerly, cdl.optimizers.SGD(0.05))
        results.append((run(model), state_of(model)))
    assert results[0] == results[1]
