"""Rows of a table: values, learning, masks, and numbers that are none."""

import numpy as np
import pytest

import cdl
from cdl import Input, Model, Sequential
from cdl.layers import Dense, Embedding, Flatten, GlobalAveragePooling1D, ReversibleEmbedding
from cdl.utils import set_random_seed

RNG = np.random.default_rng(0)
X = RNG.integers(0, 7, (40, 3)).astype(np.int32)
Y = RNG.normal(size=(40, 1)).astype(np.float32)


def model_of(**options):
    set_random_seed(0)
    return Sequential([Input((3,)), Embedding(7, 5, **options), Flatten(), Dense(1)])


def test_values_are_rows_of_the_table():
    layer = Embedding(7, 5)
    y = layer(X)
    np.testing.assert_array_equal(y, layer.embeddings.numpy()[X])
    assert layer.compute_output_shape((None, 3)) == (None, 3, 5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adagrad", "lion", "ftrl"])
def test_it_learns_as_a_product_with_one_hot_rows_does(optimizer):
    model = model_of()
    dense = Sequential([Input((3, 7)), Dense(5, use_bias=False), Flatten(), Dense(1)])
    dense.set_weights(model.get_weights())
    for each in (model, dense):
        each.compile(optimizer, "mse")
    a = model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    b = dense.fit(np.eye(7)[X], Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-5)
    for v, w in zip(model.get_weights(), dense.get_weights(), strict=True):
        np.testing.assert_allclose(v, w, rtol=2e-5, atol=2e-6)


def test_zero_is_masked():
    x = Input((3,), dtype="int32")
    model = Model(x, Dense(2)(Embedding(7, 5, mask_zero=True)(x)))
    model.compile("sgd", "mse")
    y = RNG.normal(size=(40, 3, 2))
    shown = X != 0
    expected = ((model.predict(X, verbose=0) - y) ** 2).mean(-1)[shown].mean()
    assert model.evaluate(X, y, batch_size=40, verbose=0) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(Embedding(7, 5, mask_zero=True).compute_mask(X), shown)


def test_a_layer_takes_the_mask_of_an_embedding_that_it_holds():
    class Positioned(cdl.layers.Layer):
        def __init__(self):
            super().__init__()
            self.tokens = Embedding(7, 4, mask_zero=True)

        def call(self, x):
            return self.tokens(x)

        def compute_mask(self, x, mask=None):
            return self.tokens.compute_mask(x, mask)

    x = Input((3,), dtype="int32")
    vectors, last = Positioned(), cdl.layers.LSTM(2)
    found = Model(x, last(vectors(x))).predict(np.array([[1, 2, 0]]), verbose=0)
    wanted = last(vectors(np.array([[1, 2]])))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("bad", [-1, 7, 2**30])
def test_a_number_without_a_row_is_an_error_and_changes_nothing(bad):
    model = model_of()
    model.compile("adam", "mse")
    wrong = X.copy()
    wrong[17, 1] = bad
    before = model.get_weights()
    for call in (
        lambda: model.fit(wrong, Y, batch_size=40, verbose=0),
        lambda: model.predict(wrong, verbose=0),
        lambda: model.evaluate(wrong, Y, verbose=0),
        lambda: model.layers[0](wrong),
    ):
        with pytest.raises(ValueError, match=r"Embedding 'embedding.*numbers in \[0, 7\), got"):
            call()
    for v, w in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(v, w)
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Embedding(0, 3), "input_dim must be a positive int, got 0"),
        (lambda: Embedding(2**24 + 1, 1), r"input_dim must be at most 2\*\*24 = 16777216"),
        (lambda: Embedding(3, -1), "output_dim must be a positive int, got -1"),
        (lambda: Embedding(3, 2, weights=np.ones((2, 2))), r"must have shape \(3, 2\)"),
    ],
)
def test_a_bad_argument_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_it_can_begin_with_a_table_and_be_frozen():
    table = RNG.normal(size=(7, 5)).astype(np.float32)
    model = model_of(weights=[table], trainable=False)
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], table)


def reversible(**options):
    layer = ReversibleEmbedding(6, 4, **options)
    x = Input((3,))
    net = Model(x, layer(layer(x), reverse=True))
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=w.shape) for w in net.weights])
    return layer, net


@pytest.mark.parametrize(
    "options", [{}, {"tie_weights": False}, {"logit_soft_cap": 3.0}, {"lora_rank": 2}]
)
def test_reversible_embedding_learns_both_ways_by_central_differences(options):
    layer, net = reversible(**options)
    tokens = np.array([[0, 5, 2], [2, 2, 4]])
    back = layer.embeddings.numpy() if "lora_rank" not in options else layer.embeddings
    expected = back[tokens] @ (back.T if layer.tie_weights else layer.reverse_embeddings.numpy())
    if layer.logit_soft_cap is not None:
        expected = 3.0 * np.tanh(expected / 3.0)
    np.testing.assert_allclose(net.predict(tokens), expected, rtol=1e-5, atol=1e-5)
    assert net.output_shape == (None, 3, 6)
    y = np.random.default_rng(2).normal(size=(2, 3, 6))
    net.compile("sgd", "mse")
    for weight, gradient in zip(
        net.trainable_weights, net.gradients(tokens, y).values(), strict=True
    ):
        values, place = weight.numpy(), (2, 1) if weight.shape[0] > 2 else (1, 2)
        losses = []
        for step in (0.01, -0.01):
            moved = values.copy()
            moved[place] += step
            weight.assign(moved)
            losses.append(net.evaluate(tokens, y, verbose=0))
        weight.assign(values)
        rise = (losses[0] - losses[1]) / 0.02
        np.testing.assert_allclose(gradient[place], rise, rtol=1e-2, atol=1e-3)


def test_reversible_embedding_masks_the_way_forth_alone():
    layer = ReversibleEmbedding(6, 4, mask_zero=True)
    x = Input((3,))
    forth = GlobalAveragePooling1D()(layer(x))
    net = Model(x, forth)
    tokens = np.array([[1, 2, 0]])
    expected = layer.embeddings.numpy()[[1, 2]].mean(0, keepdims=True)
    np.testing.assert_allclose(net.predict(tokens), expected, rtol=1e-5, atol=1e-6)
    assert layer.compute_mask(tokens) is None


@pytest.mark.parametrize(
    "options", [{"logit_soft_cap": -1.0}, {"logit_soft_cap": "a"}, {"tie_weights": 3}]
)
def test_bad_argument_of_a_reversible_embedding_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        ReversibleEmbedding(6, 4, **options)
