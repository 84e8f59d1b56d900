"""A loss written in Python gets the gradient that its formula has."""

import numpy as np
import pytest
import references

from cdl import losses

RNG = np.random.default_rng(1)
SMOOTH = ["mean_squared_error", "binary_crossentropy", "categorical_crossentropy"]
SMOOTH += ["sigmoid_binary_crossentropy", "softmax_categorical_crossentropy"]


def exact(name, y, p, weight):
    """The gradient of the weighted mean of the formula."""
    gradients = references.LOSSES[name][1](y, p)
    return gradients * (1.0 if weight is None else weight[:, None]) / len(p)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_values_is_that_of_the_formula(name, weighted):
    y, p = references.loss_arguments(name, 8, 5, RNG)
    weight = RNG.uniform(size=8) if weighted else None
    got = losses.numeric_gradient(references.LOSSES[name][0], y, p, weight)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact(name, y, p, weight), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_one_number_is_that_of_the_formula(name):
    y, p = references.loss_arguments(name, 4, 3, RNG)
    got = losses.numeric_gradient(lambda y, p: references.LOSSES[name][0](y, p).mean(), y, p)
    np.testing.assert_allclose(got, exact(name, y, p, None), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)], ids=str)
def test_reduction_and_weights_are_those_of_the_loss(reduction, shape):
    y, p = references.loss_arguments("mean_squared_error", 6, 2, RNG)
    weight = RNG.uniform(size=6)
    loss = losses.LossFunctionWrapper(lambda y, p: ((p - y) ** 2).mean(-1), reduction)
    divisor = {"sum": 1, "sum_over_batch_size": 6, "mean_with_sample_weight": weight.sum()}
    expected = weight[:, None] * (p - y) / divisor[reduction]
    got = losses.numeric_gradient(loss, y, p, weight.reshape(shape))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)


def test_sample_that_changes_the_others_is_noticed():
    y, p = references.loss_arguments("mean_squared_error", 6, 2, RNG)

    def coupled(y, p):  # each value holds the mean over the batch
        return ((p - p.mean(0)) ** 2).sum(-1)

    np.testing.assert_allclose(
        losses.numeric_gradient(coupled, y, p), 2 * (p - p.mean(0)) / 6, rtol=1e-5, atol=1e-7
    )


def test_values_of_higher_rank():
    y, p = RNG.normal(size=(2, 4, 3, 5))
    got = losses.numeric_gradient(lambda y, p: (p - y) ** 2, y, p)
    np.testing.assert_allclose(got, 2 * (p - y) / p.size, rtol=1e-6, atol=1e-9)


def test_small_probabilities_are_not_left_by_the_step():
    p = np.array([[1e-6, 0.5], [1.0 - 1e-6, 1e-5]])
    got = losses.numeric_gradient(lambda y, p: -np.log(p).sum(-1), np.ones((2, 2)), p)
    np.testing.assert_allclose(got, -1 / p / 2, rtol=2e-2)


def test_loss_that_computes_in_float32_gets_a_longer_step():
    y, p = references.loss_arguments("mean_squared_error", 5, 3, RNG)

    def single(y, p):
        return ((p - y).astype(np.float32) ** 2).mean(-1)

    np.testing.assert_allclose(
        losses.numeric_gradient(single, y, p), 2 * (p - y) / 15, rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows):
    p = np.ones((rows, 2))
    got = losses.numeric_gradient(lambda y, p: (p**2).sum(-1), p, p)
    np.testing.assert_allclose(got, 2 * p, rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 1, (0, 1)])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
def test_overlap_losses_tell_their_gradients(axis, reduction, weighted):
    y, p = RNG.integers(0, 2, (6, 4)).astype(float), RNG.uniform(size=(6, 4))
    weight = RNG.uniform(size=6) if weighted else None
    for loss in (losses.Dice(reduction, axis=axis), losses.Tversky(0.3, 0.6, reduction, axis=axis)):

        def total(y, p, loss=loss):
            return loss.reduce(loss.call(y, p), weight)

        got = losses.numeric_gradient(loss, y, p, weight)
        np.testing.assert_allclose(got, losses.numeric_gradient(total, y, p), atol=1e-6)


def test_predictions_are_left_as_they_were():
    p = RNG.normal(size=(3, 2))
    before = p.copy()
    losses.numeric_gradient(lambda y, p: (p**2).mean(), p, p)
    np.testing.assert_array_equal(p, before)


def test_number_of_calls_does_not_grow_with_the_batch():
    calls = []

    def counted(y, p):
        calls.append(1)
        return (p**2).sum(-1)

    p = np.ones((100, 3))
    losses.numeric_gradient(counted, p, p)
    assert len(calls) == 2 + 2 * 3


class Whole(losses.Loss):
    """A loss that overrides `__call__`, as some do."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        weight = 1.0 if sample_weight is None else np.asarray(sample_weight)[:, None]
        return ((y_pred - y_true) ** 2 * weight).sum()


@pytest.mark.parametrize("weight", [None, np.array([1.0, 3.0, 0.5])])
def test_loss_that_overrides_call_is_what_it_gives(weight):
    y, p = references.loss_arguments("mean_squared_error", 3, 2, RNG)
    whole = losses.as_loss(Whole(name="whole"))
    assert whole.name == "whole"
    factor = 1.0 if weight is None else weight[:, None]
    np.testing.assert_allclose(whole(y, p, weight), ((y - p) ** 2 * factor).sum())
    got = losses.numeric_gradient(Whole(), y, p, weight)
    np.testing.assert_allclose(got, 2 * (p - y) * factor, rtol=1e-4, atol=1e-6)
