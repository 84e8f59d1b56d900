"""Layers that draw random numbers, and penalties on activities."""

import numpy as np
import pytest

from cdl import layers, ops
from cdl.initializers import GlorotUniform
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.regularizers import Regularizer
from cdl.utils import set_random_seed

ONES = np.ones((200, 30), np.float32)
RANDOM = {
    "dropout": lambda **k: layers.Dropout(0.4, **k),
    "alpha": lambda **k: layers.AlphaDropout(0.4, **k),
    "noise": lambda **k: layers.GaussianNoise(0.4, **k),
    "gaussian": lambda **k: layers.GaussianDropout(0.4, **k),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_layers_act_in_training_only_and_anew_each_time(name):
    layer = RANDOM[name]()
    np.testing.assert_array_equal(layer(ONES), ONES)
    first, second = layer(ONES, training=True), layer(ONES, training=True)
    assert (first != ONES).any()
    assert (first != second).any()


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_gives_the_same_numbers(name):
    first, again = (RANDOM[name](seed=7)(ONES, training=True) for _ in range(2))
    other = RANDOM[name](seed=8)(ONES, training=True)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    set_random_seed(3)
    a = RANDOM[name]()(ONES, training=True)
    set_random_seed(3)
    np.testing.assert_array_equal(RANDOM[name]()(ONES, training=True), a)


def test_moments_of_the_noises():
    x = np.full((2000, 50), 2.0, np.float32)
    error = 5 / np.sqrt(x.size)
    noise = layers.GaussianNoise(0.5)(x, training=True)
    assert abs(noise.mean() - 2) < 0.5 * error
    assert abs(noise.std() - 0.5) < 0.5 * error
    scaled = layers.GaussianDropout(0.2)(x, training=True)
    assert abs(scaled.mean() - 2) < error
    assert abs(scaled.std() - 2 * 0.5) < error


def test_alpha_dropout_keeps_mean_and_variance_of_standard_numbers():
    x = np.random.default_rng(0).normal(size=(2000, 50)).astype(np.float32)
    y = layers.AlphaDropout(0.3)(x, training=True)
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


def test_a_noise_shape_shares_draws_along_its_ones():
    x = np.ones((40, 6, 5), np.float32)
    for layer in (layers.Dropout(0.5, (None, 1, None)), layers.SpatialDropout1D(0.5)):
        y = layer(x, training=True)
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert (y[:, 0] == 0).any(0).all()
        assert set(np.unique(y)) == {0, 2}
    y = layers.Dropout(0.5, noise_shape=(1, 6, 5))(x, training=True)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], y.shape))
    y = layers.AlphaDropout(0.5, noise_shape=(None, 6, 1))(x, training=True)
    np.testing.assert_array_equal(y, np.broadcast_to(y[..., :1], y.shape))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_spatial_dropout_drops_whole_channels(data_format):
    x = np.ones((30, 4, 5, 4), np.float32)
    channels = 3 if data_format == "channels_last" else 1
    y = layers.SpatialDropout2D(0.5, data_format)(x, training=True)
    moved = np.moveaxis(y, channels, 1).reshape(30, 4, -1)
    assert (moved == moved[..., :1]).all()
    assert 0.3 < (moved[..., 0] == 0).mean() < 0.7
    y = layers.SpatialDropout3D(0.5)(np.ones((30, 2, 3, 2, 4), np.float32), training=True)
    assert (y.reshape(30, -1, 4) == y.reshape(30, -1, 4)[:, :1]).all()


def test_a_rate_of_0_does_nothing_and_one_of_1_drops_all():
    for layer in (layers.Dropout(0.0), layers.AlphaDropout(0), layers.GaussianNoise(0.0)):
        np.testing.assert_array_equal(layer(ONES, training=True), ONES)
    np.testing.assert_array_equal(layers.Dropout(1.0)(ONES, training=True), 0)
    np.testing.assert_array_equal(layers.Dropout(1.0, (None, 1))(ONES, training=True), 0)


# Penalties on activities


