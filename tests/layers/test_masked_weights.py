"""Weights that a `call` masks by assignment before it reads them, as PixelCNN does."""

import warnings

import numpy as np
import pytest

import cdl
from cdl import layers, ops

DATA = np.random.default_rng(0)
ROWS = DATA.normal(size=(8, 6)).astype(np.float32)
IMAGES = DATA.normal(size=(8, 5, 5, 2)).astype(np.float32)
STEPS = IMAGES.reshape(8, 25, 2)


class Assigned(layers.Layer):
    """Layer within, whose kernel is masked by assignment."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.mask = np.random.default_rng(1).integers(0, 2, self.inner.kernel.shape)

    def call(self, x):
        self.inner.kernel.assign(self.inner.kernel * self.mask)
        return self.inner(x)


class ByFunctions(Assigned):
    """Layer of the same kind, read by a function of cdl.ops."""

    def call(self, x):
        self.inner.kernel.assign(self.mask * self.inner.kernel)
        return ops.matmul(x, self.inner.kernel) + self.inner.bias


def _convolved(name):
    def call(layer, x, kernel):
        y = getattr(ops, name)(x, kernel, strides=1, padding="same")
        return y + layer.bias

    return call


KINDS = {
    "Dense": (lambda: layers.Dense(3), ROWS, lambda layer, x, k: ops.matmul(x, k) + layer.bias),
    "Conv1D": (lambda: layers.Conv1D(3, 3, padding="same"), STEPS, _convolved("conv")),
    "Conv2D": (lambda: layers.Conv2D(3, 3, padding="same"), IMAGES, _convolved("conv")),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(3, 3, padding="same"),
        IMAGES,
        _convolved("conv_transpose"),
    ),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(3, padding="same"),
        IMAGES,
        _convolved("depthwise_conv"),
    ),
}


def trained(outer, x, eagerly):
    """Losses and predictions of a model of one layer, and the model."""
    inputs = cdl.Input(x.shape[1:])
    model = cdl.Model(inputs, outer(inputs))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(cdl.optimizers.Adam(0.05), "mse", run_eagerly=eagerly)
    y = np.ones(model.predict(x, verbose=0).shape)
    losses = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    losses += [model.evaluate(x, y, verbose=0), model.train_on_batch(x, y)]
    return losses, model.predict(x, verbose=0), model


@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eager"])
@pytest.mark.parametrize("name", KINDS)
def test_such_a_layer_learns_as_one_that_multiplies_by_the_mask(name, eagerly):
    make, x, compute = KINDS[name]

    class Multiplied(Assigned):
        def call(self, x):
            return compute(self.inner, x, self.inner.kernel * self.mask)

    expected, predicted, _ = trained(Multiplied(make()), x, False)
    losses, found, model = trained(Assigned(make()), x, eagerly)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(found, predicted, atol=1e-4)
    assert losses[2] < losses[0]
    np.testing.assert_allclose(model(x), predicted, atol=1e-4)


def test_functions_of_ops_read_the_masked_weight():
    expected, predicted, _ = trained(Assigned(layers.Dense(3)), ROWS, False)
    losses, found, _ = trained(ByFunctions(layers.Dense(3)), ROWS, False)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(found, predicted, atol=1e-4)


def test_a_layer_that_cannot_read_it_says_so():
    class Embedded(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(5, 3)
            self.table.build()

        def call(self, x):
            table = self.table.embeddings
            table.assign(table * np.eye(5, 3))
            return self.table(x)

    inputs = cdl.Input((2,), dtype="int32")
    with pytest.raises(TypeError, match="multiply it by the mask"):
        cdl.Model(inputs, Embedded()(inputs)).predict(np.ones((4, 2), int), verbose=0)


def test_other_assignments_of_weights_that_are_to_learn_are_told_of():
    class Halved(Assigned):
        def call(self, x):
            self.inner.kernel.assign(self.inner.kernel * 0.5)
            return ops.matmul(x, self.inner.kernel)

    with pytest.warns(UserWarning, match="does not learn"):
        trained(Halved(layers.Dense(3)), ROWS, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(ByFunctions(layers.Dense(3)), ROWS, False)
