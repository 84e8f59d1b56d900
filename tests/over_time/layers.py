"""Rows of layers: all of them on arrays, and those that learn from data, with LoRA, quantized."""

import inspect
from functools import partial

import numpy as np
from keras_names import classes, made
from over_time.thing import COPIES, Thing

import cdl
from cdl import tree
from cdl.models import Model, load_model

RNG = np.random.default_rng(2)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


LINES, SEQUENCES, IMAGES, VOLUMES = normal(2, 4), normal(2, 6, 4), normal(2, 6, 6, 3), None
VOLUMES, FILMS = normal(2, 4, 4, 4, 3), normal(2, 3, 5, 5, 2)
PICTURES = np.abs(normal(2, 6, 6, 3)) * 60
IDS = RNG.integers(3, size=(2, 4)).astype(np.int32)
TEXTS = np.array([["a"], [""], ["c d"]])

BASES = {"Layer", "Wrapper", "InputLayer", "InputSpec"}
PUBLIC = [each for each in dict.fromkeys(classes(cdl, "layers")) if each.__name__ not in BASES]
MADE = {
    "Bidirectional": lambda: cdl.layers.Bidirectional(cdl.layers.GRU(3)),
    "EinsumDense": lambda: cdl.layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"),
    "GroupNormalization": lambda: cdl.layers.GroupNormalization(2),
    "HashedCrossing": lambda: cdl.layers.HashedCrossing(5),
    "Hashing": lambda: cdl.layers.Hashing(5),
    "IntegerLookup": lambda: cdl.layers.IntegerLookup(vocabulary=[1, 2]),
    "Discretization": lambda: cdl.layers.Discretization(bin_boundaries=[0.0, 0.5]),
    "Lambda": lambda: cdl.layers.Lambda(cdl.activations.tanh),
    "MultiHeadAttention": lambda: cdl.layers.MultiHeadAttention(2, 3),
    "GroupQueryAttention": lambda: cdl.layers.GroupQueryAttention(3, 4, 2),
    "Normalization": lambda: cdl.layers.Normalization(mean=0.5, variance=2.0),
    "Pipeline": lambda: cdl.layers.Pipeline(
        [cdl.layers.Rescaling(2.0), cdl.layers.GaussianNoise(0.2, seed=1)]
    ),
    "RNN": lambda: cdl.layers.RNN(cdl.layers.GRUCell(3)),
    "RandomCrop": lambda: cdl.layers.RandomCrop(3, 3, seed=1),
    "RandomTranslation": lambda: cdl.layers.RandomTranslation(0.3, 0.3, seed=1),
    "RandomZoom": lambda: cdl.layers.RandomZoom(0.3, seed=1),
    "ColumnDense": lambda: cdl.layers.ColumnDense(3),
    "EnsembleDense": lambda: cdl.layers.EnsembleDense(3, 2),
    "ParametricActivation": lambda: cdl.layers.ParametricActivation("mish"),
    "PiecewiseLinearEncoding": lambda: cdl.layers.PiecewiseLinearEncoding(bins=[[0.0, 1.0]] * 4),
    "CenterCrop": lambda: cdl.layers.CenterCrop(3, 3),
    "Permute": lambda: cdl.layers.Permute((2, 1)),
    "Reshape": lambda: cdl.layers.Reshape((2, 2)),
    "Embedding": lambda: cdl.layers.Embedding(3, 2),
    "ReversibleEmbedding": lambda: cdl.layers.ReversibleEmbedding(3, 2),
    "SpectralNormalization": lambda: cdl.layers.SpectralNormalization(cdl.layers.Dense(3)),
    "StringLookup": lambda: cdl.layers.StringLookup(vocabulary=["a", "c d"]),
    "TextVectorization": lambda: cdl.layers.TextVectorization(vocabulary=["a", "d"]),
    "TimeDistributed": lambda: cdl.layers.TimeDistributed(cdl.layers.Dropout(0.2, seed=1)),
    "STFTSpectrogram": lambda: cdl.layers.STFTSpectrogram("log", 8, 4),
    "MelSpectrogram": lambda: cdl.layers.MelSpectrogram(8, 4, sampling_rate=100),
}
# Inputs of a layer by its name, or by the first of these that its name has in it.
OF_NAME = {
    "Dot": [normal(2, 4), normal(2, 4)],
    "Concatenate": [LINES, LINES + 1],
    "HashedCrossing": [IDS[:, :1], IDS[:, 1:2]],
    "Embedding": IDS,
    "ReversibleEmbedding": IDS,
    "CategoryEncoding": IDS % 3,
    "IntegerLookup": IDS,
    "StringLookup": TEXTS,
    "TextVectorization": TEXTS,
    "RepeatVector": LINES,
    "GRUCell": [LINES, [normal(2, 1)]],
    "LSTMCell": [LINES, [normal(2, 1), normal(2, 1)]],
    "SimpleRNNCell": [LINES, [normal(2, 1)]],
    "StackedRNNCells": [LINES, [normal(2, 3)]],
    "Attention": [SEQUENCES, SEQUENCES + 1],
    "AdditiveAttention": [SEQUENCES, SEQUENCES + 1],
    "MultiHeadAttention": [SEQUENCES, SEQUENCES + 1],
    "GroupQueryAttention": [SEQUENCES, SEQUENCES + 1],
    "MelSpectrogram": normal(2, 40),
    "STFTSpectrogram": normal(2, 40, 1),
    "Permute": SEQUENCES,
    "ColumnDense": SEQUENCES,
    "Masking": SEQUENCES,
    "TimeDistributed": SEQUENCES,
    "Bidirectional": SEQUENCES,
    "RNN": SEQUENCES,
    "ConvLSTM1D": normal(2, 3, 5, 2),
    "ConvLSTM2D": FILMS,
    "ConvLSTM3D": normal(2, 2, 3, 3, 3, 2),
    "GRU": SEQUENCES,
    "LSTM": SEQUENCES,
    "SimpleRNN": SEQUENCES,
}
HOLD_RANDOM = {"Pipeline", "TimeDistributed"}  # by their rows in MADE
MERGES = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}
SEVERAL = {"Attention", "AdditiveAttention", "Dot", "Concatenate", "HashedCrossing"} | MERGES


