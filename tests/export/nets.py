"""Models that are exported in every format: every layer, every activation, whole nets."""

import numpy as np

import cdl
from cdl import layers
from cdl.layers import Dense, Input
from cdl.models import Model, Sequential

RNG = np.random.default_rng(11)


class SelfAttention(layers.Layer):
    """Attention whose queries, keys and values are the same; the first step sees nothing."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        earlier = np.tri(x.shape[1], k=-1, dtype=bool)[None]
        return self.attention(x, x, attention_mask=earlier)


# Layers by name: the shape of a sample, and what makes the layer.
LAYERS = {
    "dense": ((6,), lambda: Dense(5)),
    "dense without bias": ((6,), lambda: Dense(5, use_bias=False)),
    "dense on lines": ((3, 6), lambda: Dense(4, "tanh")),
    "dense of one": ((1,), lambda: Dense(1)),
    "activation layer": ((3, 4), lambda: layers.Activation("sigmoid")),
    "identity": ((4,), layers.Identity),
    "elu": ((5,), lambda: layers.ELU(0.7)),
    "leaky relu": ((5,), lambda: layers.LeakyReLU(0.2)),
    "relu": ((5,), lambda: layers.ReLU(1.5, 0.1, 0.3)),
    "prelu": ((4,), lambda: layers.PReLU("uniform")),
    "prelu of planes": ((3, 4), lambda: layers.PReLU("uniform")),
    "prelu that shares an axis": ((3, 4), lambda: layers.PReLU("uniform", shared_axes=[1])),
    "parametric": ((3, 4), lambda: layers.ParametricActivation("selu", "uniform")),
    "softmax": ((5,), layers.Softmax),
    "softmax of another axis": ((3, 4), lambda: layers.Softmax(axis=1)),
    "dropout": ((5,), lambda: layers.Dropout(0.5)),
    "noise": ((5,), lambda: layers.GaussianNoise(0.5)),
    "flatten": ((3, 4), layers.Flatten),
    "reshape": ((6,), lambda: layers.Reshape((3, 2))),
    "permute": ((3, 4), lambda: layers.Permute((2, 1))),
    "permute three": ((2, 3, 4), lambda: layers.Permute((3, 1, 2))),
    "repeat": ((4,), lambda: layers.RepeatVector(3)),
    "mean of steps": ((3, 4), layers.GlobalAveragePooling1D),
    "mean of masked steps": (
        (3, 4),
        lambda: cdl.Sequential([layers.Masking(0.0), layers.GlobalAveragePooling1D()]),
    ),
    "largest of steps": ((3, 4), lambda: layers.GlobalMaxPooling1D(keepdims=True)),
    "mean of a plane": ((2, 3, 4), layers.GlobalAveragePooling2D),
    "largest of a plane": (
        (2, 3, 4),
        lambda: layers.GlobalMaxPooling2D(data_format="channels_first"),
    ),
    "masking": ((4, 3), lambda: layers.Masking(0.0)),
    "batch normalization": ((5,), layers.BatchNormalization),
    "batch renormalization": ((5,), lambda: layers.BatchNormalization(renorm=True)),
    "batch normalization of channels": ((3, 4), lambda: layers.BatchNormalization(axis=1)),
    "batch normalization plain": (
        (5,),
        lambda: layers.BatchNormalization(center=False, scale=False),
    ),
    "layer normalization": ((6,), layers.LayerNormalization),
    "layer normalization of two axes": ((3, 4), lambda: layers.LayerNormalization(axis=[1, 2])),
    "rms normalization": ((6,), layers.RMSNormalization),
    "unit normalization": ((6,), layers.UnitNormalization),
    "group normalization": ((3, 8), lambda: layers.GroupNormalization(2)),
    "normalization": ((4,), layers.Normalization),
    "normalization given": ((4,), lambda: layers.Normalization(mean=0.5, variance=2.0)),
    "normalization inverted": (
        (3,),
        lambda: layers.Normalization(mean=[0.5, 1, 2], variance=[2.0, 1, 3], invert=True),
    ),
    "rescaling": ((4,), lambda: layers.Rescaling(0.5, -0.1)),
    "discretization": ((4,), lambda: layers.Discretization([-0.5, 0.0, 0.5])),
    "discretization one hot": (
        (1,),
        lambda: layers.Discretization([-0.5, 0.5], output_mode="one_hot"),
    ),
    "category multi hot": ((3,), lambda: layers.CategoryEncoding(4, "multi_hot")),
    "category counts": ((3,), lambda: layers.CategoryEncoding(4, "count")),
    "category one hot": ((1,), lambda: layers.CategoryEncoding(4, "one_hot")),
    "activity regularization": ((4,), lambda: layers.ActivityRegularization(0.1)),
    "conv of steps": ((7, 3), lambda: layers.Conv1D(4, 3, 2, "causal", activation="relu")),
    "conv": ((6, 5, 3), lambda: layers.Conv2D(4, (3, 2), (2, 1), "same", activation="tanh")),
    "conv first": ((3, 6, 5), lambda: layers.Conv2D(4, 3, data_format="channels_first")),
    "conv of groups": ((5, 5, 4), lambda: layers.Conv2D(6, 2, groups=2, use_bias=False)),
    "conv dilated": ((7, 5, 2), lambda: layers.Conv2D(3, 2, dilation_rate=(3, 2), padding="same")),
    "conv of blocks": ((3, 4, 5, 2), lambda: layers.Conv3D(3, 2, strides=(1, 2, 1))),
    "conv with places left over": ((8, 7, 2), lambda: layers.Conv2D(3, 2, strides=3)),
    "conv softmax": ((4, 4, 2), lambda: layers.Conv2D(3, 2, activation="softmax")),
    "transposed": ((4, 3, 2), lambda: layers.Conv2DTranspose(3, 3, 2, "same", activation="elu")),
    "transposed valid": ((4, 3, 2), lambda: layers.Conv2DTranspose(3, (2, 3), (3, 2))),
    "transposed more": ((4, 2), lambda: layers.Conv1DTranspose(3, 4, 3, "same", output_padding=2)),
    "transposed blocks": ((2, 3, 2, 2), lambda: layers.Conv3DTranspose(2, 2, dilation_rate=2)),
    "depthwise": ((6, 5, 3), lambda: layers.DepthwiseConv2D(3, 2, "same", 2, activation="relu")),
    "depthwise of steps": ((7, 3), lambda: layers.DepthwiseConv1D(3, use_bias=False)),
    "separable": ((6, 5, 3), lambda: layers.SeparableConv2D(4, 3, padding="same")),
    "largest of windows": ((7, 5, 3), lambda: layers.MaxPooling2D(3, 2, "same")),
    "largest first": ((3, 7, 5), lambda: layers.MaxPooling2D(2, data_format="channels_first")),
    "largest of windows of steps": ((7, 3), lambda: layers.MaxPooling1D(2)),
    "mean of windows": ((7, 5, 3), lambda: layers.AveragePooling2D((3, 2), (2, 1), "same")),
    "mean of windows of blocks": ((4, 3, 4, 2), lambda: layers.AveragePooling3D(2, 1)),
    "mean of shares": ((7, 5, 3), lambda: layers.AdaptiveAveragePooling2D((3, 2))),
    "largest of shares": ((7, 5, 3), lambda: layers.AdaptiveMaxPooling2D((2, 6))),
    "zero padding": ((3, 4, 2), lambda: layers.ZeroPadding2D(((1, 0), (2, 1)))),
    "cropping": ((4, 5, 2), lambda: layers.Cropping2D(((1, 0), (2, 1)))),
    "up sampling": ((2, 3, 2), lambda: layers.UpSampling2D((2, 3))),
    "windows of each step": (
        (3, 6, 5, 2),
        lambda: layers.TimeDistributed(
            Sequential(
                [
                    layers.Conv2D(3, 2, 2, "same", activation="relu"),
                    layers.DepthwiseConv2D(2, padding="same"),
                    layers.MaxPooling2D(2),
                    layers.Flatten(),
                    layers.Dense(2),
                ]
            )
        ),
    ),
    "attention with dropout": (
        (5, 6),
        lambda: SelfAttention(layers.MultiHeadAttention(2, 3, dropout=0.3)),
    ),
    "up sampling bilinear": (
        (2, 3, 2),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    ),
}
INTEGERS = ("category multi hot", "category counts", "category one hot")


def _names():
    found = []
    for name in sorted(vars(cdl.activations)):
        thing = getattr(cdl.activations, name)
        if type(thing).__module__ == "cdl.activations" and hasattr(thing, "lower"):
            found.append(name)
    return [name for name in found if name not in ("threshold",)]


ACTIVATIONS = _names()


def of_layer(name):
    """A model of one layer, with weights that are not those it began with, and samples."""
    shape, make = LAYERS[name]
    layer = make()
    if name == "normalization":
        layer.adapt(RNG.normal(size=(50, *shape)).astype(np.float32) * 3 + 1)
    model = Sequential([Input(shape), layer])
    if name != "normalization":
        for weight in model.weights:
            weight.assign(RNG.uniform(0.3, 1.7, weight.shape))
    x = RNG.normal(size=(7, *shape)).astype(np.float32)
    if name in INTEGERS:
        x = RNG.integers(0, 4, x.shape).astype(np.float32)
    if "mask" in name:
        x[2, 1] = x[3, 0] = 0
    return model, x


def of_activation(name):
    """A model of one activation, and samples from end to end."""
    model = Sequential([Input((6,)), layers.Activation(name)])
    x = np.concatenate([np.linspace(-9, 9, 42), np.linspace(-0.01, 0.01, 18), [0] * 6])
    more = [-88, -30, -20, 20, 30, 88] if name != "exponential" else [-88, -30, -20, 20, 30, 50]
    return model, np.concatenate([x, more]).reshape(-1, 6).astype(np.float32)


def classifier():
    model = Sequential(
        [
            Input((20,)),
            layers.Normalization(),
            Dense(64, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            Sequential([Dense(32, "gelu"), layers.LayerNormalization()]),
            Dense(10, "softmax"),
        ]
    )
    x = RNG.normal(size=(64, 20)).astype(np.float32)
    model.layers[0].adapt(x)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, RNG.integers(0, 10, 64), epochs=3, verbose=0)
    return model, x


def images():
    """Convolutions, normalization of channels, pooling, skips: trained."""
    x = Input((12, 12, 2))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    skip = y = layers.SpatialDropout2D(0.2)(layers.MaxPooling2D(2)(y))
    y = layers.SeparableConv2D(4, 3, padding="same", activation="swish")(y)
    y = layers.Add()([skip, layers.DepthwiseConv2D(3, padding="same")(y)])
    y = layers.Conv2DTranspose(3, 2, 2, activation="relu")(y)
    y = layers.Concatenate()([x, layers.UpSampling2D(2)(layers.AveragePooling2D(2)(y))])
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, 2, activation="gelu")(y))
    model = Model(x, Dense(3, "softmax")(y))
    images = RNG.normal(size=(8, 12, 12, 2)).astype(np.float32)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, RNG.integers(0, 3, 8), epochs=2, batch_size=4, verbose=0)
    return model, images


def normalized():
    """A batch normalization behind each kind of product, with and without biases and scales."""
    x = Input((6, 6, 4))
    y = layers.Conv2D(6, 3, groups=2, use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization(name="folded")(y))
    y = layers.DepthwiseConv2D(2, depth_multiplier=2)(y)
    y = layers.BatchNormalization(center=False)(y)
    y = layers.BatchNormalization(scale=False)(layers.Conv2DTranspose(5, 2, 2)(y))
    y = layers.BatchNormalization(center=False, scale=False)(Dense(3, use_bias=False)(y))
    model = Model(x, layers.Activation("tanh")(y))
    for w in model.weights:
        w.assign(w.numpy() + RNG.uniform(0.1, 0.5, w.shape))
    return model, RNG.normal(size=(5, 6, 6, 4)).astype(np.float32)


def wide():
    model = Sequential([Input((300,)), Dense(700, "swish"), Dense(50, "tanh"), Dense(1)])
    return model, RNG.normal(size=(3, 300)).astype(np.float32)


def merging():
    """Two inputs, two outputs, every layer that merges."""
    a, b = Input((3, 6), name="a"), Input((3, 6), name="b")
    merged = [
        make()([a, b])
        for make in (
            layers.Add,
            layers.Subtract,
            layers.Multiply,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            lambda: layers.Dot(axes=2),
            lambda: layers.Concatenate(axis=1),
        )
    ]
    flat = layers.Concatenate()([layers.Flatten()(each) for each in merged])
    hidden = Dense(8, "tanh")(flat)
    outputs = [Dense(3, "softmax", name="first")(hidden), Dense(1, name="second")(hidden)]
    model = Model([a, b], outputs)
    x = [RNG.normal(size=(9, 3, 6)).astype(np.float32) for _ in range(2)]
    return model, x


def embedding():
    """A net of word numbers with an embedding."""
    words = Input((5,))
    lines = layers.Embedding(20, 4)(words)
    lines = layers.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d")(lines)
    shared = Dense(6)
    model = Model(words, layers.Flatten()(shared(layers.Activation("relu")(shared(lines)))))
    return model, RNG.integers(0, 20, (8, 5)).astype(np.float32)


def operations():
    """Integers, functions of `cdl.ops`, and an input that no output reads."""
    words, unread = Input((5,), dtype="int32", name="words"), Input((2,), name="unread")
    lines = layers.Embedding(20, 4)(words)
    lines = cdl.ops.concatenate([lines, cdl.ops.square(lines) / 2], axis=-1)
    model = Model([words, unread], Dense(2)(cdl.ops.max(lines, axis=1)))
    return model, [RNG.integers(0, 20, (8, 5)).astype(np.int32), np.zeros((8, 2), np.float32)]


NETS = {
    "classifier": classifier,
    "images": images,
    "normalized": normalized,
    "wide": wide,
    "merging": merging,
    "embedding": embedding,
    "operations": operations,
}
CASES = {
    **{f"layer {name}": (of_layer, name) for name in LAYERS},
    **{f"activation {name}": (of_activation, name) for name in ACTIVATIONS},
    **{f"net {name}": (make,) for name, make in NETS.items()},
}


def case(name):
    """A model and samples."""
    make, *arguments = CASES[name]
    cdl.utils.clear_session()
    cdl.utils.set_random_seed(4)
    return make(*arguments)


def assert_close(found, model, x, within=1e-6):
    """Predictions of another program are those of cdl, relative to the largest number."""
    whole = model.predict(x, verbose=0)
    if isinstance(whole, list):
        for one, number in zip(found, range(len(whole)), strict=True):
            _assert_close(one, whole[number], within)
    else:
        _assert_close(found, whole, within)


def _assert_close(found, whole, within):
    expected = whole[: len(found)]
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    scale = max(1e-3, float(np.abs(whole).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=within * scale)
