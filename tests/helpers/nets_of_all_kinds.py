"""Small nets of all layers, activations, losses and optimizers, and hashes of what they learn.

    python tests/helpers/nets_of_all_kinds.py [PART OF A NAME]

prints a JSON of a hash a net: of its weights, losses, metrics and predictions after some epochs,
and of what an evaluation gives. The same on every machine: tests/promises/test_machines.py.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import cdl
from cdl import _core, activations, layers, losses, ops, optimizers

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1])]  # behind the cdl that is tried
import nets_of_benchmarks

ROWS = 83  # whole blocks of 16, blocks of 32, and some left over
NETS: dict[str, Callable[[], cdl.Model]] = {}
CLASSES = {"binary": 2, "sparse": 5, "categorical": 5}


def drawn(*shape: int) -> np.ndarray:
    """Numbers of all sizes, the same on every machine: Philox counts, and divisions are exact."""
    return drawn.generator.random(shape, np.float32) * 4 - 2


drawn.generator = np.random.Generator(np.random.Philox(5))


def net(function: Callable[[], object]) -> Callable[[], object]:
    """Put a function, which gives a model and its data, among the nets."""
    NETS[function.__name__] = function
    return function


def sequential(shape: tuple[int, ...], *stack: layers.Layer, **compiled: object):
    """A compiled model, and random data for its first and last layer."""
    model = cdl.Sequential([cdl.Input(shape), *stack])
    model.compile(**{"optimizer": optimizers.Adam(0.01), "loss": "mse", **compiled})
    return model, drawn(ROWS, *shape), drawn(ROWS, *model.output_shape[1:])


def classifier(shape, *stack, n=10, **compiled):
    """A model with a softmax over `n` classes, and data with class numbers as labels."""
    model = cdl.Sequential([cdl.Input(shape), *stack, layers.Dense(n, activation="softmax")])
    settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"}
    model.compile(**{**settings, "metrics": ["accuracy"], **compiled})
    return model, drawn(ROWS, *shape), drawn.generator.integers(0, n, ROWS)


# ---- like the nets of the benchmarks, smaller ----------------------------------------------------


@net
def tiny():
    return sequential((3,), layers.Dense(16, "relu"), layers.Dense(1))


@net
def seed():
    return sequential(
        (17,), layers.Dense(64, "tanh"), layers.Dense(64, "tanh"), layers.Dense(1), loss="huber"
    )


@net
def digits():
    return classifier((64,), layers.Dense(100, "relu"), layers.Dense(50, "relu"))


@net
def tabular():
    return sequential((100,), layers.Dense(130, "silu"), layers.Dense(70, "gelu"), layers.Dense(1))


@net
def mnist():
    return classifier((784,), layers.Dense(300, "relu"), layers.Dropout(0.3), n=26)


@net
def deep():
    return classifier((40,), *(layers.Dense(80, "relu") for _ in range(6)))


@net
def small_cnn():
    return classifier((8, 8, 1), layers.Conv2D(16, 3), layers.MaxPooling2D(), layers.Flatten())


@net
def mnist_cnn():
    return classifier(
        (14, 14, 1),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
    )


@net
def conv1d():
    return classifier(
        (50, 6),
        layers.Conv1D(32, 5, padding="causal", activation="relu"),
        layers.Conv1D(48, 3, strides=2, dilation_rate=1, activation="elu"),
        layers.AveragePooling1D(2),
        layers.Flatten(),
    )


@net
def mobile():
    return classifier(
        (12, 12, 3),
        layers.Conv2D(24, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(33, 3, padding="same"),
        layers.GlobalMaxPooling2D(),
    )


@net
def winograd():
    return classifier(
        (16, 16, 32),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
    )


@net
def many_images():
    model, x, y = winograd()
    return model, np.concatenate([x] * 3), np.concatenate([y] * 3)


@net
def gru():
    return sequential((11, 8), layers.GRU(32), layers.Dense(1))


@net
def lstm():
    return sequential(
        (11, 9),
        layers.Bidirectional(layers.LSTM(40, return_sequences=True)),
        layers.LSTM(33),
        layers.Dense(1),
    )


@net
def transformer():
    tokens = cdl.Input((20,), dtype="int32")
    x = layers.Embedding(50, 24)(tokens)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 24, dropout=0.1)(x, x)])
    x = layers.LayerNormalization()(x)
    y = layers.Dense(24)(layers.Dense(64, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.Dense(20, activation="relu")(layers.GlobalAveragePooling1D()(x))
    model = cdl.Model(tokens, layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"])
    return model, drawn.generator.integers(0, 50, (ROWS, 20)), drawn(ROWS, 1) > 0


# ---- the other layers ----------------------------------------------------------------------------


@net
def volumes():
    return classifier(
        (6, 7, 8, 3),
        layers.Conv3D(10, 3, activation="relu"),
        layers.MaxPooling3D(2),
        layers.Conv3D(20, 2, padding="same"),
        layers.AveragePooling3D(2),
        layers.Flatten(),
    )


@net
def transposed():
    return sequential(
        (5, 6, 7),
        layers.Conv2DTranspose(12, 3, strides=2, activation="relu"),
        layers.Conv2DTranspose(3, 2, padding="same"),
    )


@net
def transposed_others():
    return sequential(
        (9, 5),
        layers.Conv1DTranspose(17, 4, strides=3),
        layers.Reshape((7, 4, 17)),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.ZeroPadding2D(1),
        layers.Reshape((16, 5, 2, 17)),
        layers.Conv3DTranspose(2, 3),
    )


@net
def normalized():
    return classifier(
        (6, 10, 16),
        layers.BatchNormalization(renorm=False),
        layers.GroupNormalization(4),
        layers.LayerNormalization(axis=[1, 2]),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
        layers.SpectralNormalization(layers.Dense(20)),
        layers.Flatten(),
    )


@net
def noisy():
    return classifier(
        (10, 20),
        layers.GaussianNoise(0.2),
        layers.SpatialDropout1D(0.2),
        layers.Dense(30, activation="relu"),
        layers.GaussianDropout(0.2),
        layers.AlphaDropout(0.2),
        layers.Flatten(),
    )


@net
def recurrent_others():
    return sequential(
        (7, 5),
        layers.SimpleRNN(20, return_sequences=True, dropout=0.1),
        layers.GRU(18, reset_after=False, return_sequences=True, recurrent_dropout=0.1),
        layers.LSTM(21, activation="relu", recurrent_activation="hard_sigmoid"),
        layers.Dense(3),
    )


@net
def convolved_in_time():
    return classifier(
        (4, 6, 6, 3),
        layers.ConvLSTM2D(5, 3, return_sequences=True),
        layers.TimeDistributed(layers.Conv2D(7, 2)),
        layers.Flatten(),
    )


@net
def attentions():
    q, k = cdl.Input((9, 20)), cdl.Input((11, 20))
    dot = layers.Attention(use_scale=True)([q, k])
    sums = layers.AdditiveAttention()([q, k])
    grouped = layers.GroupQueryAttention(8, 4, 2)(q, k)
    x = layers.Concatenate()([dot, sums, grouped])
    model = cdl.Model([q, k], layers.Dense(1)(layers.GlobalMaxPooling1D()(x)))
    model.compile(optimizers.Lion(0.001), "mae")
    return model, [drawn(ROWS, 9, 20), drawn(ROWS, 11, 20)], drawn(ROWS, 1)


@net
def merged():
    a, b = cdl.Input((13,)), cdl.Input((13,))
    x = layers.Multiply()([a, layers.Dense(13, activation="sigmoid")(b)])
    y = layers.Maximum()([layers.Average()([a, b]), layers.PReLU()(layers.Subtract()([a, b]))])
    model = cdl.Model([a, b], layers.Dense(2)(layers.Concatenate()([x, y, layers.Dot(1)([a, b])])))
    model.compile("adam", "mse")
    return model, [drawn(ROWS, 13), drawn(ROWS, 13)], drawn(ROWS, 2)


@net
def einsums():
    return sequential(
        (6, 10),
        layers.EinsumDense("abc,cd->abd", (None, 18), bias_axes="d", activation="tanh"),
        layers.Lambda(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
        layers.Lambda(lambda x: ops.softmax(ops.cumsum(x, 1) - ops.logsumexp(x, -1, True))),
        layers.Lambda(lambda x: ops.mean(x * 0.5 + x, 1) + ops.std(x, 2) + ops.prod(x, 1)),
        layers.Dense(7),
        layers.ActivityRegularization(0.01, 0.01),
    )


@net
def regularized():
    dense = layers.Dense(
        40,
        activation="relu",
        kernel_regularizer=cdl.regularizers.L1L2(0.01, 0.02),
        bias_regularizer="l2",
        activity_regularizer="l1",
        kernel_constraint=cdl.constraints.MaxNorm(1.5),
    )
    adam = optimizers.AdamW(0.01, clipnorm=0.5, use_ema=True, ema_overwrite_frequency=3)
    return classifier((30,), dense, layers.Dense(1), layers.Dense(20), optimizer=adam)


@net
def accumulated():
    sgd = optimizers.SGD(
        optimizers.schedules.CosineDecay(0.1, 20), 0.9, gradient_accumulation_steps=2, clipvalue=0.1
    )
    return classifier((30,), layers.Dense(40, activation="relu"), optimizer=sgd)


@net
def narrow():
    """Widths round the registers: products of one column, and sums of a few numbers."""
    widths = (1, 2, 4, 7, 9, 1, 15, 1, 17, 1, 31, 1, 33, 1, 65, 1, 100, 3)
    return sequential((5,), *(layers.Dense(n, activation="softplus") for n in widths))


@net
def many_classes():
    return classifier((20,), layers.Dense(30), n=67)


# ---- every activation, loss, optimizer and operation ---------------------------------------------


def add_activations() -> None:
    """Two nets an activation: of single columns too."""
    for name in (n for n in dir(activations) if n not in NO_ACTIVATIONS and n[0] != "_"):
        NETS[f"activation {name}"] = lambda name=name: sequential(
            (9,), layers.Dense(21, name), layers.Dense(2, name), layers.Dense(1)
        )


NO_ACTIVATIONS = ("deserialize", "get", "glu", "serialize", "threshold")


NO_LOSSES = ("Circle", "Loss", "LossFunctionWrapper", "Quantile")


def losses_of_all_kinds() -> dict[str, Callable[[], object]]:
    """Nets by the name of a loss."""
    found = {}
    for name in dir(losses):
        made = getattr(losses, name)
        if not isinstance(made, type) or name in NO_LOSSES or not issubclass(made, losses.Loss):
            continue
        found[f"loss {name}"] = lambda made=made: with_loss(made)
    return found


def with_loss(made: type):
    """Labels that fit the kind of loss."""
    name = made.__name__
    if name == "CTC":
        model, x, _ = sequential((12, 6), layers.Dense(5), loss=made())
        return model, x, drawn.generator.integers(1, 5, (ROWS, 4))
    if "Sparse" in name or name == "CategoricalGeneralizedCrossEntropy":
        n = drawn.generator.integers(0, 5, ROWS)
        return (*classifier((9,), layers.Dense(11, "tanh"), n=5, loss=made())[:2], n)
    if "Categorical" in name:
        labels = np.eye(5, dtype="float32")[drawn.generator.integers(0, 5, ROWS)]
        return (*classifier((9,), layers.Dense(11, "tanh"), n=5, loss=made())[:2], labels)
    model, x, y = sequential(
        (9,), layers.Dense(21, "tanh"), layers.Dense(18, "sigmoid"), loss=made()
    )
    return model, x, (y > 0).astype("float32")


def add_optimizers() -> None:
    """Each class; and those whose options are rows of their own."""
    several = {
        "RMSprop": [{}, {"momentum": 0.9}, {"centered": True}, {"momentum": 0.5, "centered": True}],
        "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
        "Adam": [{}, {"amsgrad": True}],
        "Ftrl": [{}, {"learning_rate_power": -0.3}],
    }
    for name in dir(optimizers):
        made = getattr(optimizers, name)
        if not isinstance(made, type) or not issubclass(made, optimizers.Optimizer):
            continue
        if name in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer"):
            continue
        for options in several.get(name, [{}]):
            NETS[f"optimizer {name} {options}"] = lambda made=made, options=options: classifier(
                (12,), layers.Dense(30, "tanh"), optimizer=made(0.01, **options)
            )


def add_operations() -> None:
    """Each primitive of an expression, and its gradient, between two dense layers."""
    for name in _core.ELEMENTWISE:
        function = getattr(ops, name, None) or getattr(ops, f"arc{name[1:]}", None)
        if function is None:
            continue
        arity = 2 if name in TWO else 3 if name == "where" else 1
        NETS[f"ops.{name}"] = lambda function=function, arity=arity: of_operation(function, arity)


TWO = {"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "floor_divide"}
TWO |= {"mod", "fmod", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
TWO |= {"logical_and", "logical_or", "logical_xor", "atan2", "arctan2"}


def of_operation(function, arity: int):
    def call(x):
        a, b = ops.sigmoid(x) * 0.9, ops.tanh(x) + 2.1
        arguments = {1: [b if function is ops.arccosh else a], 2: [a, b], 3: [x > 0, a, b]}[arity]
        return ops.cast(function(*arguments), "float32") + x * 0.1

    return sequential((9,), layers.Dense(21), layers.Lambda(call), layers.Dense(3))


def hashes(part: str = "") -> dict[str, str]:
    """A hash of each net of which the name has this part."""
    found = {}
    for name, make in NETS.items():
        if part not in name:
            continue
        drawn.generator = np.random.Generator(np.random.Philox(5))
        cdl.utils.set_random_seed(3)
        model, x, y, *batch = make()
        left = []
        takes_all = isinstance(model.optimizer, optimizers.LBFGS)
        for size in batch or ((None, None) if takes_all else (32, 19)):
            history = model.fit(x, y, batch_size=size, epochs=2, verbose=0).history
            left += [np.array(history[key]) for key in sorted(history)]
        left += [np.array(model.evaluate(x, y, batch_size=50, verbose=0))]
        left += [model.predict(x, verbose=0), *model.get_weights()]
        left += [np.asarray(v) for v in model.optimizer.variables]
        digest = hashlib.sha256()
        for each in left:
            digest.update(np.ascontiguousarray(each).tobytes())
        found[name] = digest.hexdigest()[:16]
    return found


add_activations()
NETS.update(losses_of_all_kinds())
add_optimizers()
add_operations()
NETS.update(nets_of_benchmarks.nets(drawn))

if __name__ == "__main__":
    print(json.dumps(hashes(*sys.argv[1:2]), indent=1))
