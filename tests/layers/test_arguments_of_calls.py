"""Arguments of a layer's call take effect or are refused, on arrays and on tensors."""

import numpy as np
import pytest

from cdl import layers, ops
from cdl.layers import Dense, Input
from cdl.models import Model, Sequential

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 8)).astype(np.float32)
STEPS = RNG.normal(size=(30, 5, 4)).astype(np.float32)
SHOWN = RNG.random((30, 5)) > 0.4


class Own(layers.Layer):
    def call(self, x):
        return x


class Scaled(Model):
    """A model whose call takes more than its inputs."""

    def __init__(self):
        super().__init__()
        self.dense = Dense(2)

    def call(self, x, by=1.0, training=False):
        return self.dense(x) * by


def functional():
    inputs = Input((8,))
    return Model(inputs, Dense(2)(inputs))


MADE = {
    "Dense": lambda: Dense(2),
    "Dropout": lambda: layers.Dropout(0.5),
    "a layer of one's own": Own,
    "Sequential": lambda: Sequential([Input((8,)), Dense(2)]),
    "Functional": functional,
    "a model of one's own": Scaled,
}


@pytest.mark.parametrize("given", [X, Input((8,))], ids=["array", "tensor"])
@pytest.mark.parametrize("name", MADE)
def test_an_argument_that_there_is_not_is_refused(name, given):
    with pytest.raises(TypeError, match=r"call\(\) got an unexpected keyword argument 'train'"):
        MADE[name]()(given, train=True)


@pytest.mark.parametrize("name", MADE)
def test_a_call_without_inputs_is_refused_by_name(name):
    made = MADE[name]()
    with pytest.raises(TypeError) as caught:
        made()
    first = "x" if isinstance(made, (Own, Scaled)) else "inputs"
    wanted = f"{type(made).__name__}.call() missing a required argument: '{first}'"
    assert str(caught.value) == wanted


@pytest.mark.parametrize("name", ["Sequential", "Functional", "Dropout"])
def test_two_inputs_apart_are_told_to_be_a_list(name):
    for given in (X, Input((8,))):
        with pytest.raises(TypeError, match="several inputs are one argument, a list of them"):
            MADE[name]()(given, given)


@pytest.mark.parametrize("given", [STEPS, Input((5, 4))], ids=["array", "tensor"])
@pytest.mark.parametrize("layer", [Dense(2), layers.Dropout(0.5), layers.LayerNormalization()])
def test_a_mask_for_a_layer_that_does_not_look_at_it_is_refused(layer, given):
    mask = SHOWN if given is STEPS else Input((5,))
    with pytest.raises(TypeError, match="mask must be None, since the layer does not look at it"):
        layer(given, mask=mask)
    layer(given, mask=None)


def test_training_by_place_counts_in_a_model_too():
    inputs = Input((8,))
    noisy = Model(inputs, layers.Dropout(0.5, seed=1)(inputs, True))
    assert (noisy.predict(X, verbose=0) != X).any()


def masked(layer, shape):
    """A model of a layer that is given a mask as a tensor."""
    x, mask = Input((5, 4)), Input(shape)
    return Model([x, mask], layer(x, mask=ops.greater(mask, 0.5)))


@pytest.mark.parametrize("shape", [(5, 4), (5, 1), (1, 4)])
def test_a_mask_counts_in_a_softmax_of_a_model(shape):
    mask = RNG.random((30, *shape)) > 0.4
    mask[:, :, -1] = True
    layer = layers.Softmax()
    got = masked(layer, shape).predict([STEPS, mask.astype(np.float32)], verbose=0)
    np.testing.assert_allclose(got, layer(STEPS, mask=mask), atol=1e-6)
    assert (got[~np.broadcast_to(mask, got.shape)] == 0).all()


def test_scores_that_a_mask_hides_get_no_gradient():
    dense = Dense(4, kernel_initializer="zeros")
    x, mask = Input((4,)), Input((4,))
    model = Model([x, mask], layers.Softmax()(dense(x), mask=mask))
    model.compile("sgd", "mse")
    hidden = np.tile([1.0, 1.0, 0.0, 1.0], (30, 1))
    model.fit([STEPS[:, 0], hidden], STEPS[:, 1], verbose=0)
    moved = np.abs(dense.kernel.numpy()).sum(0)
    assert moved[2] == 0 and (moved[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("shape", [(5,), (1,)])
def test_a_mask_counts_in_the_batch_normalization_of_a_model(shape):
    mask = SHOWN[:, : shape[0]]
    layer, alone = layers.BatchNormalization(), layers.BatchNormalization()
    got = masked(layer, shape)([STEPS, mask.astype(np.float32)], training=True)
    wanted = alone(STEPS, mask=np.broadcast_to(mask, SHOWN.shape), training=True)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    other = layers.BatchNormalization()(STEPS, training=True)
    assert np.abs(got - other).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (layers.Softmax(), (5,), "Softmax 'softmax.*: mask must broadcast to the inputs"),
        (layers.Softmax(), (3, 4), "mask must broadcast to the inputs"),
        (layers.BatchNormalization(), (3,), "BatchNormalization .*: mask must have shape"),
        (layers.BatchNormalization(), (5, 4), r"mask must have shape \(None, 5\), one axis less"),
    ],
)
def test_a_mask_of_another_shape_is_refused(layer, shape, text):
    model = masked(layer, shape)
    with pytest.raises(ValueError, match=text):
        model.predict([STEPS, np.ones((30, *shape))], verbose=0)


def test_weights_of_an_encoding_count_in_a_model():
    tokens = RNG.integers(0, 3, (30, 5))
    weights = RNG.random((30, 5)).astype(np.float32)
    layer = layers.CategoryEncoding(3, output_mode="count")
    x, w = Input((5,)), Input((5,))
    model = Model([x, w], layer(x, count_weights=w))
    got = model.predict([tokens, weights], verbose=0)
    np.testing.assert_allclose(got, layer(tokens, count_weights=weights), rtol=1e-6)
    np.testing.assert_allclose(got.sum(1), weights.sum(1), rtol=1e-5)


@pytest.mark.parametrize(("mode", "size"), [("multi_hot", 5), ("count", 4)])
def test_weights_of_an_encoding_that_do_not_fit_are_refused(mode, size):
    x, w = Input((5,)), Input((size,))
    layer = layers.CategoryEncoding(3, output_mode=mode)
    with pytest.raises(ValueError, match="count_weights must be"):
        Model([x, w], layer(x, count_weights=w)).predict(
            [np.zeros((2, 5)), np.ones((2, size))], verbose=0
        )


def test_a_model_of_ones_own_is_called_with_all_that_its_call_takes():
    model = Scaled()
    first = model(X)
    np.testing.assert_allclose(model(X, by=2.0), 2 * first, rtol=1e-6)
    by = RNG.random((30, 2)).astype(np.float32)
    np.testing.assert_allclose(model(X, by), by * first, rtol=1e-6)
    np.testing.assert_allclose(model(x=X, by=3.0), 3 * first, rtol=1e-6)


def test_a_model_of_ones_own_that_needs_two_arguments_builds_by_its_call():
    class Product(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, x, by):
            return self.dense(x) * by

    model = Product()
    by = RNG.random((30, 2)).astype(np.float32)
    np.testing.assert_allclose(model(X, by), X @ model.dense.kernel.numpy() * by, rtol=1e-5)
    assert len(model.weights) == 2
