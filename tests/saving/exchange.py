"""Models that travel between cdl and Keras: made, trained, saved, read, trained on.

A case is a function of the module under test, `cdl` or `keras`, that gives a compiled model.

    python tests/saving/exchange.py write FOLDER    has Keras train and save all cases
    python tests/saving/exchange.py read FOLDER     has Keras read what is there and train it on
    python tests/saving/exchange.py read FOLDER adam nested         the same with some of the cases
    python tests/saving/exchange.py record          records what the tests read: from_keras/
"""

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "from_keras"
RNG = np.random.RandomState(7)
X = (RNG.normal(size=(40, 6)) * [1, 2, 0.5, 1, 3, 1] + [0, 1, 0, -2, 0, 0.5]).astype("float32")
Y = np.stack([np.sin(X[:, 0]) + X[:, 1] * 0.2, X[:, 2] * X[:, 3]], 1).astype("float32")
LABELS = (np.abs(X).sum(1) * 2 % 3).astype("int64")
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


def _net(K, units=2, activation=None, first="tanh", **dense):
    return K.Sequential(
        [K.Input((6,)), K.layers.Dense(5, first, **dense), K.layers.Dense(units, activation)]
    )


def _with(name, **arguments):
    """A case with an optimizer that has all its arguments away from the defaults."""

    def case(K):
        given = dict(arguments)
        rate = given.pop("learning_rate", 0.01)
        if callable(rate):
            rate = rate(K)
        model = _net(K)
        model.compile(getattr(K.optimizers, name)(rate, **given), "mse", metrics=["mae"])
        return model

    case.__name__ = name.lower()
    return case


def batch_normalization(K):
    layers = K.layers
    model = K.Sequential(
        [
            K.Input((6,)),
            layers.Dense(5, use_bias=False),
            layers.BatchNormalization(momentum=0.9, epsilon=0.01),
            layers.Activation("relu"),
            layers.LayerNormalization(),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        K.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9),
        "categorical_crossentropy",
        metrics=["accuracy", K.metrics.AUC(name="area")],
    )
    return model


def normalization(K):
    adapted = K.layers.Normalization()
    adapted.adapt(X)
    model = K.Sequential(
        [
            K.Input((6,)),
            adapted,
            K.layers.Dense(5, "gelu"),
            K.layers.PReLU(),
            K.layers.Dropout(0.0),
            K.layers.Dense(2),
        ]
    )
    model.compile(
        K.optimizers.RMSprop(0.01, clipnorm=0.5),
        K.losses.Huber(),  # with another delta Keras's own file does not say which
        metrics=[K.metrics.RootMeanSquaredError()],
    )
    return model


def nested(K):
    innermost = K.Sequential([K.layers.Dense(4, "elu"), K.layers.BatchNormalization()], name="deep")
    inner = K.Sequential([K.layers.Dense(3, "tanh"), innermost, K.layers.Dense(2)])
    model = K.Sequential([K.Input((6,)), K.layers.Dense(3, "relu"), inner, K.layers.Dense(2)])
    model.compile(
        K.optimizers.SGD(
            K.optimizers.schedules.CosineDecay(0.1, 30, warmup_target=0.15, warmup_steps=4),
            momentum=0.8,
            nesterov=True,
            weight_decay=0.01,
        ),
        ["mse"],
        loss_weights=[0.5],
        weighted_metrics=["mse"],
    )
    return model


def restrained(K):
    model = _net(
        K,
        3,
        "softmax",
        kernel_regularizer=K.regularizers.L1L2(0.001, 0.02),
        bias_regularizer="l2",
        activity_regularizer=K.regularizers.L2(0.01),
        kernel_constraint=K.constraints.MaxNorm(1.5),
        bias_constraint="non_neg",
        kernel_initializer=K.initializers.RandomUniform(-0.3, 0.3),
    )
    model.compile(
        K.optimizers.Adam(
            K.optimizers.schedules.ExponentialDecay(0.05, 3, 0.9, staircase=True),
            gradient_accumulation_steps=2,
            global_clipnorm=1.0,
        ),
        K.losses.SparseCategoricalCrossentropy(),
        metrics=["acc", K.metrics.SparseTopKCategoricalAccuracy(2)],
    )
    return model


def frozen_and_shaped(K):
    layers = K.layers
    model = K.Sequential(
        [
            K.Input((6,)),
            layers.Rescaling(0.5, 0.1),
            layers.Dense(12, "selu", trainable=False),
            layers.Reshape((3, 4)),
            layers.GroupNormalization(2),
            layers.Dense(2, layers.LeakyReLU(0.2)),
            layers.Flatten(),
            layers.RMSNormalization(),
            layers.Dense(2),
        ]
    )
    model.compile(K.optimizers.Adam(0.01, amsgrad=True), K.losses.LogCosh())
    return model


