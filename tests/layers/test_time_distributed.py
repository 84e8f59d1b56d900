"""TimeDistributed of layers that do not work by lines: all steps at once, or in a loop."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(3)


class Own(layers.Layer):
    """Products of what differs from step to step, of a weight, and of a constant."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3), initializer="normal", name="w")

    def call(self, x):
        scores = ops.matmul(x, ops.transpose(x, (0, 2, 1))) + ops.eye(x.shape[1])
        return ops.concatenate([ops.matmul(scores, ops.matmul(x, self.w)), x], axis=-1)

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-1] + 3)


OF_ALL_STEPS = {
    "conv": ((6, 5, 2), lambda: layers.Conv2D(3, (2, 3), 2, "same", activation="relu"), ["conv"]),
    "conv of groups": ((7, 4), lambda: layers.Conv1D(6, 3, groups=2, dilation_rate=2), ["conv"]),
    "depthwise": ((5, 4, 2), lambda: layers.DepthwiseConv2D(2), ["depthwise_conv"]),
    "transposed": ((3, 4, 2), lambda: layers.Conv2DTranspose(3, 3, 2), ["conv_transpose"]),
    "pool": ((6, 5, 2), lambda: layers.MaxPooling2D(2), ["pool"]),
    "means": ((6, 5, 2), lambda: layers.AveragePooling2D(3, 2, "same"), ["pool"]),
    "global": ((6, 5, 2), layers.GlobalAveragePooling2D, ["reduce"]),
    "flat": ((6, 2), layers.Flatten, []),
    "turned": ((4, 3), lambda: layers.Permute((2, 1)), ["permute"]),
    "repeated": ((4,), lambda: layers.RepeatVector(3), ["broadcast"]),
    "planes": ((4, 3), lambda: layers.Softmax(axis=1), ["permute", "softmax", "permute"]),
    "padded": ((4, 3), lambda: layers.ZeroPadding1D(2), ["pick"]),
    "words": ((4,), lambda: layers.Embedding(3, 2), ["gather"]),
    "groups": ((4, 6), lambda: layers.GroupNormalization(2), None),
    "slopes of planes": ((4, 3), lambda: layers.PReLU("uniform"), None),
    "attention": ((4, 6), Own, None),
    "blocks": ((3, 4, 5, 2), lambda: layers.Conv3D(2, 2), None),
    "recurrent": ((4, 6), lambda: layers.GRU(3), None),
    "net": (
        (8, 8, 1),
        lambda: cdl.Sequential(
            [
                layers.Conv2D(3, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(3, activation="tanh"),
            ]
        ),
        ["conv", "pool", "reshape", "dense"],
    ),
}


def of_all_steps(name):
    """A net of a wrapped layer, numbers for it, and the layer."""
    shape, make, _ = OF_ALL_STEPS[name]
    cdl.utils.set_random_seed(5)
    layer = make()
    x = cdl.Input((3, *shape))
    y = layers.TimeDistributed(layer)(x)
    given = (
        RNG.integers(0, 3, (4, 3, *shape)) if name == "words" else RNG.normal(size=(4, 3, *shape))
    )
    return cdl.Model(x, y), given.astype(np.float32), layer


@pytest.mark.parametrize("name", OF_ALL_STEPS)
def test_a_wrapped_layer_gives_what_it_gives_on_each_step(name):
    net, given, layer = of_all_steps(name)
    ops_of_all = OF_ALL_STEPS[name][2]
    if ops_of_all is not None:
        assert [i.op for i in net.program().instructions] == ops_of_all
    each = np.stack([np.asarray(layer(given[:, t])) for t in range(3)], 1)
    np.testing.assert_allclose(net.predict(given, verbose=0), each, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(layers.TimeDistributed(layer)(given), each, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", OF_ALL_STEPS)
def test_a_wrapped_layer_learns_as_on_each_step(name):
    """A step of SGD equals that of a net that slices the steps and stacks the results."""
    net, given, layer = of_all_steps(name)
    if not layer.trainable_weights:
        return
    before = layer.get_weights()
    target = RNG.normal(size=(4, *net.output_shape[1:]))
    found = []
    x = cdl.Input(given.shape[1:])
    apart = ops.stack([layer(x[:, t]) for t in range(3)], axis=1)
    for model in (net, cdl.Model(x, apart)):
        layer.set_weights(before)
        model.compile(cdl.optimizers.SGD(0.1), "mse")
        loss = model.train_on_batch(given, target)
        found.append([loss, *layer.get_weights()])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(here, there, rtol=2e-5, atol=2e-6)


def test_a_wrapped_normalization_takes_the_statistics_of_each_step():
    given = RNG.normal(size=(6, 3, 4)).astype(np.float32) * [[[1.0], [2.0], [3.0]]]
    x = cdl.Input((3, 4))
    layer = layers.BatchNormalization(momentum=0.5)
    net = cdl.Model(x, layers.TimeDistributed(layer)(x))
    y = np.asarray(net(given, training=True))
    np.testing.assert_allclose(y.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1.0, atol=1e-2)
    mean = np.zeros(4)
    for t in range(3):
        mean = 0.5 * mean + 0.5 * given[:, t].mean(0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5, atol=1e-6)
