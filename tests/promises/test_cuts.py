"""Every layer learns equal bits however a run is cut: by epoch, by batch, by callbacks.

Weights change within a run, so whatever the core makes of them is made again when they do: packed
kernels, folded statistics, rounded copies. Each layer stands between two that learn, as it trains,
frozen, and called with `training=False`.
"""

import inspect

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.trainers import learner, predictors, train_function

RNG = np.random.default_rng(0)
ROWS, BATCH = 44, 8  # the last batch is a part of one

LINE, STEPS, PLANE, BOX, FRAMES = (8,), (6, 8), (5, 6, 8), (4, 4, 5, 4), (3, 5, 6, 4)


def _recurrent(name, **options):
    return lambda: getattr(layers, name)(5, **options)


# name: what makes it, and the shape of a sample that it gets
MAKERS = {
    "Activation": (lambda: layers.Activation("gelu"), LINE),
    "AdditiveAttention": (layers.AdditiveAttention, STEPS),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.3, seed=1), LINE),
    "Attention": (
        lambda: layers.Attention(True, "dot", 0.2, seed=1),
        STEPS,
    ),
    "BatchNormalization": (layers.BatchNormalization, LINE),
    "BatchNormalization of planes": (layers.BatchNormalization, PLANE),
    "BatchNormalization along 1": (lambda: layers.BatchNormalization(1), STEPS),
    "BatchNormalization, renormalized": (
        lambda: layers.BatchNormalization(renorm=True),
        STEPS,
    ),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(5)), STEPS),
    "Conv1D": (lambda: layers.Conv1D(6, 3, activation="relu"), STEPS),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(6, 3), STEPS),
    "Conv2D": (lambda: layers.Conv2D(6, 3, activation="tanh"), PLANE),
    "Conv2D by Winograd": (
        lambda: layers.Conv2D(32, 3, padding="same"),
        (8, 8, 32),
    ),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(6, 3, strides=2), PLANE),
    "Conv3D": (lambda: layers.Conv3D(3, 2), BOX),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(3, 2), BOX),
    "ConvLSTM1D": (lambda: layers.ConvLSTM1D(3, 2), PLANE),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(3, 2), FRAMES),
    "ConvLSTM3D": (lambda: layers.ConvLSTM3D(2, 2), (2, 4, 3, 3, 2)),
    "Dense": (lambda: layers.Dense(6, "relu"), LINE),
    "Dense, quantized": (lambda: layers.Dense(6, dtype="int8_from_float32"), LINE),
    "Dense with LoRA": (lambda: layers.Dense(6, lora_rank=2), LINE),
    "Dense in bfloat16": (lambda: layers.Dense(6, dtype="mixed_bfloat16"), LINE),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3), STEPS),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3), PLANE),
    "Dropout": (lambda: layers.Dropout(0.3, seed=1), LINE),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cd->abd", (None, 5)), STEPS),
    "GRU": (_recurrent("GRU"), STEPS),
    "GRU in bfloat16": (_recurrent("GRU", dtype="mixed_bfloat16"), STEPS),
    "GRU, reset before": (_recurrent("GRU", reset_after=False), STEPS),
    "GRU with dropout": (_recurrent("GRU", recurrent_dropout=0.2, dropout=0.2, seed=1), STEPS),
    "GRUCell": (lambda: layers.RNN(layers.GRUCell(5)), STEPS),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.3, seed=1), LINE),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.3, seed=1), LINE),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), STEPS),
    "GroupQueryAttention": (
        lambda: layers.GroupQueryAttention(4, 4, 2),
        STEPS,
    ),
    "LSTM": (_recurrent("LSTM"), STEPS),
    "LSTM, sequences": (_recurrent("LSTM", return_sequences=True), STEPS),
    "LSTMCell": (lambda: layers.RNN(layers.LSTMCell(5)), STEPS),
    "LayerNormalization": (layers.LayerNormalization, STEPS),
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(2, 4, dropout=0.2, seed=1),
        STEPS,
    ),
    "ColumnDense": (lambda: layers.ColumnDense(3, "tanh"), STEPS),
    "ColumnScaling": (layers.ColumnScaling, LINE),
    "EnsembleDense": (lambda: layers.EnsembleDense(4, 3, "relu"), LINE),
    "EnsembleDense, apart": (lambda: layers.EnsembleDense(4, 3, shared=False), LINE),
    "ParametricActivation": (lambda: layers.ParametricActivation("mish"), STEPS),
    "PeriodicEmbedding": (lambda: layers.PeriodicEmbedding(4, 6, 0.3), LINE),
    "PeriodicEmbedding, PBLD": (
        lambda: layers.PeriodicEmbedding(4, 6, 0.3, None, True, True),
        LINE,
    ),
    "PReLU": (layers.PReLU, STEPS),
    "RMSNormalization": (layers.RMSNormalization, STEPS),
    "RNN": (lambda: layers.RNN(layers.SimpleRNNCell(5)), STEPS),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(6, 3), STEPS),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(6, 3), PLANE),
    "SimpleRNN": (_recurrent("SimpleRNN"), STEPS),
    "SimpleRNNCell": (lambda: layers.RNN(layers.SimpleRNNCell(5)), STEPS),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.3, seed=1), STEPS),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.3, seed=1), PLANE),
    "SpatialDropout3D": (lambda: layers.SpatialDropout3D(0.3, seed=1), BOX),
    "SpectralNormalization": (
        lambda: layers.SpectralNormalization(layers.Dense(5)),
        LINE,
    ),
    "SpectralNormalization of Conv2D": (
        lambda: layers.SpectralNormalization(
            layers.Conv2D(32, 3, padding="same"), power_iterations=2
        ),
        (8, 8, 32),
    ),
    "StackedRNNCells": (
        lambda: layers.RNN([layers.GRUCell(5), layers.LSTMCell(4)]),
        STEPS,
    ),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Conv1D(3, 2)), PLANE),
    "TimeDistributed BatchNormalization": (
        lambda: layers.TimeDistributed(layers.BatchNormalization()),
        PLANE,
    ),
    "UnitNormalization": (layers.UnitNormalization, STEPS),
}
# Layers that read whole numbers.
TABLES = {
    "Embedding": lambda: layers.Embedding(9, 4),
    "Embedding with LoRA": lambda: layers.Embedding(9, 4, lora_rank=2),
    "ReversibleEmbedding": lambda: layers.ReversibleEmbedding(9, 4),
}
MODES = ["trained", "frozen", "training=False", "training=False, frozen"]


