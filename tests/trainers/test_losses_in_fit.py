"""A loss in fit and evaluate is the loss that its own call computes."""

import numpy as np
import pytest
from oracle import central_differences

from cdl import losses, ops
from cdl.layers import Dense, Input
from cdl.models import Model, Sequential
from cdl.optimizers import LBFGS, SGD

RNG = np.random.default_rng(7)
ROWS, BATCH = 22, 8
X = RNG.normal(size=(ROWS, 5)).astype(np.float32)
LONG = RNG.normal(size=(ROWS, 4, 5)).astype(np.float32)
NUMBERS = RNG.normal(size=(ROWS, 3)).astype(np.float32)
LONG_NUMBERS = RNG.normal(size=(ROWS, 4, 3))
CLASSES = RNG.integers(-1, 3, ROWS)
LONG_CLASSES = RNG.integers(-1, 3, (ROWS, 4))
BITS = RNG.integers(0, 2, (ROWS, 3))
SIGNS = RNG.choice([-1, 0, 1], (ROWS, 3))
MIXED = np.where(np.arange(ROWS)[:, None] < BATCH, BITS, SIGNS)
DOWN = np.eye(4)[RNG.integers(0, 4, (ROWS, 3))].transpose(0, 2, 1)  # one-hot along axis 1
EACH, EACH_LINE = RNG.uniform(0, 2, ROWS), RNG.uniform(0, 2, (ROWS, 4))

ONE = "mean_with_sample_weight"


def sparse(**kwargs):
    return losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


# name: loss, x, y, weights
CASES = {
    "mean": (losses.MeanSquaredError(), X, NUMBERS, EACH),
    "sum": (losses.MeanSquaredError("sum"), X, NUMBERS, EACH),
    "by weight": (losses.MeanSquaredError(ONE), X, NUMBERS, EACH),
    "by weight, none given": (losses.MeanSquaredError(ONE), X, NUMBERS, None),
    "weights of lines": (losses.MeanSquaredError(), LONG, LONG_NUMBERS, EACH_LINE),
    "weights as a column": (losses.LogCosh(), LONG, LONG_NUMBERS, EACH_LINE[..., None]),
    "one weight a row": (losses.Huber(0.4), LONG, LONG_NUMBERS, EACH[:, None]),
    "by weights of lines": (losses.MeanAbsoluteError(ONE), LONG, LONG_NUMBERS, EACH_LINE),
    "by weights of rows": (losses.MeanAbsoluteError(ONE), LONG, LONG_NUMBERS, EACH[:, None]),
    "ignored": (sparse(ignore_class=-1), X, CLASSES, None),
    "ignored, sum": (sparse(ignore_class=-1, reduction="sum"), X, CLASSES, EACH),
    "ignored, weights": (sparse(ignore_class=-1), LONG, LONG_CLASSES, EACH_LINE),
    "ignored, by weight": (sparse(ignore_class=-1, reduction=ONE), X, CLASSES, EACH),
    "a class that there is": (sparse(ignore_class=2), X, CLASSES % 3, EACH),
    "axis 1": (losses.CategoricalCrossentropy(True, axis=1), LONG, DOWN, None),
    "axis -2": (losses.CosineSimilarity(axis=-2), LONG, LONG_NUMBERS, RNG.uniform(size=(ROWS, 3))),
    "smoothed scores": (losses.BinaryCrossentropy(True, 0.2), X, BITS, EACH),
    "bits": (losses.Hinge(), X, BITS, None),
    "signs": (losses.SquaredHinge(), X, SIGNS, None),
    "bits in one batch": (losses.Hinge("sum"), X, MIXED, None),
    "overlap": (losses.Dice(), X, BITS, EACH),
}


def net(shape, units=3):
    model = Sequential([Input(shape), Dense(units)])
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def batches(*arrays):
    for start in range(0, ROWS, BATCH):
        yield [None if a is None else a[start : start + BATCH] for a in arrays]


@pytest.mark.parametrize("case", CASES)
def test_logged_loss_is_that_of_the_batches(case):
    loss, x, y, w = CASES[case]
    model = net(x.shape[1:])
    model.compile(SGD(0.0), loss)
    logged = model.fit(x, y, BATCH, sample_weight=w, shuffle=False, verbose=0).history["loss"]
    found = model.evaluate(x, y, BATCH, sample_weight=w, verbose=0)
    p = model.predict(x, verbose=0)
    total = sum(
        len(each[0]) * float(loss(each[0], each[1], sample_weight=each[2]))
        for each in batches(y, p, w)
    )
    np.testing.assert_allclose([*logged, found], total / ROWS, rtol=3e-6)


@pytest.mark.parametrize("case", CASES)
def test_step_goes_down_the_gradient(case):
    loss, x, y, w = CASES[case]
    x, y, w = next(batches(x, y, w))
    model = net(x.shape[1:])
    model.compile(SGD(1.0), loss)
    kernel, bias = model.get_weights()
    p = model.predict(x, verbose=0)
    model.train_on_batch(x, y, sample_weight=w)
    gradients = central_differences(lambda: float(loss(y, p, sample_weight=w)), p, 1e-2)
    moved, moved_bias = model.get_weights()
    expected = np.tensordot(x, gradients, (range(x.ndim - 1), range(x.ndim - 1)))
    np.testing.assert_allclose(kernel - moved, expected, rtol=1e-2, atol=2e-3)
    by_bias = gradients.sum(tuple(range(x.ndim - 1)))
    np.testing.assert_allclose(bias - moved_bias, by_bias, rtol=1e-2, atol=2e-3)


