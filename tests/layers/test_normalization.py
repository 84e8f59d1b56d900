"""The normalizations: formulas, axes, weights, training and frozen mode."""

import numpy as np
import pytest

from cdl import layers
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import SGD

RNG = np.random.default_rng(8)
X4 = (RNG.normal(size=(6, 4, 3, 8)) * 2 + 1).astype(np.float32)


def with_weights(layer, x):
    """The layer's weights by name, set to numbers that show where they go."""
    layer.build((None, *x.shape[1:]))
    layer.set_weights([RNG.uniform(0.5, 1.5, size=w.shape) for w in layer.weights])
    return {w.name: w.numpy().astype(np.float64) for w in layer.weights}


def along(weight, axes, rank):
    """A weight with a 1 for each axis that it has none for."""
    axes = sorted(axis % rank for axis in axes)
    shape = iter(np.shape(weight))
    return np.reshape(weight, [next(shape) if axis in axes else 1 for axis in range(rank)])


def normal(x, over, epsilon):
    mean, variance = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("axis", [-1, 1, 2, [1, 2], [3, 1], (2, -1), [1, 2, 3]], ids=str)
def test_layer_normalization_over_any_axes(axis):
    layer = layers.LayerNormalization(axis=axis, epsilon=0.1)
    w, x = with_weights(layer, X4), X4.astype(np.float64)
    axes = tuple(np.atleast_1d(axis))
    assert w["gamma"].shape == tuple(X4.shape[a] for a in sorted(a % 4 for a in axes))
    expected = normal(x, axes, 0.1) * along(w["gamma"], axes, 4) + along(w["beta"], axes, 4)
    close(layer(X4), expected)
    assert layer.get_config()["axis"] == sorted(axes)  # of a layer that is built, as in Keras


@pytest.mark.parametrize("axis", [-1, 2, [1, 3]], ids=str)
def test_root_mean_square_and_unit_normalization(axis):
    layer = layers.RMSNormalization(axis=axis, epsilon=0.1)
    w, x = with_weights(layer, X4), X4.astype(np.float64)
    axes = tuple(np.atleast_1d(axis))
    size = np.sqrt(np.square(x).mean(axes, keepdims=True) + 0.1)
    close(layer(X4), x / size * along(w["scale"], axes, 4))
    norm = np.sqrt(np.square(x).sum(axes, keepdims=True))
    close(layers.UnitNormalization(axis=axis)(X4), x / norm)


def test_layer_normalization_scaled_by_its_spread():
    layer = layers.LayerNormalization(rms_scaling=True)
    w, x = with_weights(layer, X4), X4.astype(np.float64)
    assert list(w) == ["gamma"]
    close(layer(X4), x / np.sqrt(x.var(-1, keepdims=True) + 1e-3) * w["gamma"])


@pytest.mark.parametrize(
    ("groups", "axis"), [(2, -1), (8, 3), (1, -1), (-1, -1), (4, 1), (3, 2), (3, -2), (2, 1)]
)
def test_group_normalization(groups, axis):
    layer = layers.GroupNormalization(groups=groups, axis=axis, epsilon=0.1)
    w, x = with_weights(layer, X4), X4.astype(np.float64)
    moved = np.moveaxis(x, axis, 1)
    n = moved.shape[1] if groups == -1 else groups
    grouped = moved.reshape(len(x), n, -1)
    u = np.moveaxis(normal(grouped, (2,), 0.1).reshape(moved.shape), 1, axis)
    close(layer(X4), u * along(w["gamma"], [axis], 4) + along(w["beta"], [axis], 4))


@pytest.mark.parametrize("axis", [-1, 1, 2, -2])
def test_batch_normalization_in_training_and_out_of_it(axis):
    layer = layers.BatchNormalization(axis=axis, momentum=0.7, epsilon=0.1)
    w, x = with_weights(layer, X4), X4.astype(np.float64)
    assert list(w) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert len(layer.trainable_weights) == len(layer.non_trainable_weights) == 2
    wide = {name: along(value, [axis], 4) for name, value in w.items()}

    def expected(mean, variance):
        return (x - mean) / np.sqrt(variance + 0.1) * wide["gamma"] + wide["beta"]

    close(layer(X4), expected(wide["moving_mean"], wide["moving_variance"]))
    over = tuple(a for a in range(4) if a != axis % 4)
    mean, variance = x.mean(over), x.var(over)
    close(layer(X4, training=True), expected(*(along(v, [axis], 4) for v in (mean, variance))))
    close(layer.moving_mean.numpy(), 0.7 * w["moving_mean"] + 0.3 * mean)
    close(layer.moving_variance.numpy(), 0.7 * w["moving_variance"] + 0.3 * variance)


