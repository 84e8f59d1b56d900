"""Recorded steps whose code would do other things for other numbers, or has code that is unseen."""

import operator

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, Y, assert_alike, fit, learn, made, state_of

import cdl
from cdl import layers, ops
from cdl._variables.stepping import Recording
from cdl.callbacks import LambdaCallback

FACTOR = [1.0]


def made_by(of_batch):
    """A class whose step learns from what a function makes of a batch."""

    class Made(Net):
        def __init__(self):
            super().__init__(of_batch)

        def train_step(self, data):
            return learn(self, *self.aside(*data))

    return Made


def scaled(number):
    """A function that scales the batch by a number, which it makes of it."""
    return lambda x, y: (x * number(x, y), y)


BY_VALUE = {
    "allclose": lambda x, y: 1.0 if np.allclose(x[0] > 0, x[1] > 0) else 2.0,
    "array_equal": lambda x, y: 1.0 if np.array_equal(x[0] > 0, x[1] > 0) else 2.0,
    "length of a mask": lambda x, y: float(len(x[y[:, 0] > 0])),
    "size of what is unique": lambda x, y: float(np.unique(np.round(y)).size),
    "shape by ops": lambda x, y: float(ops.nonzero(x > 0)[0].shape[0]),
    "text": lambda x, y: float(len(np.array2string(x[0]))),
    "set": lambda x, y: float(len(set((y > 0).ravel()))),
    "dict": lambda x, y: {True: 1.0, False: 2.0}[x[0, 0] > 0],
    "smallest dtype": lambda x, y: float(np.min_scalar_type(x[0, 0].astype(int)).kind == "u"),
    "bytes": lambda x, y: 1.0 + (bytes(x[0])[0] > 9),
    "complex": lambda x, y: complex(x[0, 0]).real,
    "in": lambda x, y: 2.0 if -0.5 in np.round(2.0 * x) / 2.0 else 1.0,
    "type": lambda x, y: 1.0 if type(x) is type(y[0, 0]) else 2.0,
    "written in place": lambda x, y: 1.0 if x.clip(-1, 1, x) is None else 2.0,
}


@pytest.mark.parametrize("kind", BY_VALUE)
def test_what_depends_on_numbers_runs_in_python(kind):
    assert_alike(made_by(scaled(BY_VALUE[kind])), runs=24)


@pytest.mark.parametrize(
    "of_batch",
    [
        lambda x, y: (x[y[:, 0] > 0], y[y[:, 0] > 0]),
        lambda x, y: (np.compress(y[:, 0] > 0, x, axis=0), np.compress(y[:, 0] > 0, y, axis=0)),
    ],
)
def test_samples_chosen_by_a_mask(of_batch):
    assert_alike(made_by(of_batch), runs=24)


@pytest.mark.parametrize(
    "of_batch",
    [
        lambda x, y: (np.concatenate([x, 2.0 * x]), np.concatenate([y, y])),
        lambda x, y: (x.repeat(3, 0), y.repeat(3, 0)),
        lambda x, y: (x[np.argsort(y[:, 0])[:8]], y[np.argsort(y[:, 0])[:8]]),
        scaled(lambda x, y: 2.0 if isinstance(x, float) else 3.0),
        scaled(lambda x, y: 2.0 if isinstance(x[0, 0], np.floating) else 3.0),
        scaled(lambda x, y: 2.0 if ops.is_tensor(x) else 3.0),
        scaled(lambda x, y: operator.imul(x[0, 0], 2.0)),
        scaled(lambda x, y: float(ops.shape(x)[1] + np.ndim(x) + np.shape(y)[1])),
    ],
)
def test_what_depends_on_shapes_alone_is_recorded(of_batch):
    assert_alike(made_by(of_batch), runs=4)


class Tripled(Net):
    """A net whose loss is computed by code above that of the step."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return FACTOR[0] * super().compute_loss(x, y, y_pred)


class OfParent(Tripled):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = super().compute_loss(x, y, self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Scale(layers.Layer):
    def update_state(self, x):
        return x * FACTOR[0]


class OfLayer(Net):
    def __init__(self):
        super().__init__()
        self.scale = Scale()

    def train_step(self, data):
        x, y = data
        for each in (self.scale,):
            x = each.update_state(x)
        return learn(self, x, y)


@pytest.mark.parametrize(("cls", "runs"), [(OfParent, 9), (OfLayer, 24)])
def test_globals_of_methods_that_are_found_at_run_time(cls, runs):
    def run(model):
        FACTOR[0] = 1.0
        change = LambdaCallback(on_epoch_begin=lambda n, logs: FACTOR.__setitem__(0, 1.0 + n))
        return fit(model, callbacks=[change])

    assert_alike(cls, run, runs)


def test_metrics_of_users_are_updated_in_each_step():
    class Count(cdl.metrics.Metric):
        def __init__(self):
            super().__init__(name="count")
            self.n = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.n += 1

        def result(self):
            return float(self.n)

        def reset_state(self):
            self.n = 0

    class Counted(Net):
        def train_step(self, data):
            for each in self.metrics:
                each.update_state(0, 0)
            return {**learn(self, *data), **{each.name: each.result() for each in self.metrics}}

    def run(model):
        model.compile("adam", "mae", metrics=[Count()], run_eagerly=model.run_eagerly)
        return fit(model)

    assert_alike(Counted, run, runs=24)


def test_optimizers_of_users_apply_in_each_step():
    class Skips(cdl.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            FACTOR[0] += 1.0
            if FACTOR[0] % 3:
                super().apply(grads, trainable_variables)

    def run(model):
        FACTOR[0] = 0.0
        model.compile(Skips(0.1), "mae", run_eagerly=model.run_eagerly)
        return fit(model), FACTOR[0]

    assert_alike(Net, run, runs=24)


def test_a_step_that_is_set_on_one_model():
    results = []
    for eagerly in (True, False):
        model = made(Net, eagerly)
        fit(model)
        model.train_step = lambda data, model=model: learn(model, *data, error=ops.abs)
        fit(model)
        results.append(state_of(model))
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_weights_of_16_bits_are_as_before_where_a_record_is_given_up(dtype):
    before = cdl.config.dtype_policy()
    cdl.config.set_dtype_policy(dtype)
    try:
        assert_alike(made_by(lambda x, y: (x, y)), runs=4)
        assert_alike(made_by(scaled(BY_VALUE["allclose"])), runs=24)
    finally:
        cdl.config.set_dtype_policy(before)


def test_steps_that_read_something_else_each_time_are_recorded_some_times_alone(monkeypatch):
    recordings = []
    run = Recording.run
    monkeypatch.setattr(Recording, "run", lambda *args: recordings.append(1) or run(*args))
    model = made(Net)
    for i in range(12):
        model.factor = 1.0 + i
        model.train_on_batch(X[:16], Y[:16])
    assert len(recordings) == 4
