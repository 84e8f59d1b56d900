"""`fit` calls the core once an epoch, whatever the net is made of."""

import inspect
import re

import numpy as np
import pytest

from cdl import activations, layers, losses, metrics, optimizers
from cdl.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.trainers import fit_loop, learner, train_function

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype(np.float32)
LINES = RNG.normal(size=(48, 4, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 48)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
EPOCHS, STEPS = 3, 6


@pytest.fixture
def calls(monkeypatch):
    """The calls of executors that run batches, by name."""
    seen = []

    def counted(name):
        def call(self, *args):
            seen.append(name)
            return getattr(self.executor, name)(*args)

        return call

    class Executor:
        def __init__(self, *args, **kwargs):
            self.executor = real(*args, **kwargs)

        def __getattr__(self, name):
            return getattr(self.executor, name)

        train, test, forward = counted("train"), counted("test"), counted("forward")

    real = train_function.Executor
    for module in (learner, train_function):
        monkeypatch.setattr(module, "Executor", Executor)
    monkeypatch.setattr(fit_loop, "SLICE", 1e9)  # a busy machine must not matter
    return seen


def fit(calls, model, x=X, y=CLASSES, **kwargs):
    """Train, and assert that there was one call an epoch, and one for each validation."""
    given = {"batch_size": 8, "epochs": EPOCHS, "verbose": 0, "validation_data": (x, y)}
    history = model.fit(x, y, **(given | kwargs))
    assert calls == ["train", "test"] * EPOCHS
    assert history.params["steps"] == STEPS
    return history


def net(*inner, loss="sparse_categorical_crossentropy", optimizer="sgd", shape=(6,), **compile):
    model = Sequential([Input(shape), *inner, Dense(3, "softmax")])
    model.compile(optimizer, loss, **compile)
    return model


# Arguments of each layer; layers that change the rank of their input come with others.
MADE = {
    "Activation": ("relu",),
    "CategoryEncoding": None,
    "Discretization": ([-1.0, 0.0, 1.0],),
    "Dropout": (0.3,),
    "AlphaDropout": (0.3,),
    "Dense": (5, "relu"),
    "GaussianDropout": (0.3,),
    "GaussianNoise": (0.3,),
    "GroupNormalization": (2,),
    "ActivityRegularization": (0.01, 0.01),
    "Rescaling": (0.5,),
    "Reshape": ((6,),),
    "Permute": ((1,),),
    "RepeatVector": None,
    "SpatialDropout1D": None,
    "SpatialDropout2D": None,
    "SpatialDropout3D": None,
    "Normalization": None,
    "InputLayer": None,
    "Lambda": None,
    "Layer": None,
    "Embedding": None,
    "ReversibleEmbedding": None,
    "ParametricActivation": ("mish",),
    "Pipeline": ([layers.Rescaling(0.5), layers.Activation("tanh")],),
    "EinsumDense": ("ab,bc->ac", 5),
    # Layers of several values: see tests/layers/test_merging.py
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    **dict.fromkeys(("Concatenate", "Dot", "HashedCrossing")),
}
# Layers of images; those that change labels or boxes too are for arrays.
IMAGES = {
    **dict.fromkeys(("CenterCrop", "RandomCrop", "Resizing"), (4, 4)),
    **dict.fromkeys(("AutoContrast", "RandomErasing", "RandomFlip", "RandomGaussianBlur"), ()),
    **dict.fromkeys(("RandomColorJitter", "RandomGrayscale", "RandomInvert"), ()),
    **dict.fromkeys(("RandomPerspective", "RandomShear", "Solarization"), ()),
    **dict.fromkeys(("RandomBrightness", "RandomColorDegeneration", "RandomContrast"), (0.2,)),
    **dict.fromkeys(("RandomHue", "RandomRotation", "RandomSaturation"), (0.2,)),
    **dict.fromkeys(("RandomSharpness", "RandomZoom"), (0.2,)),
    "RandomPosterization": (4,),
    "RandomTranslation": (0.2, 0.2),
    **dict.fromkeys(("AugMix", "ContrastLimitedAdaptiveHistogramEqualization"), ()),
    **dict.fromkeys(("Equalization", "RandAugment", "RandomElasticTransform"), ()),
    **dict.fromkeys(("CutMix", "MaxNumBoundingBoxes", "MixUp")),
}
# Layers along time; cells alone give their states too.
ALONG_TIME = {
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU"), lambda made: made(5)),
    "RNN": lambda made: made(layers.GRUCell(5)),
    "Bidirectional": lambda made: made(layers.LSTM(3)),
    "TimeDistributed": lambda made: made(layers.Dense(3)),
    **dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell", "StackedRNNCells")),
}
# Layers of tables that make lines of columns.
OF_COLUMNS = {
    "EnsembleDense": {"units": 2, "members": 3},
    "PeriodicEmbedding": {"units": 2, "frequencies": 3},
    "PiecewiseLinearEncoding": {"bins": [[-1.0, 0.0, 1.0]] * 6},
}
# Layers of texts and keys: arguments, and the input.
TEXTS, KEYS = np.array(["a b", "b", "c a"] * 16)[:, None], np.arange(48)[:, None] % 5
OF_KEYS = {
    "Hashing": ({"num_bins": 9, "output_mode": "one_hot"}, KEYS),
    "IntegerLookup": ({"vocabulary": [1, 2], "output_mode": "multi_hot"}, KEYS),
    "StringLookup": ({"vocabulary": ["b"], "output_mode": "one_hot"}, TEXTS),
    "TextVectorization": ({"vocabulary": ["a"], "output_mode": "count"}, TEXTS),
}
LAYERS = sorted(
    name
    for name, value in vars(layers).items()
    if inspect.isclass(value)
    and issubclass(value, layers.Layer)
    and name not in ("Wrapper", "SpectralNormalization")  # which divides before each step
)


class ToItself(layers.Layer):
    """Attention of a value to itself."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer([x, x]) if isinstance(self.layer, layers.Attention) else self.layer(x, x)


def stack_of(name):
    """A stack of layers with the one of that name, the input's shape, and the input."""
    made = getattr(layers, name)
    lines = [layers.Flatten()]
    if name == "RepeatVector":
        return [made(3), *lines], (6,), X
    if name == "SpatialDropout1D":
        return [made(0.3), *lines], (4, 6), LINES
    if name.startswith("Global"):
        x = LINES.reshape(48, *([2] * (int(name[-2]) - 1)), -1, 3)
        return [made()], x.shape[1:], x
    if name.startswith("SpatialDropout"):
        rank = int(name[-2]) - 1
        x = LINES.reshape(48, *([2] * rank), -1, 3)
        return [made(0.3), *lines], x.shape[1:], x
    if name == "Normalization":
        layer = made()
        layer.adapt(X)
        return [layer], (6,), X
    if name in OF_COLUMNS:
        return [made(**OF_COLUMNS[name]), *lines], (6,), X
    if name == "ColumnDense":
        return [made(2), *lines], (4, 6), LINES
    if name.endswith("Attention"):
        arguments = {"MultiHeadAttention": (2, 3), "GroupQueryAttention": (3, 4, 2)}
        arguments["GroupedQueryAttention"] = arguments["GroupQueryAttention"]
        return [ToItself(made(*arguments.get(name, ()))), *lines], (4, 6), LINES
    if name.endswith("Spectrogram"):
        mel = {"sequence_length": 16, "fft_length": 16, "sequence_stride": 8, "num_mel_bins": 5}
        plain = {"frame_length": 16, "fft_length": 16, "frame_step": 8}
        shape = (64,) if name[0] == "M" else (64, 1)
        x = RNG.normal(size=(48, *shape)).astype(np.float32)
        return [made(**(mel if name[0] == "M" else plain)), *lines], shape, x
    if name == "CategoryEncoding":
        return [made(4)], (6,), RNG.integers(0, 4, (48, 6)).astype(np.float32)
    if name in IMAGES:
        x = RNG.uniform(0, 255, (48, 6, 6, 3)).astype(np.float32)
        images = IMAGES[name]
        return None if images is None else ([made(*images), *lines], x.shape[1:], x)
    if name in OF_KEYS:
        given, x = OF_KEYS[name]
        return [made(**given)], (1,), x
    if name in ALONG_TIME:
        along = ALONG_TIME[name]
        return None if along is None else ([along(made), *lines], (4, 6), LINES)
    if name.startswith("ConvLSTM"):
        x = RNG.normal(size=(48, 3, *[4] * int(name[-2]), 2)).astype(np.float32)
        return [made(3, 2), *lines], x.shape[1:], x
    if windows := re.match(r"(\w*Conv|Adaptive|Av|Max|Zero|Cropping|UpSampling)\D*(\d)D", name):
        x = RNG.normal(size=(48, *[4] * int(windows[2]), 2)).astype(np.float32)
        of_family = {"Adaptive": (2,), "Av": (2,), "DepthwiseConv": (2,)}
        arguments = of_family.get(windows[1], (3, 2) if "Conv" in windows[1] else ())
        return [made(*arguments), *lines], x.shape[1:], x
    arguments = MADE.get(name, ())
    return None if arguments is None else ([Dense(6), made(*arguments)], (6,), X)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, calls):
    made = stack_of(name)
    if made is None:
        pytest.skip("no layer to put into a net by itself")
    stack, shape, x = made
    fit(calls, net(*stack, shape=shape, metrics=["accuracy"]), x)


