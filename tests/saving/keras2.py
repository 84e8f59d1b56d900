"""Models whose files Keras 2 wrote, in from_keras2/, and what they predict.

`python tests/saving/keras2.py` records them, where the package `tf_keras` is installed.
"""

from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "from_keras2"
RNG = np.random.RandomState(5)
X = RNG.normal(size=(30, 6)).astype("float32")
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], 1).astype("float32")
LABELS = (X.sum(1) > 0).astype("float32").reshape(-1, 1)


def plain(K):
    """As tutorials had it: the shape in the first layer, names for all the rest."""
    model = K.Sequential()
    model.add(K.layers.Dense(8, input_shape=(6,), activation="relu"))
    model.add(K.layers.Dropout(0.0))
    model.add(K.layers.BatchNormalization())
    model.add(K.layers.Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model, LABELS


def objects(K):
    """Everything as objects with arguments of their own."""
    layers = K.layers
    inner = K.Sequential([layers.Dense(4, activation="tanh"), layers.LeakyReLU(alpha=0.2)])
    model = K.Sequential(
        [
            layers.InputLayer(input_shape=(6,)),
            layers.Dense(
                6,
                kernel_initializer=K.initializers.RandomNormal(0.0, 0.3),
                kernel_regularizer=K.regularizers.l1_l2(0.001, 0.01),
                bias_constraint=K.constraints.MaxNorm(2.0),
            ),
            layers.ELU(alpha=0.7),
            inner,
            layers.Dense(2),
        ]
    )
    rate = K.optimizers.schedules.ExponentialDecay(0.05, 3, 0.9, staircase=True)
    model.compile(
        K.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        K.losses.Huber(0.5),
        metrics=[K.metrics.MeanAbsoluteError(name="off"), "mse"],
    )
    return model, Y


CASES = (plain, objects)


def go_on(model, y, epochs):
    model.fit(X, y, batch_size=10, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def record():
    import tf_keras

    RECORDED.mkdir(exist_ok=True)
    for case in CASES:
        tf_keras.backend.clear_session()
        model, y = case(tf_keras)
        go_on(model, y, 2)
        path = RECORDED / f"{case.__name__}.h5"
        model.save(path)
        if case is plain:
            model.save_weights(RECORDED / "weights.h5")
        arrays = {f"before{i}": w for i, w in enumerate(model.get_weights())}
        arrays["predicted"] = model.predict(X, verbose=0)
        arrays |= {f"after{i}": w for i, w in enumerate(go_on(model, y, 3))}
        np.savez_compressed(path.with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    record()
