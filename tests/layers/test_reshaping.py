"""Layers that move numbers, activations as layers, and axes of any place."""

import numpy as np
import pytest
import references as reference

from cdl import layers, losses, ops
from cdl.layers import Dense, Input
from cdl.models import Model, Sequential
from cdl.optimizers import Adam

X = np.random.default_rng(5).normal(size=(5, 2, 3, 4)).astype(np.float32)


def of(layer, x=X):
    y = layer(x)
    assert y.shape[1:] == tuple(layer.compute_output_shape((None, *x.shape[1:]))[1:])
    return y


@pytest.mark.parametrize("shape", [(24,), (-1,), (4, 6), (-1, 3), (2, -1, 2), (1, 24, 1)], ids=str)
def test_reshape(shape):
    np.testing.assert_array_equal(of(layers.Reshape(shape)), X.reshape(5, *shape))


@pytest.mark.parametrize("dims", [(1, 2, 3), (3, 1, 2), (2, 1, 3), (3, 2, 1), [1, 3, 2]], ids=str)
def test_permute(dims):
    np.testing.assert_array_equal(of(layers.Permute(dims)), X.transpose(0, *dims))


def test_repeat_vector_flatten_and_identity():
    x = X[:, 0, 0]
    np.testing.assert_array_equal(of(layers.RepeatVector(3), x), np.repeat(x[:, None], 3, 1))
    np.testing.assert_array_equal(of(layers.Flatten()), X.reshape(5, -1))
    first = X.transpose(0, 2, 3, 1).reshape(5, -1)
    np.testing.assert_array_equal(of(layers.Flatten("channels_first")), first)
    np.testing.assert_array_equal(of(layers.Identity()), X)


def test_sizes_that_are_not_known_stay_unknown():
    assert layers.Reshape((-1, 2)).compute_output_shape((None, None, 4)) == (None, None, 2)
    assert layers.Permute((2, 1)).compute_output_shape((None, None, 4)) == (None, 4, None)
    assert layers.RepeatVector(2).compute_output_shape((3, 4)) == (3, 2, 4)