def test_masks_and_nested_models(calls):
    inner = Sequential([layers.Masking(), Dense(4, "tanh"), layers.BatchNormalization()])
    model = Sequential([Input((4, 6)), inner, Dense(3, "softmax")])
    y = np.tile(CLASSES[:, None], 4)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"])
    fit(calls, model, LINES, y)


@pytest.mark.parametrize("name", sorted(set(activations._family.names())))
def test_activations(name, calls):
    if name in ("glu", "threshold"):
        pytest.skip("halves its input, or needs arguments")
    fit(calls, net(Dense(6, activation=name)))


OPTIMIZERS = sorted(
    name
    for name, value in vars(optimizers).items()
    if inspect.isclass(value)
    and issubclass(value, optimizers.Optimizer)
    # Optimizers but for the base, two that look at every batch, and one that takes no batches.
    and name not in {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "LBFGS"}
)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, calls):
    fit(calls, net(Dense(5, "relu"), optimizer=getattr(optimizers, name)()))


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.01},
        {"clipnorm": 0.1},
        {"clipvalue": 0.1},
        {"global_clipnorm": 0.1},
        {"use_ema": True},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2},
        {"learning_rate": optimizers.schedules.CosineDecay(0.1, 10)},
        {"decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
    ],
    ids=str,
)
def test_what_stands_around_a_step(options, calls):
    fit(calls, net(Dense(5, "relu"), optimizer=optimizers.SGD(**{"learning_rate": 0.1} | options)))


