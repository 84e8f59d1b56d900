"""Parts of a batch, numbers of its samples and scans over them in losses and layers."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(5)
X = RNG.normal(size=(9, 3)).astype(np.float32)
Y = RNG.normal(size=(9, 3)).astype(np.float32)


def count(x):
    return x.shape[0] if isinstance(x, np.ndarray) else ops.shape(x)[0]


# Each function is run on arrays of float64 by NumPy, and compiled with cdl.ops.
CASES = {
    "first half of a stack": lambda m, y, p: m.concatenate([p, y], axis=0)[: count(p)],
    "second half of a stack": lambda m, y, p: m.concatenate([p, y], axis=0)[count(p) :],
    "from the end": lambda m, y, p: m.concatenate([p, y], axis=0)[-count(p) :],
    "sorted half": lambda m, y, p: m.sort(m.concatenate([p, y], axis=0)[: count(p)], axis=0) * y,
    "flat": lambda m, y, p: m.reshape(p, (-1,))[: count(p)],
    "first": lambda m, y, p: p[:1] - y,
    "first two": lambda m, y, p: p[:2],
    "turned by one": lambda m, y, p: m.concatenate([p[1:], p[:1]], axis=0) - y,
    "neighbours": lambda m, y, p: m.sum(m.square(p[1:] - p[:-1])),
    "half": lambda m, y, p: p[: count(p) // 2 + 1],
    "twice half": lambda m, y, p: p * (count(p) * 0.5 + 7 // count(p) + max(count(p) - 1, 1)),
    "rolled flat": lambda m, y, p: m.roll(p, 1) - y,
    "three factors": lambda m, y, p: m.einsum("ik,jk,jl->il", p, y, p),
    "place": lambda m, y, p: m.eye(count(p)) * m.expand_dims(m.argmax(y, axis=1), 0),
}


class Of(layers.Layer):
    """Gives each sample the mean of the squares of what a function makes of a batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        made = self.function(ops, x[:, 3:], x[:, :3])
        return 0 * x[:, :1] + ops.mean(ops.square(made))


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
@pytest.mark.parametrize("name", CASES)
def test_parts_of_batches_are_those_of_numpy(name, samples):
    function, x, y = CASES[name], X[:samples], Y[:samples]
    expected = np.mean(np.square(function(np, y.astype(float), x.astype(float))))
    model = cdl.Sequential([cdl.Input((3,)), layers.Activation("linear")])
    model.compile("sgd", lambda y, p: ops.mean(ops.square(function(ops, y, p))))
    assert model.evaluate(x, y, batch_size=samples, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert not model._last_train_function or not model._last_train_function.in_python
    model = cdl.Sequential([cdl.Input((6,)), Of(function)])
    found = model.predict(np.concatenate([x, y], 1), batch_size=samples, verbose=0)
    np.testing.assert_allclose(found, np.full((samples, 1), expected), rtol=1e-5)


def test_one_hot_takes_the_number_of_samples():
    class Nearest(layers.Layer):
        def call(self, x):
            return ops.one_hot(ops.argmax(x @ ops.transpose(x), axis=1), ops.shape(x)[0]) @ x

    found = cdl.Sequential([cdl.Input((3,)), Nearest()]).predict(X, verbose=0)
    np.testing.assert_allclose(found, X[np.argmax(X @ X.T, 1)], rtol=1e-6)


class Products(layers.Layer):
    """Products of each sample and those before it."""

    def call(self, x):
        return ops.associative_scan(lambda a, b: a * b, x)


class Decaying(layers.Layer):
    """Sums over the samples before each one that decay."""

    def call(self, x):
        return ops.scan(lambda c, a: (c / 2 + a, c / 2 + a), ops.zeros(3), x)[1]


@pytest.mark.parametrize("layer", [Products, Decaying])
def test_a_scan_goes_from_sample_to_sample(layer):
    model = cdl.Sequential([cdl.Input((3,)), layer()])
    expected = np.cumprod(X.astype(float), 0)
    if layer is Decaying:
        decay = 0.5 ** np.maximum(np.subtract.outer(np.arange(9), np.arange(9)), 0)
        expected = np.tril(decay) @ X
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_an_error_in_the_last_batch_comes_before_any_step():
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(3)])
    model.compile("sgd", lambda y, p: ops.max(ops.square(p[1:] - p[:-1])) + ops.mean(y))
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match="in batches of 1 samples"):
        model.fit(X, Y, batch_size=4, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    model.fit(X[:8], Y[:8], batch_size=4, verbose=0)


class Attending(layers.Layer):
    def call(self, x):
        return ops.softmax(x @ ops.transpose(x), axis=-1) @ x


class OfLayers(cdl.Model):
    """A model written as a class, with a layer that compares samples."""

    def __init__(self):
        super().__init__()
        self.dense, self.attending = layers.Dense(3), Attending()

    def call(self, x):
        return self.attending(self.dense(x))


class OfItself(OfLayers):
    """A model that compares samples in its own `call`."""

    def call(self, x):
        x = self.dense(x)
        return ops.softmax(x @ ops.transpose(x), axis=-1) @ x


def of_open_sizes():
    x = cdl.Input((None, 3))
    return cdl.Model(x, Attending()(layers.GlobalAveragePooling1D()(layers.Dense(3)(x))))


@pytest.mark.parametrize("make", [OfLayers, OfItself, of_open_sizes])
def test_models_that_find_their_sizes_in_the_data_may_compare_samples(make):
    x = X[:, None] if make is of_open_sizes else X
    model = make()
    model.compile("sgd", "mse")
    history = model.fit(x, Y, batch_size=6, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    dense = next(each for each in model.layers if isinstance(each, layers.Dense))
    kernel, bias = (each.astype(float) for each in dense.get_weights())
    parts = []
    for at in (0, 6):
        z = X[at : at + 6] @ kernel + bias
        scores = np.exp(z @ z.T)
        parts.append(scores / scores.sum(-1, keepdims=True) @ z)
    expected = np.concatenate(parts)
    np.testing.assert_allclose(model.predict(x, batch_size=6, verbose=0), expected, rtol=1e-4)
    loss = model.evaluate(x, Y, batch_size=6, verbose=0)
    assert loss == pytest.approx(np.mean(np.square(expected - Y)), rel=1e-4)
    if make is OfItself:
        assert model.output_shape == (None, 3)