def things_of_one_s_own(K):
    """All of these are in `custom_objects(K)`."""
    own = custom_objects(K)
    model = _net(K, kernel_regularizer=own["Quartic"](0.01), kernel_initializer=own["Stairs"](0.1))
    model.compile(K.optimizers.Nadam(0.01), own["skewed"], metrics=[own["largest"]])
    return model


def functional(K):
    """A graph with a layer that is called twice, and a model within."""
    layers = K.layers
    x = K.Input((6,), name="x")
    shared = layers.Dense(6, "tanh", name="shared")
    inner = K.Sequential([layers.Dense(4, "relu"), layers.BatchNormalization()], name="inner")
    joined = layers.Concatenate()([shared(x), shared(shared(x)), inner(x)])
    y = layers.Add()([layers.Dense(2)(joined), layers.Dense(2)(x)])
    model = K.Model(x, y, name="graph")
    model.compile(K.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def images(K):
    """Every kind of convolution, in both data formats, and pooling."""
    layers = K.layers
    model = K.Sequential(
        [
            K.Input((6,)),
            layers.Dense(48, "tanh"),
            layers.Reshape((4, 4, 3)),
            layers.Conv2D(6, 3, padding="same", groups=3, use_bias=False, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.UpSampling2D(2),
            layers.MaxPooling2D(3, strides=2, padding="same"),
            layers.SeparableConv2D(4, 2, depth_multiplier=2, depthwise_constraint="max_norm"),
            layers.DepthwiseConv2D(2, use_bias=False, data_format="channels_first"),
            layers.Conv2DTranspose(3, 2, 2, activation="elu"),
            layers.Permute((3, 1, 2)),
            layers.AveragePooling2D(2, data_format="channels_first"),
            layers.Reshape((3, 6)),
            layers.Conv1D(5, 2, padding="causal", activation="tanh", data_format="channels_first"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(2),
        ]
    )
    model.compile(K.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def layer_of_one_s_own(K):
    """Layers within it in a list, a dict and attributes, also a private one."""
    block = custom_objects(K)["Block"]
    model = K.Sequential([K.Input((6,)), block(4), block(3), K.layers.Dense(2)])
    model.compile(K.optimizers.Adam(0.01), "mse")
    return model


def model_of_one_s_own(K):
    model = custom_objects(K)["Net"](3)
    model(X[:1])
    model.compile(K.optimizers.RMSprop(0.01, momentum=0.5), "mse")
    return model


def custom_objects(K):
    class Block(K.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.stack = [K.layers.Dense(units, "tanh"), K.layers.Dense(units)]
            self.named = {"z": K.layers.Dense(units), "a": K.layers.Dense(units, use_bias=False)}
            self._last = K.layers.LayerNormalization()

        def build(self, input_shape):
            shape = (None, self.units)
            self.scale = self.add_weight(shape=(self.units,), initializer="ones", name="scale")
            self.still = self.add_weight(
                shape=(self.units,), initializer="ones", trainable=False, name="still"
            )
            self.stack[0].build(input_shape)
            for layer in (self.stack[1], *self.named.values(), self._last):
                layer.build(shape)
            super().build(input_shape)

        def call(self, inputs):
            x = self.stack[1](self.stack[0](inputs))
            return self._last(self.named["z"](x) + self.named["a"](x)) * self.scale * self.still

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Net(K.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.before = Block(units)
            self.blocks = [Block(units), K.layers.Dense(units), Block(units)]
            self.out = K.layers.Dense(2)

        def call(self, inputs):
            x = self.before(inputs)
            for block in self.blocks:
                x = block(x)
            return self.out(x)

        def get_config(self):
            return {"units": self.units}

    class Quartic(K.regularizers.Regularizer):
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return self.factor * (x * x * x * x).sum()

        def get_config(self):
            return {"factor": self.factor}

    class Stairs(K.initializers.Initializer):
        def __init__(self, step):
            self.step = step

        def __call__(self, shape, dtype=None):
            return self.step * (np.arange(np.prod(shape)).reshape(shape) % 7 - 3).astype("float32")

        def get_config(self):
            return {"step": self.step}

    def skewed(y_true, y_pred):
        difference = y_pred - y_true
        return ((difference * difference) * (1.0 + 0.3 * difference * difference)).mean(-1)

    def largest(y_true, y_pred):
        return abs(y_pred - y_true).max(-1)

    return {
        "Block": Block,
        "Net": Net,
        "Quartic": Quartic,
        "Stairs": Stairs,
        "skewed": skewed,
        "largest": largest,
    }


NETS = (
    batch_normalization,
    normalization,
    nested,
    restrained,
    frozen_and_shaped,
    things_of_one_s_own,
    functional,
    images,
    layer_of_one_s_own,
    model_of_one_s_own,
)
OPTIMIZERS = (
    _with(
        "SGD",
        learning_rate=lambda K: K.optimizers.schedules.PiecewiseConstantDecay(
            [5, 11], [0.05, 0.02, 0.01]
        ),
        momentum=0.5,
        use_ema=True,
        ema_overwrite_frequency=3,
    ),
    _with(
        "RMSprop",
        learning_rate=lambda K: K.optimizers.schedules.PolynomialDecay(0.02, 20, 0.001, 2.0, True),
        rho=0.8,
        momentum=0.3,
        centered=True,
    ),
    _with("Adam", beta_1=0.8, beta_2=0.9, clipvalue=0.1),
    _with("AdamW", weight_decay=0.05, beta_1=0.85),
    _with(
        "Adagrad",
        learning_rate=lambda K: K.optimizers.schedules.InverseTimeDecay(0.1, 4, 0.5),
        initial_accumulator_value=0.2,
    ),
    _with("Adadelta", learning_rate=0.5, rho=0.9),
    _with("Adamax", beta_1=0.8, weight_decay=0.01),
    _with(
        "Nadam",
        learning_rate=lambda K: K.optimizers.schedules.CosineDecayRestarts(0.02, 7, 1.5, 0.8, 0.1),
        beta_2=0.95,
        use_ema=True,
    ),
    _with("Ftrl", learning_rate_power=-0.6, l1_regularization_strength=0.001, beta=0.1),
    _with("Lion", learning_rate=0.003, weight_decay=0.02),
    _with("Lamb", beta_2=0.99),
    _with("Adafactor", learning_rate=0.05),
    _with("Muon", learning_rate=0.01, momentum=0.9),
    _with("ScheduleFreeAdamW", learning_rate=0.01, warmup_steps=3, weight_decay=0.01),
)
CASES = {case.__name__: case for case in (*NETS, *OPTIMIZERS)}
# Cases of which the tests keep files: all nets, and optimizers with variables of their own make.
KEPT = (*NETS, *(CASES[name] for name in ("adafactor", "muon", "ftrl")))
OLDER = ("nested", "restrained")  # of these an .h5 file too


def go_on(model, epochs):
    """Train for some epochs, in the same way in both libraries."""
    loss = model.loss
    name = str(getattr(loss, "name", loss))
    y = LABELS if "sparse" in name else ONE_HOT if "categorical" in name else Y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = model.fit(X, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return {name: [float(v) for v in values] for name, values in history.history.items()}


def after(model, epochs=3):
    """All that three more epochs leave: weights, the optimizer's variables, the history."""
    history = go_on(model, epochs)
    optimizer = [np.asarray(v).astype("float64") for v in model.optimizer.variables]
    arrays = {f"w{i}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    arrays.update({f"o{i}": v for i, v in enumerate(optimizer)})
    arrays["history"] = np.array(json.dumps(history))
    return arrays


def write(K, folder, cases):
    """Train each case, save it and its weights, and keep what three more epochs make of it."""
    for case in cases:
        K.utils.clear_session()
        K.utils.set_random_seed(3)
        model = case(K)
        go_on(model, 2)
        path = Path(folder, f"{case.__name__}.keras")
        model.save(path)
        model.save_weights(path.with_suffix(".weights.h5"))
        if case in NETS and case is not model_of_one_s_own:  # not all can be written there
            model.save(path.with_suffix(".h5"))
            np.save(path.with_suffix(".npy"), model.predict(X, verbose=0))
        # On jax a model with moving averages cannot be trained twice: they share its buffers.
        again = K.models.load_model(path, custom_objects=custom_objects(K))
        np.savez_compressed(path.with_suffix(".npz"), **after(again))


def read(K, folder, cases):
    """Load each case's files in two ways, and keep what three more epochs make of it."""
    for case in cases:
        path = Path(folder, f"{case.__name__}.keras")
        if path.with_suffix(".h5").exists():
            older = K.models.load_model(path.with_suffix(".h5"), custom_objects=custom_objects(K))
            np.save(path.with_suffix(".h5.npy"), older.predict(X, verbose=0))
        model = K.models.load_model(path, custom_objects=custom_objects(K))
        np.savez(path.with_suffix(".keras.npz"), **after(model))
        if not path.with_suffix(".weights.h5").exists():
            continue
        other = case(K)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(path.with_suffix(".weights.h5"))
        np.savez(path.with_suffix(".weights.npz"), **after(other))


def main(command, folder=RECORDED, *names):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if command == "record":
        RECORDED.mkdir(exist_ok=True)
        write(keras, RECORDED, KEPT)
        unwanted = {*RECORDED.glob("*.h5"), *RECORDED.glob("*.npy")}
        for path in unwanted - {RECORDED / f"{name}.h5" for name in OLDER}:
            path.unlink()
    else:
        cases = [CASES[name] for name in names or CASES]
        {"write": write, "read": read}[command](keras, folder, cases)


if __name__ == "__main__":
    main(*sys.argv[1:])
