"""Epochs between which nobody looks run in one call, all the same."""

import numpy as np
import pytest

from cdl import _core, utils
from cdl.callbacks import Callback, History
from cdl.layers import BatchNormalization, Dense, Dropout, Embedding, Flatten, Input, Lambda
from cdl.models import Sequential
from cdl.optimizers import SGD, Adam, LossScaleOptimizer
from cdl.optimizers.schedules import ExponentialDecay
from cdl.trainers import fit_loop, train_function

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 150)
EPOCHS = 23


class Looks(Callback):
    """A callback that does nothing, but has epochs run one by one."""


@pytest.fixture
def together(monkeypatch):
    """The number of passes of each call of train_epochs."""
    made = []

    def run_epochs(self, arrays, batch, orders, logs):
        real(self, arrays, batch, orders, logs)
        made.append(len(logs))

    real = train_function.TrainFunction.run_epochs
    monkeypatch.setattr(train_function.TrainFunction, "run_epochs", run_epochs)
    monkeypatch.setattr(fit_loop, "SLICE", 1e9)  # a busy machine must not matter
    return made


def net(inner=lambda: [], optimizer="adam", **options):
    utils.set_random_seed(5)
    model = Sequential([Input((6,)), *inner(), Dense(3, "softmax")])
    options.setdefault("metrics", ["accuracy", "sparse_top_k_categorical_accuracy"])
    model.compile(optimizer, "sparse_categorical_crossentropy", **options)
    return model


def noisy(x):
    return np.asarray(x) + np.random.normal(size=np.shape(x))


def fit(model, *callbacks, **options):
    """The history, weights and optimizer's variables of a fit, and the next random number."""
    options = {"epochs": EPOCHS, "batch_size": 32, "verbose": 0, **options}
    history = model.fit(X, Y, callbacks=list(callbacks), **options)
    state = [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]
    return history.history, history.epoch, [np.random.random(), *state]


def assert_same(found, expected):
    assert found[:2] == expected[:2]
    for a, b in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "make",
    [
        lambda: net(lambda: [Dense(8, "relu")]),
        lambda: net(lambda: [Dense(8, "relu", kernel_regularizer="l2"), Dropout(0.3)]),
        lambda: net(lambda: [Dense(8), BatchNormalization()], optimizer=SGD(0.1, momentum=0.9)),
        lambda: net(lambda: [Dense(8)], optimizer=Adam(use_ema=True, ema_overwrite_frequency=7)),
        lambda: net(lambda: [Dense(8)], optimizer=Adam(gradient_accumulation_steps=3)),
        lambda: net(lambda: [Dense(8)], optimizer=Adam(global_clipnorm=0.1)),
        lambda: net(lambda: [Dense(8)], weighted_metrics=["accuracy"], metrics=[]),
    ],
    ids=[
        "plain",
        "penalty and dropout",
        "batch norm",
        "average",
        "accumulating",
        "clipped",
        "sums",
    ],
)
def test_together_and_one_by_one_are_the_same(make, together):
    found = fit(make())
    assert together == [EPOCHS - 1]
    ran = list(together)
    assert_same(found, fit(make(), Looks()))
    assert together == ran
    assert_same(found, fit(make(), History()))


def test_a_fit_goes_on_where_the_last_one_ended(together):
    model = net()
    fit(model)
    found = fit(model, initial_epoch=3, batch_size=50)
    assert together
    other = net()
    fit(other, Looks())
    assert_same(found, fit(other, Looks(), initial_epoch=3, batch_size=50))
    assert int(model.optimizer.iterations) == 5 * EPOCHS + 3 * (EPOCHS - 3)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (lambda: net(optimizer=Adam(ExponentialDecay(0.1, 10, 0.9))), {}),
        (lambda: net(optimizer=LossScaleOptimizer(SGD(0.1))), {}),
        (lambda: net(lambda: [Lambda(noisy)]), {}),
        (net, {"shuffle": False}),
        (net, {"shuffle": "batch"}),
        (net, {"steps_per_epoch": 2}),
        (net, {"validation_data": (X, Y)}),
        (net, {"callbacks": [Looks()]}),
    ],
    ids=["schedule", "scaled", "numpy", "in order", "batches", "steps", "validation", "callback"],
)
def test_what_somebody_looks_at_runs_one_by_one(model, options, together):
    model().fit(X, Y, **{"epochs": 5, "verbose": 0, **options})
    assert not together


def test_a_fault_ends_the_call_before_its_step(together):
    table = RNG.integers(0, 9, (64, 2))
    model = Sequential([Input((2,), dtype="int32"), Embedding(10, 4), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(table, np.zeros(64), epochs=9, verbose=0)
    assert together
    steps = int(model.optimizer.iterations)
    executor = model._last_train_function.executor
    kept = model.get_weights()
    table[17, 1] = 10
    arrays = [table, np.zeros((64, 1), np.float32)]
    executor.begin(arrays, 32)
    order, passes = np.arange(64), []
    with pytest.raises(ValueError, match=r"expected numbers in \[0, 10\), got 10"):
        executor.train_epochs(np.stack([order, order]), 0.1, steps, 0, passes)
    assert executor.done == 0
    assert passes == []
    for a, b in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_orders_are_checked():
    model = net()
    fit(model)
    executor = model._last_train_function.executor
    executor.begin([X, Y], 30)
    order, passes = np.arange(150), []
    for orders in (order, order[None, :149], np.stack([order, order + 1]), order[None] - 1):
        with pytest.raises(ValueError, match="orders: expected"):
            executor.train_epochs(orders, 0.1, 0, 0, passes)
    assert isinstance(executor, _core.Executor)
    assert passes == []
    executor.train_epochs(np.stack([order, order[::-1]]), 0.1, 0, 0, passes)
    assert len(passes) == 2
    assert executor.done == 10
