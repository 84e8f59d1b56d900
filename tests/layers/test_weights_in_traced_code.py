"""A weight learns through all that a `call` does with it.

What cannot be traced is an error: a weight is never taken for what it is at the moment.
"""

import numpy as np
import pytest

import cdl
from cdl import activations, constraints, layers, losses, ops, regularizers

W = np.array([[0.5, -0.3, 0.2], [0.1, 0.9, -0.4], [-0.2, 0.3, 0.7]], "float32")

USES = {
    "softmax": activations.softmax,
    "log_softmax": activations.log_softmax,
    "sparsemax": activations.sparsemax,
    "tanh": activations.tanh,
    "leaky": lambda w: activations.leaky_relu(w, 0.3),
    "linear": activations.linear,
    "of columns": lambda w: activations.softmax(w, axis=0),
    "Softmax": layers.Softmax(),
    "ReLU": layers.ReLU(),
    "Activation": layers.Activation("elu"),
    "Identity": layers.Identity(),
    "UnitNormalization": layers.UnitNormalization(),
    "LayerNormalization": layers.LayerNormalization(),
    "RMSNormalization": layers.RMSNormalization(),
    "Dense": layers.Dense(2, kernel_initializer="ones"),
    "Loss": lambda w: losses.MeanSquaredError()(np.zeros((3, 3)), w),
    "KLDivergence": lambda w: losses.KLDivergence()(np.ones((3, 3)), ops.abs(w) + 0.1),
    "L1L2": regularizers.L1L2(0.1, 0.2),
    "L1": regularizers.L1(0.3),
    "L2": regularizers.L2(0.3),
    "L2 of what is computed": lambda w: regularizers.L2(0.3)(w * 2),
    "value": lambda w: w.value * w.value,
}


class Uses(layers.Layer):
    """x times a number that a function makes of a weight."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, input_shape):
        self.w = self.add_weight((3, 3), lambda shape, dtype=None: W, name="w")

    def call(self, x):
        v = self.function(self.w)
        return x * ops.sum(v * v + v)


def model_of(function):
    layer = Uses(function)
    x = cdl.Input((2,))
    model = cdl.Model(x, layer(x))
    model.compile(cdl.optimizers.SGD(0.1), "mse")
    return model, layer


@pytest.mark.parametrize("name", USES)
def test_the_gradient_passes(name):
    model, layer = model_of(USES[name])
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 2), "float32")
    gradient = next(g for path, g in model.gradients(x, y).items() if path.endswith("/w"))
    for at in ((0, 0), (1, 2), (2, 1)):
        found = []
        for step in (1e-2, -1e-2):
            moved = W.copy()
            moved[at] += step
            layer.w.assign(moved)
            found.append(float(model.evaluate(x, y, verbose=0)))
        layer.w.assign(W)
        assert gradient[at] == pytest.approx((found[0] - found[1]) / 2e-2, rel=2e-2, abs=2e-3)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda w: ops.sum(np.asarray(w)), TypeError, "array of the weight .*w, which is being"),
        (constraints.UnitNorm(), TypeError, "array of the weight .*w, which is being traced"),
        (layers.Flatten(), ValueError, "Flatten .* must have the samples as their first axis"),
        (layers.Reshape((9, 1)), ValueError, "Reshape .* must have the samples"),
        (layers.Softmax(axis=1), ValueError, "Softmax .* must have the samples"),
    ],
)
def test_what_cannot_be_followed_is_an_error(function, error, message):
    with pytest.raises(error, match=message):
        model_of(function)


def test_numpy_still_reads_it():
    model, _ = model_of(lambda w: w * float(w.numpy().sum()))
    model.train_on_batch(np.ones((2, 2)), np.zeros((2, 2)))


def test_a_weight_that_all_samples_share_may_be_repeated():
    model, _ = model_of(lambda w: ops.repeat(w, 2, axis=1))
    expected = 2 * (W**2 + W).sum()
    np.testing.assert_allclose(model.predict(np.ones((1, 2))), [[expected] * 2], rtol=1e-5)


def test_rows_of_a_weight_stay_rows_in_layers_along_lines():
    class Latents(layers.Layer):
        def build(self, input_shape):
            self.latents = self.add_weight((4, 3), "normal", name="latents")
            self.norm, self.project = layers.LayerNormalization(), layers.Dense(3)

        def call(self, x):
            rows = self.project(self.norm(ops.expand_dims(self.latents, 0)))
            scores = layers.Softmax()(ops.matmul(rows, ops.transpose(x, (0, 2, 1))))
            return ops.matmul(scores, x) + self.latents

    x = cdl.Input((5, 3))
    layer = Latents()
    model = cdl.Model(x, layer(x))
    data = np.random.default_rng(0).normal(size=(6, 5, 3)).astype("float32")
    found = model.predict(data, verbose=0)
    latents = layer.latents.numpy()
    rows = layer.project(layer.norm(latents))
    scores = np.exp(rows @ data.transpose(0, 2, 1))
    expected = scores / scores.sum(-1, keepdims=True) @ data + latents
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