def _model(name, mode):
    cdl.utils.set_random_seed(3)
    make, shape = MAKERS.get(name) or (TABLES[name], LINE)
    whole = name in TABLES
    x = cdl.Input(shape, dtype="int32" if whole else "float32")
    h = x if whole else layers.Dense(shape[-1], name="before")(x)
    layer = make()
    layer.trainable = "frozen" not in mode
    lists, pairs = ("AdditiveAttention", "Attention"), ("MultiHeadAttention", "GroupQueryAttention")
    arguments = ([h, h],) if name in lists else (h, h) if name in pairs else (h,)
    h = layer(*arguments, **({"training": False} if "training=False" in mode else {}))
    model = cdl.Model(x, layers.Dense(2, name="behind")(layers.Flatten()(h)))
    rng = np.random.default_rng(5)
    for w in layer.weights:  # what initializers leave at 0 or 1, statistics too
        if w.dtype == "float32" and w.name not in ("kernel_scale", "vector_u"):
            w.assign(np.abs(w.numpy() + rng.normal(size=w.shape) * 0.2) + 0.05)
    model.compile(cdl.optimizers.Adam(0.02), "mse")
    return model


def _data(name):
    shape = MAKERS[name][1] if name in MAKERS else LINE
    x = RNG.integers(0, 9, (ROWS, *shape)) if name in TABLES else RNG.normal(size=(ROWS, *shape))
    return x.astype("int32" if name in TABLES else "float32"), RNG.normal(size=(ROWS, 2))


class _Asked(cdl.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def _bits(model):
    return [np.array(w).tobytes() for w in [*model.weights, *model.optimizer.variables]]


# A program decides by its work how many threads it is worth: here it is told. Each takes some rows,
# or all share each instruction.
TEAMS = {
    "one": {"threads": 1},
    "two by rows": {"threads": 2, "lockstep": False},
    "two in lockstep": {"threads": 2, "lockstep": True},
}
CASES = [
    pytest.param(mode, team, id=f"{mode}, {team}")
    for mode in MODES
    for team in TEAMS
    if team == "one" or mode == "trained" or (mode, team) == ("training=False", "two in lockstep")
]


@pytest.fixture
def teams(monkeypatch):
    """A function that has all programs run by a team; it gives the list of those that train."""

    def told(team):
        def make(*args, **kwargs):
            executor = Executor(*args, **kwargs, **TEAMS[team])
            trains.extend([executor] * ("predicts" not in kwargs))
            return executor

        trains, Executor = [], train_function.Executor
        for module in (learner, train_function, predictors):
            monkeypatch.setattr(module, "Executor", make)
        return trains

    return told


@pytest.mark.parametrize(("mode", "team"), CASES)
@pytest.mark.parametrize("name", [*MAKERS, *TABLES])
def test_fit_is_train_on_batch_is_fit_with_a_callback(name, mode, team, teams):
    trains = teams(team)
    x, y = _data(name)
    fit, stepped, asked = (_model(name, mode) for _ in range(3))
    for a, b in zip(fit.get_weights(), stepped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    history = fit.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0).history["loss"]
    asked_of = asked.fit(
        x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[_Asked()]
    ).history["loss"]
    for _ in range(2):
        for at in range(0, ROWS, BATCH):
            stepped.train_on_batch(x[at : at + BATCH], y[at : at + BATCH])
    assert np.isfinite(history).all()
    assert history == asked_of
    assert _bits(fit) == _bits(asked)
    assert _bits(fit) == _bits(stepped)
    np.testing.assert_array_equal(fit.predict(x, verbose=0), stepped.predict(x, verbose=0))
    assert {each.threads for each in trains} == {TEAMS[team]["threads"]}


# Layers without weights, and image and text layers, whose statistics `fit` leaves alone.
WITHOUT = (
    *("activations.rectifiers", "activations.softmax", "activations.increasing", "identity"),
    *("input", "input_spec", "numerical.piecewise_linear"),
    *("lambda_layer", "masking", "merging", "pooling", "preprocessing", "reshaping"),
    *("layer", "wrapper", "regularization.activity_regularization"),
)


def test_every_layer_with_weights_is_tried():
    tried = {name.split(",")[0].split()[0] for name in [*MAKERS, *TABLES]}
    for name, each in vars(layers).items():
        if not inspect.isclass(each) or each.__name__ in tried:
            continue
        assert each.__module__.startswith(tuple(f"cdl.layers.{room}" for room in WITHOUT)), name
