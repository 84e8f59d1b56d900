"""Layers that prepare features, and what they learn from data."""

import numpy as np
import pytest

from cdl import config, layers
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import Adam

RNG = np.random.default_rng(6)
DATA = (RNG.normal(size=(60, 4, 3)) * 3 + 1).astype(np.float32)


def standardized(x, mean, variance):
    return (x - mean) / np.maximum(np.sqrt(variance), 1e-7)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (2, 1), None], ids=str)
def test_normalization_learns_from_arrays_and_from_batches(axis):
    kept = () if axis is None else tuple(a % 3 for a in np.atleast_1d(axis))
    over = tuple(a for a in range(3) if a not in kept)
    wide = DATA.astype(np.float64)
    expected = standardized(wide, wide.mean(over, keepdims=True), wide.var(over, keepdims=True))
    whole, parts, pairs = (layers.Normalization(axis=axis) for _ in range(3))
    whole.adapt(DATA)
    parts.adapt([DATA[:7], DATA[7:30], DATA[30:]])
    pairs.adapt((x, 0) for x in (DATA[:50], DATA[50:]))
    for layer in (whole, parts, pairs):
        np.testing.assert_allclose(layer(DATA), expected, rtol=2e-5, atol=2e-6)
        assert [w.name for w in layer.weights] == ["mean", "variance", "count"]
        assert layer.trainable_weights == []


def test_adapting_again_forgets_and_reaches_models_that_are_in_use():
    layer = layers.Normalization()
    net = Sequential([Input((4, 3)), layer])
    layer.adapt(DATA)
    before = net.predict(DATA, verbose=0)
    layer.adapt(DATA + 10)
    np.testing.assert_allclose(net.predict(DATA + 10, verbose=0), before, atol=1e-5)


def test_inverted_normalization_goes_back():
    there, back = layers.Normalization(), layers.Normalization(invert=True)
    there.adapt(DATA)
    back.adapt(DATA)
    np.testing.assert_allclose(back(there(DATA)), DATA, rtol=1e-5, atol=1e-5)


def test_a_constant_feature_becomes_0():
    layer = layers.Normalization()
    layer.adapt(np.full((5, 2), 3.0))
    np.testing.assert_array_equal(layer(np.full((2, 2), 3.0)), 0)


@pytest.mark.parametrize(
    ("axis", "mean", "variance"),
    [
        (-1, 2.0, 4.0),
        (-1, [1.0, 2, 3], [4.0, 5, 6]),
        ((1, 2), [1.0, 2, 3], [4.0, 5, 6]),
        (None, 1.0, 2.0),
    ],
)
def test_mean_and_variance_may_be_given(axis, mean, variance):
    layer = layers.Normalization(axis=axis, mean=mean, variance=variance)
    expected = standardized(DATA, np.array(mean), np.array(variance))
    np.testing.assert_allclose(layer(DATA), expected, rtol=1e-5, atol=1e-6)
    assert layer.weights == []


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (2, 0.0),
        (1 / 255, -1),
        ([1.0, 2, 3], 0.5),
        (2.0, [1.0, 2, 3]),
        (np.arange(4.0).reshape(4, 1), 1.0),
        (np.arange(12.0).reshape(4, 3), np.ones(3)),
        (np.ones((1, 1, 1)), 0),
    ],
    ids=str,
)
def test_rescaling_broadcasts(scale, offset):
    layer = layers.Rescaling(scale, offset)
    np.testing.assert_allclose(layer(DATA), DATA * scale + offset, rtol=1e-6, atol=1e-6)
    again = layers.Rescaling.from_config(layer.get_config())
    np.testing.assert_array_equal(again(DATA), layer(DATA))


def test_rescaling_by_channels_that_come_first():
    config.set_image_data_format("channels_first")
    try:
        x = np.ones((2, 3, 4, 5), np.float32)
        y = layers.Rescaling([1.0, 2, 3])(x)
    finally:
        config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(y, x * np.array([1, 2, 3]).reshape(3, 1, 1))


def one_hot(codes, n):
    return (np.asarray(codes)[..., None] == np.arange(n)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, list])
def test_category_encoding(kind):
    codes = np.array([[0, 1, 1], [3, 2, 0]])
    x = codes.tolist() if kind is list else codes.astype(kind)
    hot = one_hot(codes, 4)
    for mode, expected in (("one_hot", hot), ("multi_hot", hot.max(1)), ("count", hot.sum(1))):
        layer = layers.CategoryEncoding(4, mode)
        np.testing.assert_array_equal(layer(x), expected)
        assert layer.compute_output_shape((None, 3)) == (None, *expected.shape[1:])


def test_category_encoding_of_one_column_one_axis_and_one_number():
    column = np.array([[2], [0]])
    np.testing.assert_array_equal(layers.CategoryEncoding(3, "one_hot")(column), one_hot([2, 0], 3))
    np.testing.assert_array_equal(layers.CategoryEncoding(3)([2, 0]), [1, 0, 1])
    np.testing.assert_array_equal(layers.CategoryEncoding(3, "one_hot")([2, 0]), one_hot([2, 0], 3))
    np.testing.assert_array_equal(layers.CategoryEncoding(3, "count")(2), [0, 0, 1])


