"""Models whose files Keras 2 wrote, in from_keras2/, and what they predict.

`python tests/saving/keras2.py` records them, where the package `tf_keras` is installed;
`python tests/saving/keras2.py 2.13` the files of that version, beside TensorFlow 2.13.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "from_keras2"
RNG = np.random.RandomState(5)
X = RNG.normal(size=(30, 6)).astype("float32")
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], 1).astype("float32")
LABELS = (X.sum(1) > 0).astype("float32").reshape(-1, 1)


def plain(K):
    """A Sequential as tutorials had it: the shape in the first layer, names for all the rest."""
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


def functions(K, tf):
    """A model with functions of TensorFlow between its layers."""
    x = K.Input((6,), name="a")
    y, b = K.layers.Dense(4, name="d")(x), K.layers.Dense(4, name="e")(x)
    z = tf.cumsum(y * 2.0, axis=1) + b
    z = tf.concat([z, tf.nn.relu(-y), 1.0 - tf.sigmoid(b)], axis=-1)
    z = z[:, 1:] * tf.reduce_mean(b, axis=-1, keepdims=True)
    z = z + tf.cast(z > 0.5, "float32") + tf.clip_by_value(z, -1.0, 1.0)
    q = tf.squeeze(tf.transpose(tf.reshape(z, (-1, 11, 1)), (0, 2, 1)), 1)
    q = tf.matmul(q[:, None, :], q[:, :, None])[:, 0]
    w = tf.where(b > 0.0, b, tf.square(b))
    r = tf.stack([w, tf.maximum(y, b)], axis=1)[..., :3]
    r = K.layers.Flatten()(K.layers.MultiHeadAttention(2, 2, name="m")(r, value=r))
    of_w = [tf.nn.softmax(w), tf.nn.gelu(w), tf.expand_dims(tf.reduce_max(w, 1), -1)]
    of_w += [tf.abs(w) ** 2.0, w / 3.0, 3.0 / (1.0 + tf.exp(w)), tf.nn.leaky_relu(w, alpha=0.3)]
    return K.Model(x, tf.concat([q, r, *of_w, tf.math.l2_normalize(w, axis=1)], 1))


def parts_within(K):
    """A Sequential that is called twice, a model within, attention: what files name otherwise."""
    layers = K.layers
    inner = K.Sequential([layers.Dense(4, activation="tanh", input_shape=(6,)), layers.Dense(6)])
    end = K.Input((12,))
    model = K.Model(end, layers.Dense(2, name="end")(layers.Dropout(0.0)(end)))
    x = K.Input((6,))
    y = layers.Reshape((3, 2))(x)
    y = layers.Flatten()(layers.MultiHeadAttention(1, 2, use_bias=False)(y, y))
    whole = K.Model(x, model(layers.Concatenate()([inner(y), inner(inner(x))])))
    whole.compile(K.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return whole


def of_one_size(K):
    """Kernels of one shape, and an optimizer that writes all first moments first."""
    layers = [K.layers.Dense(6, use_bias=False, activation="tanh") for _ in range(2)]
    model = K.Sequential([K.layers.InputLayer(input_shape=(6,)), *layers])
    model.compile(K.optimizers.legacy.Adam(0.01), "mse")
    return model


def record_files(K, version):
    """`.keras` files, which Keras 2 wrote from 2.12 on, and an older `.h5`."""
    K.backend.clear_session()
    model, path = parts_within(K), RECORDED / f"parts_within_{version}.keras"
    go_on(model, Y, 2)
    model.save(path)
    predicted = model.predict(X, verbose=0)
    after = {f"after{i}": w for i, w in enumerate(go_on(model, Y, 3))}
    np.savez_compressed(path.with_suffix(".npz"), predicted=predicted, **after)
    if version == "2.13":
        model, path = of_one_size(K), RECORDED / "of_one_size.h5"
        go_on(model, X, 2)
        model.save(path)
        after = {f"after{i}": w for i, w in enumerate(go_on(model, X, 3))}
        np.savez_compressed(path.with_suffix(".npz"), **after)


def record_functions():
    import tensorflow
    import tf_keras

    model, path = functions(tf_keras, tensorflow), RECORDED / "functions.h5"
    model.save(path)
    np.savez_compressed(path.with_suffix(".npz"), predicted=model.predict(X, verbose=0))
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()


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
    if sys.argv[1:] == ["2.13"]:
        from tensorflow import keras

        record_files(keras, "2.13")
    else:
        import tf_keras

        record()
        record_functions()
        record_files(tf_keras, "2.21")