def test_a_frozen_batch_normalization_uses_and_keeps_its_moving_statistics():
    layer = layers.BatchNormalization()
    w = with_weights(layer, X4)
    layer.trainable = False
    assert len(layer.non_trainable_weights) == 4
    np.testing.assert_array_equal(layer(X4, training=True), layer(X4))
    np.testing.assert_array_equal(layer.moving_mean.numpy(), w["moving_mean"])
    net = Sequential([Input((8,)), Dense(8), layers.BatchNormalization(trainable=False), Dense(1)])
    before = net.layers[1].get_weights()
    net.compile("sgd", "mse")
    net.fit(X4[:, 0, 0], X4[:, 0, 0, :1], verbose=0)
    for a, b in zip(before, net.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_and_prediction_leave_the_moving_statistics_alone():
    net = Sequential([Input((8,)), layers.BatchNormalization(), Dense(1)])
    net.compile("sgd", "mse")
    x, y = X4[:, 0, 0], X4[:, 0, 0, :1]
    net.evaluate(x, y, verbose=0)
    net.predict(x, verbose=0)
    net(x)
    np.testing.assert_array_equal(net.layers[0].moving_mean.numpy(), 0)
    net.fit(x, y, verbose=0)
    assert (net.layers[0].moving_mean.numpy() != 0).all()


def test_which_weights_there_are():
    for scale, center in ((True, False), (False, True), (False, False)):
        for make in (layers.BatchNormalization, layers.LayerNormalization):
            layer = make(scale=scale, center=center)
            layer.build((None, 5))
            names = [w.name for w in layer.trainable_weights]
            assert names == ["gamma"] * scale + ["beta"] * center
            assert (layer.gamma is None, layer.beta is None) == (not scale, not center)


def test_regularizers_and_constraints_of_gamma_and_beta():
    bn = layers.BatchNormalization(
        gamma_initializer="zeros", gamma_regularizer="l2", beta_constraint="non_neg"
    )
    net = Sequential([Input((8,)), bn, Dense(1)])
    assert bn.gamma.regularizer is not None
    assert (bn.gamma.numpy() == 0).all()
    net.compile(SGD(1.0), "mse")
    net.fit(X4[:, 0, 0], X4[:, 0, 0, :1], epochs=3, verbose=0)
    assert (bn.beta.numpy() >= 0).all()


def renormalizing(clipping):
    return layers.BatchNormalization(renorm=True, renorm_clipping=clipping)


def test_renormalization_is_that_of_the_batch_as_long_as_statistics_stand():
    x = X4[:, 0, 0]
    plain, renormed = layers.BatchNormalization(), renormalizing(None)
    for layer in (plain, renormed):
        layer.build(x.shape)
    names = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [w.name for w in plain.weights] == names
    assert [w.name for w in renormed.weights] == [
        *names, "moving_stddev", "renorm_mean", "renorm_stddev"
    ]  # fmt: skip
    renormed.renorm_mean.assign(x.mean(0))
    renormed.renorm_stddev.assign(np.sqrt(x.var(0) + 0.001))
    found = renormed(x, training=True)
    np.testing.assert_allclose(found, plain(x, training=True), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(renormed.renorm_mean.numpy(), x.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: renormalizing({"a": 1}), ValueError, "dict with keys among .*, got {'a': 1}"),
        (lambda: renormalizing([1]), ValueError, "must be a dict"),
        (lambda: renormalizing({"rmax": 1, "rmin": 2}), ValueError, "rmax must be at least rmin"),
        (lambda: renormalizing({"dmax": -1}), ValueError, "dmax must be at least 0"),
        (lambda: layers.BatchNormalization(synchronized=True), ValueError, "synchronized=True"),
        (lambda: layers.BatchNormalization(axis=[1, 2]), ValueError, "axis must be an int"),
        (lambda: layers.BatchNormalization(axis=3)(X4[0]), ValueError, "within the 3 axes"),
        (lambda: layers.BatchNormalization(axis=0)(X4), ValueError, "axis of the samples"),
        (lambda: layers.BatchNormalization().build((None, None)), ValueError, "size that is known"),
        (lambda: layers.BatchNormalization(epsilon=-1), ValueError, "epsilon must be a number"),
        (lambda: layers.BatchNormalization(center=3), ValueError, "center must be True or False"),
        (lambda: layers.LayerNormalization(axis="a"), TypeError, "axis must be an int or a tuple"),
        (lambda: layers.LayerNormalization(axis=[2, -1])(X4[0]), ValueError, "each axis once"),
        (lambda: layers.LayerNormalization(axis=4)(X4), ValueError, "within the 4 axes"),
        (lambda: layers.UnitNormalization(axis={"a"}), TypeError, "axis must be an int"),
        (lambda: layers.GroupNormalization(groups=0), ValueError, "groups must be a positive"),
        (lambda: layers.GroupNormalization(groups=-3), ValueError, "groups must be a positive"),
        (lambda: layers.GroupNormalization(groups=3)(X4), ValueError, "must divide the 8 channels"),
        (lambda: layers.GroupNormalization(groups=32)(X4), ValueError, "must divide the 8"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_an_input_with_other_channels_is_refused():
    layer = layers.BatchNormalization()
    layer(X4)
    for x in (X4[..., :3], X4[0]):
        with pytest.raises(ValueError, match="must have"):
            layer(x)
