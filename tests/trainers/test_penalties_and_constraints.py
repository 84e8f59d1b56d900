"""Regularizers and constraints against the reference."""

import numpy as np
import pytest
from trainers import reference_fit as reference
from trainers.nets import data, twin

from cdl import constraints, regularizers
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import SGD, Adam

X, VALUES, _, _ = data()
CLOSE = {"rtol": 5e-4, "atol": 5e-5}


def net(**of_first):
    model = Sequential([Input((5,)), Dense(6, activation="tanh", **of_first), Dense(2)])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def compare(model, optimizers, judged_arguments, loss="mean_squared_error"):
    expected = twin(model)
    model.compile(optimizers[0], loss)
    arguments = {"epochs": 3, "shuffle": False, "validation_split": 0.2, "verbose": 0}
    logs = model.fit(X, VALUES, batch_size=16, **arguments).history
    judged = reference.fit(
        expected,
        optimizers[1],
        "mean_squared_error",
        X,
        VALUES,
        batch=16,
        epochs=3,
        split=0.2,
        **judged_arguments,
    )
    for name, values in judged.items():
        np.testing.assert_allclose(logs[name], values, **CLOSE, err_msg=name)
    for ours, theirs in zip(model.get_weights(), expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


def mine(y_true, y_pred):
    return np.mean((np.asarray(y_true) - y_pred) ** 2, axis=-1)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize(
    ("regularizer", "factors"),
    [("l1", (0.01, 0)), ("l2", (0, 0.01)), (regularizers.L1L2(0.02, 0.03), (0.02, 0.03))],
)
@pytest.mark.parametrize("loss", ["mse", mine], ids=["compiled", "python"])
def test_penalties_are_in_the_loss_and_in_the_gradient(regularizer, factors, loss):
    model = net(kernel_regularizer=regularizer, bias_regularizer=regularizers.L2(0.5))
    optimizers = Adam(0.01), reference.Adam(0.01)
    penalties = {0: factors, 1: (0, 0.5)}
    compare(model, optimizers, {"penalties": penalties}, loss)


def test_evaluate_and_train_on_batch_count_penalties():
    model, plain = net(kernel_regularizer="l2"), net()
    for each in (model, plain):
        each.compile("sgd", "mse", metrics=["mae"])
    extra = 0.01 * np.square(model.get_weights()[0].astype(float)).sum()
    for call in ("evaluate", "test_on_batch", "train_on_batch"):
        quiet = {"verbose": 0} if call == "evaluate" else {}
        found, without = (
            getattr(model, call)(X, VALUES, **quiet),
            getattr(plain, call)(X, VALUES, **quiet),
        )
        np.testing.assert_allclose(found[0], without[0] + extra, rtol=1e-5)
        np.testing.assert_allclose(found[1], without[1], rtol=1e-6)


def test_frozen_weights_have_no_penalty():
    model, plain = net(kernel_regularizer="l2"), net()
    model.layers[0].trainable = False
    for each in (model, plain):
        each.compile("sgd", "mse")
    found, without = model.evaluate(X, VALUES, verbose=0), plain.evaluate(X, VALUES, verbose=0)
    np.testing.assert_allclose(found, without, rtol=1e-6)


def norm(w):
    return np.sqrt((w * w).sum(0, keepdims=True))


def scaled(w, wanted):
    return w * wanted / (1e-7 + norm(w))


CONSTRAINTS = {
    "max_norm": (constraints.MaxNorm(0.5), lambda w: scaled(w, np.clip(norm(w), 0, 0.5))),
    "unit_norm": (constraints.UnitNorm(), lambda w: scaled(w, 1.0)),
    "non_neg": (constraints.NonNeg(), lambda w: np.maximum(w, 0)),
    "min_max_norm": (
        constraints.MinMaxNorm(0.5, 0.9, 0.3),
        lambda w: scaled(w, 0.3 * np.clip(norm(w), 0.5, 0.9) + 0.7 * norm(w)),
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_after_each_update(name):
    constraint, function = CONSTRAINTS[name]
    model = net(kernel_constraint=constraint, bias_constraint=constraint)
    optimizers = SGD(0.05), reference.SGD(0.05)
    compare(model, optimizers, {"constraints": {0: function, 1: function}})
