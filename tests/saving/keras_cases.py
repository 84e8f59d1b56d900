"""Models of which Keras's own configs are recorded in keras_configs.json.

`python tests/saving/keras_cases.py` in an environment with Keras 3 records them, and the model with
its training in `trained.keras` and `trained.json`.
"""

import json
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def stack(K):
    return K.Sequential(
        [
            K.Input((4,)),
            K.layers.Dense(3, activation="relu", kernel_regularizer="l2"),
            K.layers.Dropout(0.5),
            K.layers.Dense(2, activation="softmax", bias_constraint="max_norm"),
        ]
    )


def built(K):
    return stack(K)


def compiled(K):
    model = stack(K)
    model.compile(
        K.optimizers.Adam(0.5, beta_1=0.8),
        loss="mse",
        metrics=["accuracy", K.metrics.MeanSquaredError(name="q"), K.losses.mean_absolute_error],
    )
    return model


def unbuilt(K):
    return K.Sequential([K.layers.Dense(3)], name="mine")


def loss_object_and_weights(K):
    model = unbuilt(K)
    model.compile(
        "sgd",
        K.losses.BinaryCrossentropy(from_logits=True),
        loss_weights=[0.5],
        weighted_metrics=["mae"],
    )
    return model


def built_by_data(K):
    model = unbuilt(K)
    model(np.ones((2, 4)))
    return model


def nested(K):
    inner = K.Sequential([K.layers.Dense(3)], name="inner")
    return K.Sequential([K.Input((4,)), inner, K.layers.Dense(1)])


def frozen(K):
    return K.Sequential([K.Input((4,)), K.layers.Dense(3)], trainable=False)


def initializers(K):
    values = K.initializers.Constant(np.arange(12.0).reshape(4, 3))
    return K.Sequential(
        [
            K.Input((4,), batch_size=8, name="x"),
            K.layers.Dense(3, kernel_initializer=values, use_bias=False),
            K.layers.Dense(3, kernel_initializer="he_normal", trainable=False),
        ]
    )


def layers_that_are_built_and_not(K):
    layers = K.layers
    return K.Sequential(
        [
            K.Input((4,)),
            layers.Rescaling(0.5),
            layers.RepeatVector(3),
            layers.Permute((2, 1)),
            layers.Masking(),
            layers.SpatialDropout1D(0.2),
            layers.LayerNormalization(),
            layers.Reshape((3, 4)),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.BatchNormalization(momentum=0.9, beta_regularizer="l1"),
            layers.PReLU(),
            layers.LeakyReLU(),
            layers.ReLU(max_value=6.0),
            layers.GaussianNoise(0.1),
            layers.GaussianDropout(0.1),
            layers.AlphaDropout(0.1),
            layers.ActivityRegularization(0.1),
            layers.Identity(),
            layers.UnitNormalization(),
            layers.GroupNormalization(3),
            layers.RMSNormalization(),
            layers.ELU(),
            layers.Softmax(),
            layers.Discretization([0.0, 1.0]),
            layers.Dense(2, activation=layers.LeakyReLU(0.1)),
        ]
    )


def optimizers_and_their_settings(K):
    model = stack(K)
    model.compile(
        K.optimizers.SGD(
            K.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.5, 0.25, 0.125]),
            momentum=0.5,
            nesterov=True,
            clipnorm=1.0,
            use_ema=True,
            weight_decay=0.5,
        ),
        K.losses.Huber(),
        metrics=[K.metrics.AUC(), K.metrics.Precision(), K.metrics.F1Score(), "mae"],
        weighted_metrics=[K.metrics.RootMeanSquaredError(name="root")],
        steps_per_execution=4,
    )
    return model


def function_of_one_s_own(K):
    def distance(y_true, y_pred):
        return (y_true - y_pred) ** 2

    model = unbuilt(K)
    model.compile("sgd", distance, metrics=[distance])
    return model


def clone(K):
    return K.models.clone_model(compiled(K))


def read_again(K):
    return K.models.model_from_json(compiled(K).to_json())


CASES = (
    built,
    compiled,
    unbuilt,
    loss_object_and_weights,
    built_by_data,
    nested,
    frozen,
    initializers,
    layers_that_are_built_and_not,
    optimizers_and_their_settings,
    function_of_one_s_own,
    clone,
    read_again,
)


def data():
    rng = np.random.RandomState(0)
    return rng.normal(size=(64, 4)).astype("float32"), rng.normal(size=(64, 2)).astype("float32")


def trained(K):
    inner = K.Sequential([K.layers.Dense(3, "tanh"), K.layers.Dense(2)])
    model = K.Sequential([K.Input((4,)), K.layers.Dense(3, "relu"), inner, K.layers.Dense(2)])
    model.compile(K.optimizers.Adam(0.01), "mse", metrics=["mae"])
    go_on(model, 2)
    return model


def go_on(model, epochs):
    return model.fit(*data(), epochs=epochs, shuffle=False, verbose=0).history


def record():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    configs = {}
    for case in CASES:
        keras.utils.clear_session()
        configs[case.__name__] = json.loads(case(keras).to_json())
    lines = (f"{json.dumps(name)}: {json.dumps(config)}" for name, config in configs.items())
    (HERE / "keras_configs.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    model = trained(keras)
    model.save(HERE / "trained.keras")
    after = {"history": go_on(model, 3), "weights": [w.tolist() for w in model.get_weights()]}
    (HERE / "trained.json").write_text(json.dumps(after) + "\n")


if __name__ == "__main__":
    record()