def test_regularizers_and_constraints(calls):
    layer = Dense(
        5,
        kernel_regularizer="l1l2",
        bias_regularizer="l2",
        activity_regularizer="l1",
        kernel_constraint="max_norm",
        bias_constraint="non_neg",
    )
    fit(calls, net(layer, Dense(4, kernel_constraint="unit_norm")))


# Arguments of metrics of one-hot targets, of class numbers, and of a single output.
METRICS = {
    "SparseTopKCategoricalAccuracy": {"k": 2},
    "TopKCategoricalAccuracy": {"k": 2},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "IoU": {"num_classes": 3, "target_class_ids": [0], "sparse_y_pred": False},
    "MeanIoU": {"num_classes": 3, "sparse_y_pred": False},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 3},
    "BinaryIoU": {"target_class_ids": [0, 1]},
}
NOT_COMPILED = {"Metric", "Mean", "Sum", "MeanMetricWrapper", "MeanOfLoss"}
CLASS_NUMBERS = {
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "IoU",
    "MeanIoU",
}


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, value in vars(metrics).items()
        if inspect.isclass(value) and issubclass(value, metrics.Metric) and name not in NOT_COMPILED
    ),
)
def test_metrics(name, calls):
    cls, arguments = getattr(metrics, name), METRICS.get(name, {})
    metric, weighted = cls(**arguments), cls(**arguments, name="weighted")
    y = CLASSES if name in CLASS_NUMBERS else ONE_HOT
    loss = f"{'sparse_' if y is CLASSES else ''}categorical_crossentropy"
    history = fit(
        calls, net(Dense(5), loss=loss, metrics=[metric], weighted_metrics=[weighted]), y=y
    )
    assert any(key.startswith("val_") and key != "val_loss" for key in history.history)


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, value in vars(losses).items()
        if inspect.isclass(value)
        and issubclass(value, losses.Loss)
        and name not in {"Loss", "LossFunctionWrapper", "Circle", "Dice", "Tversky"}
    ),
)
def test_losses(name, calls):
    numbers = name.startswith("Sparse") or name == "CategoricalGeneralizedCrossEntropy"
    y = CLASSES[:, None] if name == "CTC" else CLASSES if numbers else ONE_HOT
    inner = [Dense(10), layers.Reshape((2, 5))] if name == "CTC" else [Dense(5)]
    arguments = {"quantiles": 0.9} if name == "Quantile" else {}
    fit(calls, net(*inner, loss=getattr(losses, name)(**arguments)), y=y)


def test_callbacks_of_epochs(calls, tmp_path):
    callbacks = [
        EarlyStopping("val_loss", patience=9),
        ReduceLROnPlateau("loss"),
        ModelCheckpoint(tmp_path / "m.weights.h5", save_weights_only=True),
    ]
    fit(calls, net(), callbacks=callbacks)


def test_weights_of_samples_and_classes(calls):
    fit(calls, net(weighted_metrics=["accuracy"]), class_weight={0: 2.0})


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_python_code_of_one_s_own_is_called_at_each_batch(calls):
    def distance(y_true, y_pred):
        return ((np.asarray(y_true) - y_pred) ** 2).mean(-1)

    net(loss=distance).fit(X, ONE_HOT, batch_size=8, verbose=0)
    assert calls == ["forward"] * STEPS