class Traced(losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), -1)


class Slow(losses.Loss):
    def call(self, y_true, y_pred):
        return ((np.asarray(y_true) - y_pred) ** 2).mean(-1)


# name: maker of a loss with a reduction, x, y, weights
APART = {
    "a row": (losses.MeanSquaredError, X, NUMBERS, None),
    "weights": (losses.MeanSquaredError, LONG, LONG_NUMBERS, EACH_LINE),
    "ignored": (lambda reduction: sparse(ignore_class=-1, reduction=reduction), X, CLASSES, EACH),
    "ctc": (losses.CTC, LONG, LONG_CLASSES[:, :2] % 2 + 1, EACH),
    "traced": (lambda reduction: Traced("traced", reduction), X, NUMBERS, EACH),
    "traced lines": (lambda reduction: Traced("traced", reduction), LONG, LONG_NUMBERS, None),
    "in Python": (lambda reduction: Slow("slow", reduction), X, NUMBERS, EACH),
}


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("case", APART)
def test_loss_without_a_reduction_shows_the_mean_and_goes_down_the_gradient_of_the_sum(case):
    make, x, y, w = APART[case]
    means, sums, apart = [], [], []
    for reduction, found in ((None, apart), ("sum", sums)):
        model = net(x.shape[1:])
        model.compile(SGD(0.01, momentum=0.5), make(reduction))
        model.fit(x, y, BATCH, epochs=2, sample_weight=w, shuffle=False, verbose=0)
        found.append(np.concatenate([each.ravel() for each in model.get_weights()]))
    np.testing.assert_allclose(apart[0], sums[0], rtol=1e-6, atol=1e-6)
    for reduction in (None, "sum_over_batch_size" if case != "ignored" else None):
        model = net(x.shape[1:])
        model.compile(SGD(0.0), make(reduction))
        means += model.fit(x, y, BATCH, sample_weight=w, verbose=0).history["loss"]
        means.append(model.evaluate(x, y, BATCH, sample_weight=w, verbose=0))
    np.testing.assert_allclose(means, means[0], rtol=2e-6)


def test_loss_of_a_batch_trains_without_a_reduction():
    found = []
    for reduction in (None, "sum_over_batch_size"):
        model = net((5,))
        model.compile(SGD(0.1), losses.Dice(reduction))
        history = model.fit(X, BITS, BATCH, shuffle=False, verbose=0).history
        found.append((history, [each.tolist() for each in model.get_weights()]))
    assert found[0] == found[1]


def test_losses_with_and_without_a_reduction_are_refused_together():
    x = Input((5,))
    model = Model(x, [Dense(3)(x), Dense(3)(x)])
    model.compile(SGD(0.1), [losses.MeanSquaredError(None), "mae"])
    before = [each.tolist() for each in model.get_weights()]
    with pytest.raises(ValueError, match=r"reduction must be None of all .*'mean_squared_error'"):
        model.fit(X, [NUMBERS, NUMBERS], verbose=0)
    assert [each.tolist() for each in model.get_weights()] == before
    model.compile(LBFGS(), [losses.MeanSquaredError(None)] * 2)
    with pytest.raises(ValueError, match="LBFGS: losses must have a reduction"):
        model.fit(X, [NUMBERS, NUMBERS], verbose=0)


def test_ignored_classes_are_allowed_and_others_are_not():
    model = net((5,))
    model.compile(SGD(0.1), sparse(ignore_class=-1), metrics=["accuracy"])
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"from 0 to 2 .* got -2 in row 4"):
        model.fit(X, np.where(np.arange(ROWS) == 4, -2, CLASSES), verbose=0)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    accuracy = model.evaluate(X, CLASSES, verbose=0)[1]
    right = model.predict(X, verbose=0).argmax(-1) == CLASSES
    np.testing.assert_allclose(accuracy, right.mean(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(ROWS, 4), (ROWS, 4, 1)])
def test_weighted_metrics_weigh_lines(shape):
    w = EACH_LINE.reshape(shape)
    model = net((4, 5))
    model.compile(SGD(0.0), "mse", metrics=["mae"], weighted_metrics=["mae"])
    logs = model.evaluate(LONG, LONG_NUMBERS, BATCH, sample_weight=w, verbose=0, return_dict=True)
    values = np.abs(model.predict(LONG, verbose=0) - LONG_NUMBERS).mean(-1)
    np.testing.assert_allclose(logs["mae"], values.mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["weighted_mae"], np.average(values, weights=EACH_LINE), 1e-5)


def test_weights_that_do_not_fit_the_losses_are_refused():
    model = net((4, 5))
    model.compile(SGD(0.1), "mse")
    for shape in ((ROWS, 2), (ROWS, 4, 3)):
        with pytest.raises(ValueError, match=r"fit: sample_weight must have shape \(22,\) or \(22"):
            model.fit(LONG, LONG_NUMBERS, sample_weight=np.ones(shape), verbose=0)


@pytest.mark.parametrize("given", [lambda x: (x,), lambda x: [x], lambda x: (x, None)])
def test_validation_needs_no_targets_where_the_loss_reads_none(given):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", lambda y, p: np.mean(p**2, axis=-1))
    history = model.fit(x, validation_data=given(x), epochs=2, verbose=0).history
    np.testing.assert_allclose(history["val_loss"][-1], model.evaluate(x, verbose=0), rtol=1e-6)