def test_numbers_that_are_no_token_count_nowhere():
    found = layers.CategoryEncoding(3, "count")(np.array([[0, 3, -1, 2, 2]]))
    np.testing.assert_array_equal(found, [[1, 0, 2]])


def test_counts_may_be_weighted():
    layer = layers.CategoryEncoding(3, "count")
    found = layer(np.array([[0, 2, 2]]), count_weights=np.array([[0.5, 1, 2]]))
    np.testing.assert_array_equal(found, [[0.5, 0, 3]])


def test_discretization_counts_boundaries():
    x = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, np.nan]])
    layer = layers.Discretization([0.0, 1.0, 2.0])
    bins = np.digitize(x, [0.0, 1.0, 2.0])
    found = layer(x)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, bins)
    for mode, expected in (
        ("one_hot", one_hot(bins, 4)),
        ("multi_hot", one_hot(bins, 4).max(1)),
        ("count", one_hot(bins, 4).sum(1)),
    ):
        found = layers.Discretization([0.0, 1.0, 2.0], output_mode=mode)(x)
        np.testing.assert_array_equal(found, expected)
    found = layers.Discretization([0.0, 1.0], output_mode="count")([0.5, 0.5, 7])
    np.testing.assert_array_equal(found, [0, 2, 1])


@pytest.mark.parametrize("bins", [2, 4, 10])
def test_discretization_learns_quantiles(bins):
    layer = layers.Discretization(num_bins=bins, epsilon=0.001)
    data = RNG.normal(size=(5000, 1))
    layer.adapt([data[:2000], data[2000:]])
    shares = np.bincount(layer(data).ravel(), minlength=bins) / len(data)
    np.testing.assert_allclose(shares, 1 / bins, atol=0.01)
    again = layers.Discretization.from_config(layer.get_config())
    np.testing.assert_array_equal(again(data), layer(data))


def test_they_stand_in_nets_that_learn():
    x = RNG.integers(0, 5, (64, 2))
    y = (x[:, :1] == x[:, 1:]).astype(np.float32)
    encoding = layers.CategoryEncoding(5, "one_hot")
    net = Sequential([Input((2,), dtype="int32"), encoding, layers.Flatten(), Dense(16, "relu")])
    net.add(Dense(1, "sigmoid"))
    net.compile(Adam(0.02), "binary_crossentropy")
    history = net.fit(x, y, epochs=40, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: layers.Normalization(mean=1.0), ValueError, "both or not at all"),
        (lambda: layers.Normalization(mean=[1.0], variance=2.0), ValueError, "the same shape"),
        (lambda: layers.Normalization(axis="a"), ValueError, "axis must be an int"),
        (lambda: layers.Normalization(axis=5)(DATA), ValueError, "within the 3 axes"),
        (
            lambda: layers.Normalization(mean=[1.0, 2], variance=[1.0, 2])(DATA),
            ValueError,
            "must broadcast to the sizes",
        ),
        (lambda: layers.Normalization().adapt([]), ValueError, "at least one sample"),
        (lambda: layers.Normalization().adapt(3), TypeError, "an array or an iterable"),
        (lambda: layers.Normalization().adapt([3]), TypeError, "must yield arrays"),
        (
            lambda: layers.Normalization().adapt([DATA, DATA[..., :2]]),
            ValueError,
            "must have sizes",
        ),
        (lambda: layers.Rescaling("a"), ValueError, "scale must be a number"),
        (lambda: layers.Rescaling(np.ones(7))(DATA), ValueError, "must broadcast to the input"),
        (layers.CategoryEncoding, ValueError, "num_tokens must be"),
        (lambda: layers.CategoryEncoding(20_000_000), ValueError, "num_tokens must be at most 2"),
        (lambda: layers.CategoryEncoding(3, "int"), ValueError, "output_mode must be one of"),
        (lambda: layers.CategoryEncoding(3, sparse=True), ValueError, "sparse=True is not"),
        (
            lambda: layers.CategoryEncoding(3)(np.ones((1, 2)), count_weights=np.ones((1, 2))),
            ValueError,
            "count_weights must be None",
        ),
        (layers.Discretization, ValueError, "one of num_bins and bin_boundaries"),
        (lambda: layers.Discretization([1.0], 3), ValueError, "one of num_bins"),
        (lambda: layers.Discretization([2.0, 1.0]), ValueError, "ascending"),
        (lambda: layers.Discretization(num_bins=-1), ValueError, "num_bins must be"),
        (lambda: layers.Discretization([1.0], output_mode="x"), ValueError, "output_mode must"),
        (lambda: layers.Discretization([1.0]).adapt(DATA), ValueError, "needs a layer with"),
        (lambda: layers.Discretization(num_bins=3)(DATA), ValueError, "or see data by adapt"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