@pytest.mark.parametrize("axis", [-1, 1, 2, (1, 3), [-1, -2]], ids=str)
def test_softmax_along_any_axes(axis):
    axes = tuple(np.atleast_1d(axis))
    e = np.exp(X.astype(np.float64))
    expected = e / e.sum(axes, keepdims=True)
    np.testing.assert_allclose(of(layers.Softmax(axis)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "shared", [None, [1], [2], [3], [1, 2], [1, 3], [1, 2, 3], 2, [-1]], ids=str
)
def test_prelu_shares_slopes_along_axes(shared):
    layer = layers.PReLU(shared_axes=shared)
    layer.build((None, 2, 3, 4))
    places = [] if shared is None else [(axis - 1) % 3 for axis in np.atleast_1d(shared)]
    if shared == [-1]:
        places = [1]  # as Keras counts: axis -1 of all axes but the batch, less one
    assert layer.alpha.shape == tuple(1 if i in places else n for i, n in enumerate((2, 3, 4)))
    layer.set_weights([np.random.default_rng(1).normal(size=layer.alpha.shape)])
    expected = np.maximum(X, 0) + layer.alpha.numpy() * np.minimum(X, 0)
    np.testing.assert_allclose(of(layer), expected, rtol=1e-6)


def test_softmax_of_an_array_may_run_over_the_samples():
    e = np.exp(X.astype(np.float64))
    for axis in (0, (0, 1)):
        found = layers.Softmax(axis)(X)
        np.testing.assert_allclose(found, e / e.sum(axis, keepdims=True), rtol=1e-5)


def test_rectifiers():
    x = X.astype(np.float64)
    rows = reference.ACTIVATIONS
    np.testing.assert_allclose(of(layers.LeakyReLU()), np.where(x < 0, 0.3 * x, x), rtol=1e-6)
    expected = rows["relu"][0](x, negative_slope=0.1, max_value=1.5, threshold=0.2)
    np.testing.assert_allclose(of(layers.ReLU(1.5, 0.1, 0.2)), expected, rtol=1e-5, atol=1e-7)
    expected = rows["elu"][0](x, alpha=0.5)
    np.testing.assert_allclose(of(layers.ELU(0.5)), expected, rtol=1e-5, atol=1e-7)


def test_leaky_relu_takes_its_older_argument():
    with pytest.warns(UserWarning, match="now called negative_slope"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1


def test_a_net_learns_through_all_of_them():
    net = Sequential(
        [
            Input((6,)),
            Dense(4),
            layers.RepeatVector(3),
            layers.Permute((2, 1)),
            layers.PReLU(shared_axes=[1]),
            layers.Softmax(axis=1),
            layers.Reshape((-1, 2)),
            layers.ELU(),
            layers.Flatten(),
            Dense(1),
        ]
    )
    rng = np.random.default_rng(2)
    x = rng.normal(size=(64, 6)).astype(np.float32)
    net.compile(Adam(0.02), "mse")
    history = net.fit(x, x[:, :1], epochs=30, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: layers.Reshape(3), TypeError, "target_shape must be a tuple"),
        (lambda: layers.Reshape((-1, -1)), ValueError, "at most one -1"),
        (lambda: layers.Reshape((2.5,)), ValueError, "a tuple of ints"),
        (lambda: layers.Reshape((7, 2))(X), ValueError, "must have the 24 elements"),
        (lambda: layers.Reshape((-1, 7))(X), ValueError, "must have the 24 elements"),
        (lambda: layers.Permute((2, 3)), ValueError, "a permutation of 1 to 2"),
        (lambda: layers.Permute((0, 1)), ValueError, "a permutation of 1 to 2"),
        (lambda: layers.Permute(3), TypeError, "dims must be a tuple"),
        (lambda: layers.Permute((2, 1))(X), ValueError, "must have 3 axes"),
        (lambda: layers.RepeatVector(0), ValueError, "n must be a positive int"),
        (lambda: layers.RepeatVector(2.0), TypeError, "n must be a positive int"),
        (lambda: layers.RepeatVector(2)(X), ValueError, "must have 2 axes"),
        (lambda: layers.Softmax(axis="a"), ValueError, "axis must be an int"),
        (lambda: layers.ReLU(max_value=-1), ValueError, "max_value must be"),
        (lambda: layers.ReLU(negative_slope=None), ValueError, "negative_slope must be"),
        (lambda: layers.ReLU(threshold=-0.5), ValueError, "threshold must be"),
        (lambda: layers.LeakyReLU(-1), ValueError, "negative_slope must be"),
        (lambda: layers.LeakyReLU(None), ValueError, "negative_slope must be"),
        (lambda: layers.PReLU(shared_axes=[4])(X), ValueError, "within the 3 axes"),
        (lambda: layers.PReLU(shared_axes="a"), ValueError, "shared_axes must be"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_samples_of_eight_axes_can_be_turned():
    x = np.random.default_rng(7).normal(size=(5, 2, 1, 3, 1, 2, 2, 1, 2)).astype(np.float32)
    for dims in ((8, 7, 6, 5, 4, 3, 2, 1), (2, 1, 4, 3, 6, 5, 8, 7), (8, 1, 2, 3, 4, 5, 6, 7)):
        expected = x.transpose(0, *dims)
        np.testing.assert_array_equal(layers.Permute(dims)(x), expected)
        tensor = layers.Input(x.shape[1:])
        model = Model(tensor, ops.transpose(tensor, (0, *dims)))
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    e = np.exp(x.astype(np.float64))
    for axis in (1, 3, 8):
        found = layers.Softmax(axis)(x)
        np.testing.assert_allclose(found, e / e.sum(axis, keepdims=True), rtol=1e-6)


def test_a_loss_along_any_of_eight_axes_learns():
    shape = (2, 1, 3, 1, 2, 2, 1, 2)
    x = np.random.default_rng(7).normal(size=(5, *shape)).astype(np.float32)
    y = np.random.default_rng(8).uniform(size=x.shape).astype(np.float32)
    for axis in (1, 3, -4):
        loss = losses.CategoricalCrossentropy(from_logits=True, axis=axis)
        model = Sequential([layers.Input(shape), layers.Dense(2)])
        model.compile("sgd", loss)
        expected = float(loss(y, model.predict(x, verbose=0)))
        np.testing.assert_allclose(model.train_on_batch(x, y), expected, rtol=1e-5)
        assert model.evaluate(x, y, verbose=0) < expected


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: layers.ZeroPadding2D((1, 2, 3)),
            r"ZeroPadding2D: padding must be an int >= 0, 2 of them, or 2 pairs, got \(1, 2, 3\)",
        ),
        (lambda: layers.ZeroPadding1D(-1), "padding must be an int >= 0 or 2 of them, got -1"),
        (
            lambda: layers.Cropping2D(((1, 1), (0, 1)), name="c")(X),
            r"Cropping2D 'c': cropping must leave something of each axis, got "
            r"\(\(1, 1\), \(0, 1\)\) for an input of shape \(None, 2, 3, 4\)",
        ),
        (lambda: layers.UpSampling1D(0), "UpSampling1D: size must be a positive int, got 0"),
        (
            lambda: layers.UpSampling2D(interpolation="area"),
            "interpolation must be one of 'nearest', 'bilinear', 'bicubic', 'lanczos3', 'lanczos5'",
        ),
    ],
)
def test_places_that_do_not_fit_are_refused_by_name(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_kinds_of_sizes_that_mean_nothing_are_type_errors():
    with pytest.raises(TypeError, match=r"UpSampling1D: size must be a positive int, got 2\.5"):
        layers.UpSampling1D(2.5)
    with pytest.raises(TypeError, match="output_size must be an int or 2 of them, got 'a'"):
        layers.AdaptiveMaxPooling2D("a")


@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_up_sampling_of_a_constant_is_that_constant_and_of_a_line_a_line(kind):
    ones = np.ones((1, 3, 4, 2), np.float32)
    np.testing.assert_allclose(layers.UpSampling2D(3, interpolation=kind)(ones), 1, rtol=1e-5)
    line = np.arange(12, dtype=np.float32).reshape(1, 12, 1, 1)
    y = layers.UpSampling2D((2, 1), interpolation=kind)(line)
    np.testing.assert_allclose(np.diff(y[0, 9:-9, 0, 0]), 0.5, atol=0.04)  # lanczos's are no lines


def test_places_move_their_gradients_along():
    net = Sequential(
        [
            Input((4, 6, 1)),
            layers.Dense(2, name="first"),
            layers.ZeroPadding2D(((1, 0), (2, 1))),
            layers.UpSampling2D((1, 2)),
            layers.Cropping2D(((1, 1), (3, 2))),
            layers.AdaptiveAveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    net.compile("sgd", "mse")
    x = np.random.default_rng(1).normal(size=(5, 4, 6, 1)).astype(np.float32)
    kernel = net.layers[0].kernel
    gradient = next(iter(net.gradients(x, x[:, 0, 0]).values()))
    ends = []
    for step in (1e-2, -1e-2):
        moved = kernel.numpy()
        moved[0, 0] += step
        before = kernel.numpy()
        kernel.assign(moved)
        ends.append(net.evaluate(x, x[:, 0, 0], verbose=0))
        kernel.assign(before)
    np.testing.assert_allclose(np.asarray(gradient)[0, 0], (ends[0] - ends[1]) / 0.02, rtol=1e-2)


MOVING = {
    "Flatten": layers.Flatten,
    "Reshape": lambda: layers.Reshape((6,)),
    "Permute": lambda: layers.Permute((2, 1)),
    "ZeroPadding1D": lambda: layers.ZeroPadding1D(1),
    "UpSampling1D": lambda: layers.UpSampling1D(2),
    "Identity": layers.Identity,
}


@pytest.mark.parametrize("make", MOVING.values(), ids=MOVING)
def test_integers_and_bools_that_are_moved_stay_such(make):
    layer = make()
    for given, dtype in (("int32", "int32"), ("int64", "int32"), ("uint8", "uint8"), ("bool",) * 2):
        x = np.arange(12).reshape(2, 3, 2).astype(given)
        y = layer(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, layer(x.astype("float32")))
    with pytest.raises(ValueError, match=r"integers must be at most 2\*\*24"):
        layer(np.full((1, 3, 2), 2**24 + 1))
