"""Masks: layers that make them, pass them on and use them."""

import numpy as np
import pytest

from cdl import layers
from cdl.layers import Dense, Input, Masking
from cdl.losses import MeanSquaredError
from cdl.models import Sequential

RNG = np.random.default_rng(9)
X = RNG.normal(size=(20, 6, 3)).astype(np.float32)
X[RNG.random((20, 6)) < 0.4] = 7.0
X[3] = 7.0
COUNTS = (X != 7).any(-1)
Y = RNG.normal(size=(20, 6, 2)).astype(np.float32)
WEIGHT = RNG.uniform(0, 2, size=(20, 6)).astype(np.float32)


def net(*middle, loss="mse", **compiled):
    model = Sequential([Input((6, 3)), Masking(7.0), *middle, Dense(2)])
    model.compile("sgd", loss, **compiled)
    return model


def test_masked_lines_become_0():
    layer = Masking(7.0)
    np.testing.assert_array_equal(layer(X), np.where(COUNTS[..., None], X, 0))
    np.testing.assert_array_equal(layer.compute_mask(X), COUNTS)
    one = X.copy()
    one[0, 0] = [7, 7, 0]
    assert layer(one)[0, 0].tolist() == [7, 7, 0]


def squares(model):
    return np.square(model.predict(X, verbose=0) - Y).mean(-1)


@pytest.mark.parametrize("middle", [(), (Dense(4, "tanh"), layers.LayerNormalization())], ids=len)
def test_the_loss_and_the_metrics_are_means_over_what_counts(middle):
    model = net(*middle, metrics=["mae"], weighted_metrics=["mse"])
    loss, absolute, _ = model.evaluate(X, Y, 20, verbose=0)
    np.testing.assert_allclose(loss, squares(model)[COUNTS].mean(), rtol=1e-5)
    error = np.abs(model.predict(X, verbose=0) - Y).mean(-1)
    np.testing.assert_allclose(absolute, error[COUNTS].mean(), rtol=1e-5)


def test_weights_and_masks_multiply():
    model = net(weighted_metrics=["mse"])
    found = model.evaluate(X, Y, 20, sample_weight=WEIGHT, verbose=0)
    values, weight = squares(model)[COUNTS], WEIGHT[COUNTS]
    np.testing.assert_allclose(found[0], (values * weight).mean(), rtol=1e-5)
    np.testing.assert_allclose(found[1], (values * weight).sum() / weight.sum(), rtol=1e-5)


def test_a_sum_is_over_what_counts():
    model = net(loss=MeanSquaredError(reduction="sum"))
    expected = squares(model)[COUNTS].sum()
    np.testing.assert_allclose(model.evaluate(X, Y, 20, verbose=0), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_losses_and_metrics_in_python_see_the_mask():
    def loss(y, p):
        return np.square(np.asarray(y) - p).mean(-1)

    compiled, python = net(metrics=["mse"]), net(loss=loss, metrics=[loss])
    python.set_weights(compiled.get_weights())
    for model in (compiled, python):
        model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(compiled.get_weights(), python.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    expected = compiled.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(python.evaluate(X, Y, verbose=0), expected, rtol=1e-4)


def test_masked_lines_teach_nothing():
    """Labels in masked lines have no effect on the weights."""
    weights = []
    start = net(Dense(4, "tanh")).get_weights()
    for noise in (0.0, 1000.0):
        model = net(Dense(4, "tanh"))
        model.set_weights(start)
        y = Y + noise * (~COUNTS[..., None])
        model.fit(X, y, batch_size=7, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_statistics_leave_masked_lines_out():
    norm = layers.BatchNormalization(momentum=0.0)
    model = net(norm)
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(norm.moving_mean.numpy(), X[COUNTS].mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), X[COUNTS].var(0), rtol=1e-4)


def test_a_layer_that_drops_the_mask_warns_once():
    model = Sequential([Input((6, 3)), Masking(7.0), layers.Flatten(name="flat"), Dense(2)])
    with pytest.warns(UserWarning, match="'flat' does not support masking"):
        model.compile("sgd", "mse")
        model.evaluate(X, Y[:, 0], verbose=0)
    expected = np.square(model.predict(X, verbose=0) - Y[:, 0]).mean()
    np.testing.assert_allclose(model.evaluate(X, Y[:, 0], verbose=0), expected, rtol=1e-5)


def test_masks_pass_through_models():
    inner = Sequential([Dense(4), layers.Activation("tanh")])
    model = net(inner, layers.Dropout(0.0), layers.PReLU())
    loss = model.evaluate(X, Y, 20, verbose=0)
    np.testing.assert_allclose(loss, squares(model)[COUNTS].mean(), rtol=1e-5)


@pytest.mark.parametrize("value", ["a", [1, 2], None])
def test_a_mask_value_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="Masking: mask_value must be a number"):
        Masking(value)


def test_a_call_may_be_given_a_mask():
    layer = layers.BatchNormalization(momentum=0.0)
    x = X.astype(np.float64)
    y = layer(X, training=True, mask=COUNTS)
    mean, variance = x[COUNTS].mean(0), x[COUNTS].var(0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="mask must have shape"):
        layer(X, mask=COUNTS[:, :2])
    with pytest.raises(TypeError, match="does not look at it"):
        layers.LayerNormalization()(X, mask=COUNTS)


def test_softmax_gives_masked_scores_no_probability():
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    counts = RNG.random((4, 5)) < 0.5
    counts[0] = False
    y = layers.Softmax()(x, mask=counts)
    e = np.where(counts, np.exp(x.astype(np.float64)), 0)
    expected = np.divide(e, e.sum(1, keepdims=True), out=np.zeros_like(e), where=e.any(1)[:, None])
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    np.testing.assert_array_equal(layers.Softmax()(x, mask=counts.astype(np.float32)), y)
    for shape in ((3, 5), (2, 4, 5)):
        with pytest.raises(ValueError, match="mask must broadcast"):
            layers.Softmax()(x, mask=np.ones(shape))
