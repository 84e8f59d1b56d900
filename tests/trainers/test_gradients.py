"""model.gradients: the gradients of the loss by each weight, and nothing moves."""

import numpy as np
import pytest
from trainers.nets import data, same_weights

from cdl import Sequential
from cdl.layers import BatchNormalization, Dense, Dropout, Input
from cdl.optimizers import SGD, Adam

X, NUMBERS, LABELS, ONE_HOT = data(20)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 20).astype(np.float32)


def crossentropy(y, p):
    """A cross-entropy of one-hot targets in NumPy."""
    return -(y * np.log(np.asarray(p))).sum(-1)


def model_of(*more, loss="categorical_crossentropy", **options):
    hidden = Dense(6, activation="tanh", **options)
    model = Sequential([Input((5,)), hidden, *more, Dense(3, activation="softmax")])
    model.compile(SGD(1.0), loss)
    return model


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("loss", ["categorical_crossentropy", crossentropy])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_regularizer": "l2"},
        {"kernel_regularizer": lambda w: 0.1 * np.abs(np.asarray(w)).sum()},
    ],
)
def test_gradient_is_what_a_step_of_sgd_takes_away(loss, options):
    model = model_of(loss=loss, **options)
    before = model.get_weights()
    gradients = model.gradients(X, ONE_HOT, WEIGHTS)
    assert same_weights(model, before)
    assert list(gradients) == [weight.path for weight in model.trainable_variables]
    model.train_on_batch(X, ONE_HOT, WEIGHTS)
    for old, new, gradient in zip(before, model.get_weights(), gradients.values(), strict=True):
        np.testing.assert_allclose(old - gradient, new, rtol=1e-6, atol=1e-7)


def test_constraints_and_clipping_are_no_part_of_it():
    plain = model_of()
    model = model_of(kernel_constraint="non_neg")
    model.set_weights(plain.get_weights())
    model.compile(Adam(1e-3, clipnorm=1e-3), "categorical_crossentropy")
    expected, found = (list(each.gradients(X, ONE_HOT).values()) for each in (plain, model))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_statistics_of_batches_stay_and_dropout_is_that_of_the_next_step():
    model = model_of(BatchNormalization(), Dropout(0.5, seed=1))
    before = model.get_weights()
    gradients = model.gradients(X, ONE_HOT)
    assert same_weights(model, before)
    model.train_on_batch(X, ONE_HOT)
    moved = [old - weight.numpy() for old, weight in zip(before, model.weights, strict=True)]
    kernel = model.trainable_variables[0]
    np.testing.assert_allclose(gradients[kernel.path], moved[0], rtol=1e-6, atol=1e-7)


def test_gradients_train_through_the_optimizer():
    by_hand, model = model_of(), model_of()
    by_hand.set_weights(model.get_weights())
    for each in (by_hand, model):
        each.compile(Adam(0.01), "categorical_crossentropy")
    for rows in (slice(0, 20), slice(0, 7), slice(0, 20)):
        gradients = by_hand.gradients(X[rows], ONE_HOT[rows])
        pairs = zip(gradients.values(), by_hand.trainable_variables, strict=True)
        by_hand.optimizer.apply_gradients(pairs)
        model.train_on_batch(X[rows], ONE_HOT[rows])
    for one, other in zip(by_hand.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_frozen_weights_have_none():
    model = model_of()
    model.layers[0].trainable = False
    model.compile("sgd", "categorical_crossentropy")
    assert list(model.gradients(X, ONE_HOT)) == [w.path for w in model.layers[1].weights]


def test_it_needs_a_loss_and_data_that_fit():
    model = Sequential([Input((5,)), Dense(3)])
    with pytest.raises(ValueError, match="gradients: the model must be compiled first"):
        model.gradients(X, ONE_HOT)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"gradients: y must have shape \(n, 3\)"):
        model.gradients(X, NUMBERS)
