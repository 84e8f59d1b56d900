"""Training that changes no weight says so, once, and why."""

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

import cdl
from cdl import Input, layers

X, VALUES, LABELS, ONE_HOT = data(20)


@pytest.fixture
def gan():
    """The recipe of Keras 2: the discriminator is frozen within the whole, but not by itself."""
    discriminator = net((4, "tanh"), (1, "sigmoid"))
    discriminator.compile("sgd", "binary_crossentropy")
    discriminator.trainable = False
    noise = Input((3,))
    whole = cdl.Model(noise, discriminator(layers.Dense(5)(noise)))
    whole.compile("sgd", "binary_crossentropy")
    return discriminator, whole


def test_a_frozen_discriminator_says_once_that_it_does_not_learn(gan):
    discriminator, whole = gan
    before = discriminator.get_weights()
    with pytest.warns(
        UserWarning, match="no weight is trainable, since `trainable` is Fa"
    ) as caught:
        for _ in range(2):
            discriminator.train_on_batch(X, LABELS > 0)
            whole.train_on_batch(X[:, :3], np.ones(20))
        discriminator.fit(X, LABELS > 0, verbose=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert same_weights(discriminator, before)


def test_the_advice_is_right(gan):
    discriminator, whole = gan
    assert "set its trainable = True before each of its own steps" in advice(discriminator)
    discriminator.compile("sgd", "binary_crossentropy")
    for _ in range(2):
        before = discriminator.get_weights()
        discriminator.trainable = True
        discriminator.train_on_batch(X, LABELS > 0)
        assert not same_weights(discriminator, before)
        before = discriminator.get_weights()
        discriminator.trainable = False
        whole.train_on_batch(X[:, :3], np.ones(20))
        assert same_weights(discriminator, before)


def advice(model):
    with pytest.warns(UserWarning, match="no weight is trainable") as caught:
        model.fit(X, LABELS > 0, verbose=0)
    return str(caught[0].message)


def test_a_model_without_weights_says_that_it_has_none():
    model = cdl.Sequential([Input((5,)), layers.Rescaling(2.0)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="no weight is trainable, since it has none: training"):
        model.fit(X, X, verbose=0)


def test_compile_makes_it_tell_again_and_evaluation_says_nothing():
    model = net((2, "linear"))
    model.trainable = False
    for _ in range(2):
        model.compile("sgd", "mse")
        model.evaluate(X, VALUES, verbose=0)
        with pytest.warns(UserWarning, match="no weight is trainable"):
            model.fit(X, VALUES, verbose=0)
        model.fit(X, VALUES, verbose=0)
