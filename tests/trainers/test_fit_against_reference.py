"""Fit and evaluate against the float64 NumPy reference of them."""

import numpy as np
import pytest
from trainers import reference_fit as reference
from trainers.nets import data, net, twin

from cdl.optimizers import SGD, Adam

X, VALUES, LABELS, ONE_HOT = data()
BINARY = (LABELS > 0).astype(np.float32)
RNG = np.random.default_rng(5)
WEIGHTS = RNG.uniform(0.2, 3, len(X)).astype(np.float32)

# Tolerance of some 30 steps in float32 against float64: rounding errors of 6e-8 grow with each.
CLOSE = {"rtol": 2e-4, "atol": 2e-5}

NETS = {
    "mean_squared_error": ([(7, "tanh"), (2, "linear")], VALUES),
    "mean_absolute_error": ([(7, "tanh"), (2, "linear")], VALUES),
    "categorical_crossentropy": ([(7, "relu"), (3, "softmax")], ONE_HOT),
    "sparse_categorical_crossentropy": ([(7, "sigmoid"), (3, "softmax")], LABELS),
    "binary_crossentropy": ([(7, "relu"), (1, "sigmoid")], BINARY[:, None]),
}
OPTIMIZERS = {
    "sgd": (lambda: SGD(0.1), lambda: reference.SGD(0.1)),
    "momentum": (lambda: SGD(0.05, momentum=0.9), lambda: reference.SGD(0.05, 0.9)),
    "nesterov": (
        lambda: SGD(0.05, momentum=0.9, nesterov=True),
        lambda: reference.SGD(0.05, 0.9, nesterov=True),
    ),
    "adam": (lambda: Adam(0.01), lambda: reference.Adam(0.01)),
    "adam_decay": (lambda: Adam(lr=0.01, decay=0.1), lambda: reference.Adam(0.01, decay=0.1)),
}


def compare(model, expected, history, judged):
    judged = dict(sorted(judged.items()))
    for name, values in judged.items():
        np.testing.assert_allclose(history.history[name], values, **CLOSE, err_msg=name)
    assert list(history.history) == list(judged)
    for ours, theirs in zip(model.get_weights(), expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", NETS)
def test_losses_and_weights_follow_the_reference(loss, optimizer):
    layers, y = NETS[loss]
    ours, theirs = OPTIMIZERS[optimizer]
    model = net(*layers)
    expected = twin(model)
    model.compile(ours(), loss)
    history = model.fit(X, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    judged = reference.fit(expected, theirs(), loss, X, y, batch=16, epochs=3)
    compare(model, expected, history, judged)


@pytest.mark.parametrize("batch", [1, 7, 32, 70, 100])
@pytest.mark.parametrize("split", [0.0, 0.3])
def test_any_batch_size_and_split_with_metrics_and_weights(batch, split):
    model = net((6, "tanh"), (2, "linear"))
    expected = twin(model)
    model.compile(SGD(0.05), "mse", metrics=["mae", "mse"], weighted_metrics=["mae"])
    history = model.fit(
        X,
        VALUES,
        batch_size=batch,
        epochs=2,
        shuffle=False,
        sample_weight=WEIGHTS,
        validation_split=split,
        verbose=0,
    )
    judged = reference.fit(
        expected,
        reference.SGD(0.05),
        "mean_squared_error",
        X,
        VALUES,
        WEIGHTS,
        batch=batch,
        epochs=2,
        split=split,
        metrics=["mae", "mse"],
        weighted=["mae"],
    )
    compare(model, expected, history, judged)


@pytest.mark.parametrize(
    ("y", "loss"),
    [(LABELS, "sparse_categorical_crossentropy"), (ONE_HOT, "categorical_crossentropy")],
)
def test_class_weights_count_in_training_and_not_in_validation(y, loss):
    model = net((6, "tanh"), (3, "softmax"))
    expected = twin(model)
    model.compile(Adam(0.01), loss)
    class_weight = {0: 3.0, 2: 0.25}
    history = model.fit(
        X,
        y,
        epochs=2,
        shuffle=False,
        class_weight=class_weight,
        validation_split=0.2,
        verbose=0,
    )
    judged = reference.fit(
        expected,
        reference.Adam(0.01),
        loss,
        X,
        y,
        epochs=2,
        split=0.2,
        class_weight=class_weight,
    )
    compare(model, expected, history, judged)


def test_shuffling_takes_one_permutation_an_epoch_after_keras_s_extra_one():
    model = net((6, "tanh"), (2, "linear"))
    expected = twin(model)
    model.compile(SGD(0.05), "mse")
    np.random.seed(3)
    history = model.fit(X, VALUES, batch_size=16, epochs=2, verbose=0)
    second = model.fit(X, VALUES, batch_size=16, epochs=2, verbose=0)

    np.random.seed(3)
    orders = [np.random.permutation(len(X)) for _ in range(5)][1:]
    judged = reference.fit(
        expected,
        reference.SGD(0.05),
        "mean_squared_error",
        X,
        VALUES,
        batch=16,
        epochs=4,
        orders=orders,
    )
    both = {"loss": history.history["loss"] + second.history["loss"]}
    np.testing.assert_allclose(both["loss"], judged["loss"], **CLOSE)


def test_batch_shuffling_keeps_the_rows_of_a_batch_together():
    model = net((6, "tanh"), (2, "linear"))
    expected = twin(model)
    model.compile(SGD(0.05), "mse")
    history = model.fit(X, VALUES, batch_size=16, epochs=2, shuffle="batch", verbose=0)
    judged = reference.fit(
        expected, reference.SGD(0.05), "mean_squared_error", X, VALUES, batch=16, epochs=2
    )
    np.testing.assert_allclose(history.history["loss"], judged["loss"], **CLOSE)


def test_loss_weight_scales_the_loss_and_its_gradient():
    model = net((2, "linear"))
    expected = twin(model)
    model.compile(SGD(0.05), "mse", loss_weights=0.5)
    history = model.fit(X, VALUES, epochs=2, shuffle=False, verbose=0)
    judged = reference.fit(
        expected, reference.SGD(0.025), "mean_squared_error", X, VALUES, epochs=2
    )
    np.testing.assert_allclose(history.history["loss"], 0.5 * np.array(judged["loss"]), **CLOSE)
    np.testing.assert_allclose(model.get_weights()[0], expected.weights[0], **CLOSE)


@pytest.mark.parametrize("batch", [None, 1, 9])
def test_evaluate_gives_the_weighted_loss_and_the_plain_metrics(batch):
    model = net((6, "tanh"), (3, "softmax"))
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", "mae"])
    found = model.evaluate(X, ONE_HOT, batch, 0, WEIGHTS, return_dict=True)
    judged = reference.evaluate(
        twin(model),
        "categorical_crossentropy",
        X.astype(float),
        ONE_HOT,
        WEIGHTS.astype(float),
        ["categorical_accuracy", "mae"],
        batch=batch or 32,
    ).logs()
    np.testing.assert_allclose(found["accuracy"], judged["categorical_accuracy"], **CLOSE)
    np.testing.assert_allclose(found["loss"], judged["loss"], **CLOSE)
    np.testing.assert_allclose(found["mae"], judged["mae"], **CLOSE)
    assert list(found) == sorted(found)


def test_predict_is_the_forward_pass():
    model = net((6, "tanh"), (4, "relu"), (3, "softmax"))
    _, expected = twin(model).forward(X.astype(float))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