def input_of(cls):
    name = cls.__name__
    if name in OF_NAME:
        return OF_NAME[name]
    if name in MERGES:
        return [LINES, LINES + 1]
    if ".image." in cls.__module__:
        return PICTURES
    for part, array in (("1D", SEQUENCES), ("2D", IMAGES), ("3D", VOLUMES)):
        if part in name:
            return array
    return LINES


def fresh(cls):
    if cls.__name__ in MADE:
        return MADE[cls.__name__]()
    layer = made(cls, cdl)
    config = layer.get_config()
    if "seed" in inspect.signature(cls).parameters:
        config["seed"] = 1
    return cls.from_config(config)


def with_dropout(cls):
    config = fresh(cls).get_config()
    return cls.from_config({**config, "dropout": 0.3, "seed": 1})


def called(layer, data, **options):
    if isinstance(data, list) and type(layer).__name__ not in SEVERAL:
        return layer(*data, **options)
    return layer(data, **options)


def use(layer, data):
    """Outputs in training and in prediction, and the weights after both."""
    return [called(layer, data, training=True), called(layer, data), *layer.get_weights()]


def weights_of(layer):
    for each in layer.weights:
        each.assign(each.numpy() * 1.5 + 0.25)


def by_file(layer, folder, data):
    """The layer out of the file of a model of it alone."""
    inputs = [cdl.Input(each.shape[1:], dtype=kind_of(each)) for each in tree.flatten(data)]
    model = Model(inputs, called(layer, tree.pack_sequence_as(data, inputs)))
    model.save(folder / "model.keras")
    return load_model(folder / "model.keras").layers[-1]


def kind_of(array):
    return "string" if array.dtype.kind == "U" else str(array.dtype)


# Layers that have weights.
WEIGHTED = {
    "AdditiveAttention", "BatchNormalization", "Bidirectional", "ColumnDense", "ColumnScaling",
    "EnsembleDense", "ParametricActivation", "PeriodicEmbedding", "RobustScaling", "Conv1D",
    "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "ConvLSTM1D",
    "ConvLSTM2D", "ConvLSTM3D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "EinsumDense",
    "Embedding",
    "GRU", "GRUCell", "GroupNormalization", "GroupQueryAttention", "LSTM", "LSTMCell",
    "LayerNormalization", "MultiHeadAttention", "PReLU", "RMSNormalization", "RNN",
    "ReversibleEmbedding", "STFTSpectrogram", "SeparableConv1D", "SeparableConv2D", "SimpleRNN",
    "SimpleRNNCell", "SpectralNormalization", "StackedRNNCells",
}  # fmt: skip


def of_class(cls):
    name, data = cls.__name__, input_of(cls)
    uses = partial(use, data=data)
    changes = {"weights": weights_of} if name in WEIGHTED else {}
    by_all = {**COPIES, "file": partial(by_file, data=data)}
    if "dropout" not in inspect.signature(cls).parameters:
        # States of a layer's random draws are in files for `fit`, see saving/test_goes_on.py.
        draws = "seed" in inspect.signature(cls).parameters or name in HOLD_RANDOM
        yield Thing(
            f"layer {name}", partial(fresh, cls), uses, (cls,), changes, COPIES if draws else by_all
        )
    else:
        yield Thing(f"layer {name}", partial(fresh, cls), uses, (cls,), changes, by_all)
        yield Thing(f"layer {name} with dropout", partial(with_dropout, cls), uses, (cls,), changes)


ROWS = [row for cls in PUBLIC for row in of_class(cls)]