def test_an_activity_penalty_is_divided_by_the_samples():
    x = np.array([[1.0, -2], [3, 0.5], [0, 0]], np.float32)
    layer = layers.ActivityRegularization(l1=0.1, l2=0.2)
    np.testing.assert_array_equal(layer(x), x)
    expected = (0.1 * np.abs(x).sum() + 0.2 * np.square(x).sum()) / 3
    np.testing.assert_allclose(layer.losses, [expected], rtol=1e-6)
    dense = Dense(2, kernel_regularizer="l2", activity_regularizer="l1")
    y = dense(x)
    np.testing.assert_allclose(dense.losses[0], 0.01 * np.abs(y).sum() / 3, rtol=1e-6)
    np.testing.assert_allclose(
        dense.losses[1], 0.01 * np.square(dense.kernel.numpy()).sum(), rtol=1e-6
    )


@pytest.mark.parametrize("batch", [1, 4, 7, 20])
def test_the_loss_counts_activity_penalties(batch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 2))
    net = Sequential([Input((4,)), Dense(3, "tanh", activity_regularizer="l2"), Dense(2)])
    net.compile("sgd", "mse")
    h = net.layers[0](x)
    loss = np.square(net.predict(x, verbose=0) - y).mean()
    expected = loss + 0.01 * np.square(h).sum() / 20
    np.testing.assert_allclose(net.evaluate(x, y, batch, verbose=0), expected, rtol=1e-5)


class Squares(Regularizer):
    def __call__(self, x):
        return 0.01 * ops.sum(ops.square(x))


@pytest.mark.parametrize("batch", [1, 7, 20])
@pytest.mark.parametrize("own", [Squares(), lambda x: 0.01 * ops.sum(x * x)])
def test_an_activity_penalty_of_a_user_trains_as_the_compiled_one(own, batch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 2))
    found = []
    for penalty in ("l2", own):
        hidden = Dense(3, "tanh", kernel_initializer=GlorotUniform(1), activity_regularizer=penalty)
        net = Sequential([Input((4,)), hidden, Dense(2, kernel_initializer=GlorotUniform(2))])
        net.compile("sgd", "mse")
        history = net.fit(x, y, batch, epochs=3, verbose=0, shuffle=False, validation_split=0.3)
        hidden(x)
        logs = history.history
        found.append([*net.get_weights(), logs["loss"], logs["val_loss"], hidden.losses])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: layers.GaussianNoise(1.5), ValueError, "stddev must be a number between 0 and 1"),
        (lambda: layers.GaussianNoise("a"), TypeError, "stddev must be a number"),
        (lambda: layers.GaussianDropout(-0.1), ValueError, "rate must be"),
        (lambda: layers.GaussianDropout(1.0)(ONES), ValueError, "less than 1"),
        (lambda: layers.AlphaDropout(2), ValueError, "rate must be"),
        (lambda: layers.AlphaDropout(0.5, noise_shape="a"), ValueError, "noise_shape must be"),
        (lambda: layers.Dropout(0.5, (None, 3))(ONES), ValueError, "noise_shape must have a 1"),
        (lambda: layers.Dropout(0.5, (1, 1, 1))(ONES), ValueError, "at most the 2 axes"),
        (lambda: layers.Dropout(0.5, (0, 1)), ValueError, "positive ints"),
        (lambda: layers.SpatialDropout1D(0.5)(ONES), ValueError, "must have 3 axes"),
        (lambda: layers.SpatialDropout2D(0.5, "x"), ValueError, "data_format must be"),
        (lambda: layers.ActivityRegularization(l1=-1), ValueError, "l1 must be"),
        (lambda: layers.Identity(activity_regularizer=3), ValueError, "interpret regularizer"),
        (lambda: layers.Identity(activity_regularizer=abs)(ONES), ValueError, "must give a scalar"),
        (lambda: layers.Identity(activity_regularizer=np.cov)(ONES), TypeError, "no such function"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("cls", [layers.Dropout, layers.SpatialDropout1D, layers.GaussianNoise])
def test_large_seeds_that_are_neighbours_draw_other_numbers(cls):
    x = np.ones((4, 50, 8), np.float32)
    first, same, other = (
        cls(0.5, seed=seed)(x, training=True) for seed in (2**31, 2**31, 2**31 + 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
