"""Every layer on inputs with open axes: symbolic shapes, errors, and outputs at two sizes."""

import numpy as np
from nets import numbers, state_weights
from registry import add

STEPS, LINES, PLANE, BLOCK = (None, 4), (3, None), (None, None, 4), (None, None, None, 2)
FIRST, WIDE = (4, None, None), (None, 6, 4)
SIZES = (9, 12)  # that open axes have


class ToItself:
    """A layer whose queries and values are one."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x, x)


ONE = {  # a layer, and the shapes of a sample that it is called on
    "Dense": (lambda L: L.Dense(3), [STEPS, PLANE, LINES]),
    "Dense with a softmax": (lambda L: L.Dense(3, activation="softmax"), [STEPS]),
    "EinsumDense": (lambda L: L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"), [STEPS]),
    "EinsumDense with dots": (lambda L: L.EinsumDense("...c,cd->...d", (5,)), [PLANE]),
    "EinsumDense over": (lambda L: L.EinsumDense("abc,bd->adc", (2, None)), [STEPS, LINES]),
    "Embedding": (lambda L: L.Embedding(20, 3), [(None,), (None, 2)]),
    "Activation": (lambda L: L.Activation("tanh"), [STEPS, (None,)]),
    "Activation of lines": (lambda L: L.Activation("softmax"), [STEPS, (None,)]),
    "Softmax": (lambda L: L.Softmax(), [STEPS, LINES]),
    "Softmax of an axis": (lambda L: L.Softmax(axis=1), [STEPS, PLANE]),
    "ReLU": (lambda L: L.ReLU(max_value=1.0), [STEPS]),
    "LeakyReLU": (lambda L: L.LeakyReLU(), [STEPS]),
    "ELU": (lambda L: L.ELU(), [STEPS]),
    "PReLU": (lambda L: L.PReLU(), [STEPS, (5, 4)]),
    "PReLU shared": (lambda L: L.PReLU(shared_axes=[1]), [STEPS, LINES]),
    "PReLU of planes": (lambda L: L.PReLU(shared_axes=[1, 2]), [PLANE]),
    "BatchNormalization": (lambda L: L.BatchNormalization(), [STEPS, PLANE, LINES]),
    "BatchNormalization of an axis": (lambda L: L.BatchNormalization(axis=1), [LINES, FIRST]),
    "LayerNormalization": (lambda L: L.LayerNormalization(), [STEPS, PLANE, LINES]),
    "LayerNormalization of axes": (lambda L: L.LayerNormalization(axis=[1, 2]), [STEPS, WIDE]),
    "LayerNormalization of two": (lambda L: L.LayerNormalization(axis=[2, 3]), [WIDE]),
    "RMSNormalization": (lambda L: L.RMSNormalization(), [STEPS, LINES]),
    "UnitNormalization": (lambda L: L.UnitNormalization(), [STEPS, LINES]),
    "UnitNormalization of axes": (lambda L: L.UnitNormalization(axis=[1, 2]), [STEPS]),
    "GroupNormalization": (lambda L: L.GroupNormalization(2), [STEPS, PLANE, LINES]),
    "GroupNormalization of an axis": (lambda L: L.GroupNormalization(2, axis=1), [FIRST]),
    "Normalization": (lambda L: L.Normalization(mean=1.0, variance=4.0), [STEPS]),
    "Rescaling": (lambda L: L.Rescaling(2.0, 1.0), [PLANE]),
    "Dropout": (lambda L: L.Dropout(0.5), [STEPS]),
    "Dropout of a shape": (lambda L: L.Dropout(0.5, noise_shape=(None, 1, 4)), [STEPS]),
    "SpatialDropout1D": (lambda L: L.SpatialDropout1D(0.5), [STEPS]),
    "SpatialDropout2D": (lambda L: L.SpatialDropout2D(0.5), [PLANE]),
    "SpatialDropout3D": (lambda L: L.SpatialDropout3D(0.5), [BLOCK]),
    "GaussianDropout": (lambda L: L.GaussianDropout(0.5), [STEPS]),
    "GaussianNoise": (lambda L: L.GaussianNoise(0.5), [STEPS]),
    "AlphaDropout": (lambda L: L.AlphaDropout(0.5), [STEPS]),
    "ActivityRegularization": (lambda L: L.ActivityRegularization(0.1), [STEPS]),
    "Identity": (lambda L: L.Identity(), [STEPS]),
    "Masking": (lambda L: L.Masking(), [STEPS]),
    "Lambda": (lambda L: L.Lambda(lambda x: 2 * x), [STEPS]),
    "Flatten": (lambda L: L.Flatten(), [STEPS, PLANE, (None,)]),
    "Flatten first": (lambda L: L.Flatten("channels_first"), [STEPS]),
    "Reshape": (lambda L: L.Reshape((2, 2, -1)), [STEPS, (None,)]),
    "Reshape to a line": (lambda L: L.Reshape((-1,)), [STEPS, PLANE]),
    "Reshape to steps": (lambda L: L.Reshape((-1, 2)), [STEPS]),
    "Reshape to numbers": (lambda L: L.Reshape((12, 3)), [STEPS, LINES]),
    "Permute": (lambda L: L.Permute((2, 1)), [STEPS, LINES]),
    "Permute of planes": (lambda L: L.Permute((3, 1, 2)), [PLANE]),
    "RepeatVector": (lambda L: L.RepeatVector(3), [(None,), (4,)]),
    "ZeroPadding1D": (lambda L: L.ZeroPadding1D((1, 2)), [STEPS]),
    "ZeroPadding2D": (lambda L: L.ZeroPadding2D(((1, 0), (2, 2))), [PLANE]),
    "ZeroPadding2D first": (lambda L: L.ZeroPadding2D(1, "channels_first"), [FIRST]),
    "ZeroPadding3D": (lambda L: L.ZeroPadding3D(1), [BLOCK]),
    "Cropping1D": (lambda L: L.Cropping1D((1, 2)), [STEPS]),
    "Cropping2D": (lambda L: L.Cropping2D(((1, 0), (2, 2))), [PLANE]),
    "Cropping3D": (lambda L: L.Cropping3D(1), [BLOCK]),
    "UpSampling1D": (lambda L: L.UpSampling1D(2), [STEPS]),
    "UpSampling2D": (lambda L: L.UpSampling2D((2, 3)), [PLANE]),
    "UpSampling2D bilinear": (lambda L: L.UpSampling2D(2, interpolation="bilinear"), [PLANE]),
    "UpSampling3D": (lambda L: L.UpSampling3D(2), [BLOCK]),
    "Conv1D": (lambda L: L.Conv1D(3, 3), [STEPS, LINES]),
    "Conv1D causal": (lambda L: L.Conv1D(3, 3, padding="causal", dilation_rate=2), [STEPS]),
    "Conv1D same": (lambda L: L.Conv1D(3, 4, strides=2, padding="same"), [STEPS]),
    "Conv1D first": (lambda L: L.Conv1D(3, 2, data_format="channels_first"), [LINES, STEPS]),
    "Conv2D": (lambda L: L.Conv2D(3, 3, strides=2), [PLANE, WIDE, FIRST]),
    "Conv2D same": (lambda L: L.Conv2D(3, (2, 3), padding="same"), [PLANE]),
    "Conv2D dilated": (lambda L: L.Conv2D(3, 3, dilation_rate=2, groups=1), [PLANE]),
    "Conv2D first": (lambda L: L.Conv2D(3, 3, data_format="channels_first"), [FIRST]),
    "Conv2D wide": (lambda L: L.Conv2D(2, 8), [PLANE]),
    "Conv3D": (lambda L: L.Conv3D(2, 2), [BLOCK]),
    "Conv1DTranspose": (lambda L: L.Conv1DTranspose(3, 3, strides=2), [STEPS]),
    "Conv2DTranspose": (lambda L: L.Conv2DTranspose(2, 3, strides=2), [PLANE]),
    "Conv2DTranspose same": (
        lambda L: L.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1),
        [PLANE],
    ),
    "Conv3DTranspose": (lambda L: L.Conv3DTranspose(2, 2, strides=2), [BLOCK]),
    "DepthwiseConv1D": (lambda L: L.DepthwiseConv1D(3, depth_multiplier=2), [STEPS]),
    "DepthwiseConv2D": (lambda L: L.DepthwiseConv2D(3, padding="same"), [PLANE]),
    "SeparableConv1D": (lambda L: L.SeparableConv1D(3, 3), [STEPS]),
    "SeparableConv2D": (lambda L: L.SeparableConv2D(3, 3), [PLANE]),
    "MaxPooling1D": (lambda L: L.MaxPooling1D(2), [STEPS]),
    "MaxPooling2D": (lambda L: L.MaxPooling2D(2, strides=1), [PLANE]),
    "MaxPooling2D first": (lambda L: L.MaxPooling2D(2, data_format="channels_first"), [FIRST]),
    "MaxPooling3D": (lambda L: L.MaxPooling3D(2, padding="same"), [BLOCK]),
    "AveragePooling1D": (lambda L: L.AveragePooling1D(2, padding="same"), [STEPS]),
    "AveragePooling2D": (lambda L: L.AveragePooling2D(3), [PLANE]),
    "AveragePooling3D": (lambda L: L.AveragePooling3D(2), [BLOCK]),
    "AdaptiveMaxPooling1D": (lambda L: L.AdaptiveMaxPooling1D(3), [STEPS]),
    "AdaptiveAveragePooling2D": (lambda L: L.AdaptiveAveragePooling2D((2, 3)), [PLANE]),
    "GlobalAveragePooling1D": (lambda L: L.GlobalAveragePooling1D(), [STEPS, LINES]),
    "GlobalMaxPooling1D": (lambda L: L.GlobalMaxPooling1D(keepdims=True), [STEPS]),
    "GlobalAveragePooling2D": (lambda L: L.GlobalAveragePooling2D("channels_first"), [FIRST]),
    "GlobalMaxPooling2D": (lambda L: L.GlobalMaxPooling2D(), [PLANE]),
    "GlobalAveragePooling3D": (lambda L: L.GlobalAveragePooling3D(), [BLOCK]),
    "GlobalMaxPooling3D": (lambda L: L.GlobalMaxPooling3D(keepdims=True), [BLOCK]),
    "SimpleRNN": (lambda L: L.SimpleRNN(3), [STEPS, LINES]),
    "LSTM": (lambda L: L.LSTM(3, return_sequences=True), [STEPS]),
    "LSTM back": (lambda L: L.LSTM(3, go_backwards=True), [STEPS]),
    "LSTM unrolled": (lambda L: L.LSTM(3, unroll=True), [STEPS]),
    "GRU": (lambda L: L.GRU(3, return_sequences=True, go_backwards=True), [STEPS]),
    "RNN of cells": (lambda L: L.RNN([L.LSTMCell(3), L.GRUCell(2)]), [STEPS]),
    "Bidirectional": (lambda L: L.Bidirectional(L.LSTM(3, return_sequences=True)), [STEPS]),
    "Bidirectional sum": (lambda L: L.Bidirectional(L.GRU(3), merge_mode="sum"), [STEPS]),
    "TimeDistributed": (lambda L: L.TimeDistributed(L.Dense(3)), [STEPS, PLANE, LINES]),
    "TimeDistributed Conv1D": (lambda L: L.TimeDistributed(L.Conv1D(3, 2)), [PLANE, WIDE]),
    "TimeDistributed Flatten": (lambda L: L.TimeDistributed(L.Flatten()), [PLANE, WIDE]),
    "MultiHeadAttention": (lambda L: ToItself(L.MultiHeadAttention(2, 3)), [STEPS, PLANE]),
    "GroupQueryAttention": (lambda L: ToItself(L.GroupQueryAttention(3, 4, 2)), [STEPS]),
    "Resizing": (lambda L: L.Resizing(5, 6), [(None, None, 3)]),
    "CenterCrop": (lambda L: L.CenterCrop(4, 5), [(None, None, 3)]),
    "CategoryEncoding": (lambda L: L.CategoryEncoding(20, "multi_hot"), [(None,)]),
    "Discretization": (lambda L: L.Discretization([0.0, 1.0]), [STEPS]),
    "RandomFlip": (lambda L: L.RandomFlip(), [(None, None, 3)]),
}
SEVERAL = {
    "Attention": (lambda L: L.Attention(use_scale=True), [[STEPS, STEPS], [STEPS, (5, 4)]]),
    "Attention of score": (lambda L: L.Attention(score_mode="concat"), [[STEPS, (5, 4)]]),
    "AdditiveAttention": (lambda L: L.AdditiveAttention(), [[STEPS, STEPS]]),
    "Add": (lambda L: L.Add(), [[STEPS, STEPS], [STEPS, (1, 4)], [STEPS, (9, 4)], [STEPS, (4,)]]),
    "Subtract": (lambda L: L.Subtract(), [[STEPS, STEPS]]),
    "Multiply": (lambda L: L.Multiply(), [[PLANE, (None, None, 1)], [(1, 4), STEPS]]),
    "Average": (lambda L: L.Average(), [[STEPS, STEPS, STEPS]]),
    "Maximum": (lambda L: L.Maximum(), [[STEPS, STEPS]]),
    "Minimum": (lambda L: L.Minimum(), [[PLANE, PLANE]]),
    "Concatenate": (lambda L: L.Concatenate(), [[STEPS, STEPS], [STEPS, (9, 4)], [LINES, LINES]]),
    "Concatenate of steps": (lambda L: L.Concatenate(axis=1), [[STEPS, STEPS], [STEPS, (9, 4)]]),
    "Concatenate of lines": (lambda L: L.Concatenate(axis=1), [[LINES, LINES]]),
    "Dot": (lambda L: L.Dot(axes=2), [[STEPS, STEPS], [LINES, LINES]]),
    "Dot of steps": (lambda L: L.Dot(axes=1), [[STEPS, STEPS], [STEPS, (9, 4)]]),
    "Dot of unit lines": (lambda L: L.Dot(axes=(2, 1), normalize=True), [[STEPS, LINES[::-1]]]),
}
IMAGES = ("Resizing", "CenterCrop", "RandomFlip")
WORDS = ("Embedding", "CategoryEncoding")


def data(name, shape, size, seed):
    """A batch whose open axes have that size."""
    sizes = [size if n is None else n for n in shape]
    if name.split()[0] in WORDS:
        return np.random.RandomState(seed).randint(0, 20, (2, *sizes))
    return numbers(2, *sizes, seed=seed)


def enter(name, make, shapes):
    def run(k):
        words = name.split()[0] in WORDS
        inputs = [k.Input(shape, dtype="int32" if words else "float32") for shape in shapes]
        x = inputs if len(inputs) > 1 else inputs[0]
        y = make(k.layers)(x)
        found = {"symbolic": str(tuple(y.shape))}
        model, values = state_weights(k.Model(x, y)), []
        for size in SIZES:
            batch = [data(name, shape, size, seed) for seed, shape in enumerate(shapes)]
            batch = batch if len(batch) > 1 else batch[0]
            try:
                result = np.asarray(model.predict(batch, verbose=0))
            except (TypeError, ValueError):  # which of the two is the backend's choice
                found[f"shape at {size}"] = "an error"
                continue
            found[f"shape at {size}"] = str(result.shape)
            values += result.reshape(-1)[:: max(1, result.size // 16)].tolist()
        return {**found, "values": np.float32(values)}

    add("open_sizes", f"{name} of {' and '.join(map(str, shapes))}", run)


for _name, (_make, _shapes) in ONE.items():
    for _shape in _shapes:
        enter(_name, _make, [_shape])
for _name, (_make, _each) in SEVERAL.items():
    for _several in _each:
        enter(_name, _make, _several)


def texts(k):
    layers = k.layers
    net = [layers.Embedding(20, 4, mask_zero=True), layers.GlobalAveragePooling1D()]
    model = k.Sequential([k.Input((None,)), *net, layers.Dense(3, activation="softmax")])
    return (
        model,
        "sparse_categorical_crossentropy",
        lambda n, rng: (
            rng.randint(0, 20, (4, n)),
            rng.randint(0, 3, 4),
        ),
    )


def images(k):
    layers, x = k.layers, k.Input((None, None, 3))
    y = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same", activation="tanh")(x))
    y = layers.GlobalMaxPooling2D()(layers.AveragePooling2D(2)(y))
    return (
        k.Model(x, layers.Dense(2)(y)),
        "mse",
        lambda n, rng: (
            rng.normal(size=(3, n, n + 2, 3)).astype("float32"),
            rng.normal(size=(3, 2)).astype("float32"),
        ),
    )


def steps(k):
    layers, x = k.layers, k.Input((None, 4))
    y = layers.Add()([layers.LSTM(5, return_sequences=True)(x), layers.Dense(5)(x) * 0.5])
    return (
        k.Model(x, layers.Dense(2)(layers.LayerNormalization()(y))),
        "mae",
        lambda n, rng: (
            rng.normal(size=(3, n, 4)).astype("float32"),
            rng.normal(size=(3, n, 2)).astype("float32"),
            rng.uniform(0.5, 2.0, (3, n)).astype("float32"),
        ),
    )


def own(k):
    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(3, name="dense")

        def call(self, x):
            return k.ops.mean(self.dense(x), axis=1) * x.shape[1]

    model = Net()
    model(np.zeros((2, 6, 4), "float32"))  # Keras cannot build it for a size that is not known
    return (
        model,
        "mse",
        lambda n, rng: (
            rng.normal(size=(3, n, 4)).astype("float32"),
            rng.normal(size=(3, 3)).astype("float32"),
        ),
    )


def fitted(make):
    def run(k):
        model, loss, draw = make(k)
        state_weights(model)
        kinds = {"metrics": ["mse"], "weighted_metrics": ["mae"]}
        kinds = {"metrics": ["accuracy"]} if loss.startswith("sparse") else kinds
        model.compile(k.optimizers.Adam(0.01), loss, **kinds)
        batches = [draw(n, np.random.RandomState(n)) for n in (5, 9, 5, 3, 9, 7)]

        def twice():
            yield from batches
            yield from batches[::-1]

        history = model.fit(twice(), steps_per_epoch=6, epochs=2, verbose=0).history
        one = model.train_on_batch(*batches[3], return_dict=True)
        return {
            "history": {name: [float(v) for v in values] for name, values in history.items()},
            "evaluated history": [float(v) for v in model.evaluate(twice(), verbose=0)],
            "history of a batch": {name: float(value) for name, value in one.items()},
            "weights": [np.asarray(w) for w in model.get_weights()],
            "iterations": int(model.optimizer.iterations),
        }

    return run


for _make in (texts, images, steps, own):
    add("open_sizes", f"fit {_make.__name__} of several lengths", fitted(_make))
