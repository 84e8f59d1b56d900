"""Names of TensorFlow itself that scripts find: functions, tensors, data sets."""


def test_functions_of_tensorflow_are_those_of_cdl_and_are_compiled(script):
    done = script(
        """
        import json
        import numpy as np
        import tensorflow as tf
        from tensorflow import keras

        @tf.function
        def rmse(y_true, y_pred):
            error = tf.math.squared_difference(tf.cast(y_true, tf.float32), y_pred)
            return tf.sqrt(tf.reduce_mean(error, axis=-1))

        def smooth(y_true, y_pred):
            size = tf.abs(y_true - y_pred)
            value = tf.where(size < 1.0, 0.5 * tf.square(size), size - 0.5)
            return tf.reduce_mean(value, axis=-1)

        model = keras.Sequential([keras.layers.Dense(3, tf.nn.relu), keras.layers.Dense(1)])
        model.compile("adam", smooth, metrics=[rmse])
        x = np.random.rand(64, 4)
        history = model.fit(x, x[:, :1], epochs=2, verbose=0)
        json.dumps(history.history)
        found = model(x[:2])
        print(type(found.numpy()).__name__, found.numpy().shape, type(model.predict(x)).__name__)
        print(f"{keras.losses.MeanSquaredError()([1.0], [3.0]).numpy():.1f}")
        metric = keras.metrics.Accuracy()
        metric.update_state([1, 2], [1, 1])
        print(metric.result().numpy(), tf.add_n([tf.ones(2), tf.constant([1.0, 2.0])]).numpy())
        print(tf.argmax([[1, 5], [7, 2]]).numpy(), tf.argmax([[1, 5], [7, 2]], axis=1).numpy())
        print(tf.reduce_sum(input_tensor=tf.eye(3)).numpy(), tf.nn.leaky_relu([-1.0]).numpy())
        norm = keras.layers.Normalization()
        norm.adapt(np.ones((4, 2)))
        print(norm.mean.numpy())
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "ndarray (2, 1) ndarray",
        "4.0",
        "0.5 [2. 3.]",
        "[1 0] [1 0]",
        "3.0 [-0.2]",
        "[[1. 1.]]",
    ], done.stderr


TENSORFLOW = {
    "tf.gather(x, [2, 0])": "x[[2, 0]]",
    "tf.gather(x, [1], axis=1)": "x[:, [1]]",
    "tf.split(x, 2, axis=1)[1]": "x[:, 2:]",
    "tf.split(x, [1, 3], 1)[1]": "x[:, 1:]",
    "tf.unstack(x)[1]": "x[1]",
    "tf.unstack(x, axis=1)[1]": "x[:, 1]",
    "tf.argmin(x)": "x.argmin(0)",
    "tf.reverse(x, [1])": "x[:, ::-1]",
    "tf.fill((2, 3), 4.0)": "np.full((2, 3), 4.0)",
    "tf.rank(x)": "2",
    "tf.identity(x)": "x",
    "tf.roll(x, 1, axis=0)": "np.roll(x, 1, 0)",
    "tf.nn.l2_loss(x)": "(x**2).sum() / 2",
    "tf.math.l2_normalize(x, 1)": "x / np.linalg.norm(x, axis=1, keepdims=True)",
    "tf.nn.sigmoid_cross_entropy_with_logits(labels=z, logits=x)": (
        "-z * np.log(1 / (1 + np.exp(-x))) - (1 - z) * np.log(1 / (1 + np.exp(x)))"
    ),
    "tf.nn.softmax_cross_entropy_with_logits(z, x)": (
        "-(z * (x - np.log(np.exp(x).sum(-1, keepdims=True)))).sum(-1)"
    ),
    "tf.linalg.norm(x)": "np.linalg.norm(x)",
    "tf.norm(x, 1)": "np.abs(x).sum()",
    "tf.norm(tensor=x, ord=np.inf)": "np.abs(x).max()",
    "tf.norm(x, 'euclidean', axis=1, keepdims=True)": ("np.linalg.norm(x, axis=1, keepdims=True)"),
    "tf.linalg.norm(x, 'fro', axis=[0, 1])": "np.linalg.norm(x)",
    "tf.linalg.svd(x)[0]": "np.linalg.svd(x)[1]",
    "tf.linalg.svd(x)[1]": "np.linalg.svd(x, False)[0]",
    "tf.linalg.svd(x)[2]": "np.linalg.svd(x, False)[2].T",
    "tf.linalg.svd(x, compute_uv=False)": "np.linalg.svd(x)[1]",
    "tf.cumsum(x)": "x.cumsum(0)",
    "tf.math.cumprod(x, axis=1)": "x.cumprod(1)",
    "tf.split(x, [-1, 1], axis=1)[0]": "x[:, :3]",
    "tf.split(x, [1, -1])[1]": "x[1:]",
    "tf.argmax(x, axis=None)": "x.argmax(0)",
    "tf.math.argmin(x, 1, tf.int32)": "x.argmin(1)",
    "tf.matmul(x, x, transpose_b=True)": "x @ x.T",
    "tf.linalg.matmul(a=x, b=x, transpose_a=True)": "x.T @ x",
    "tf.transpose(x, perm=[1, 0])": "x.T",
    "tf.Variable(x).assign_add(x)": "2 * x",
    "tf.losses.MeanSquaredError()(x, 0 * x)": "(x**2).mean()",
    "tf.initializers.Constant(2.0)((2,))": "[2.0, 2.0]",
    "tf.nn.embedding_lookup(x, [1])": "x[[1]]",
}


def test_functions_of_tensorflow_give_what_they_give_there(script):
    lines = [f"    np.testing.assert_allclose({a}, {b}, rtol=1e-5)" for a, b in TENSORFLOW.items()]
    done = script(
        "import numpy as np, tensorflow as tf\n"
        "x = np.random.default_rng(0).normal(size=(3, 4)).astype('float32')\n"
        "z = np.eye(4, dtype='float32')[:3]\n"
        "if True:\n" + "\n".join(lines) + "\nprint('all')",
        "-m",
        "cdl",
    )
    assert done.stdout == "all\n", done.stderr


def test_windows_over_a_series_are_a_data_set(script):
    done = script(
        """
        import numpy as np, tensorflow as tf
        data = np.arange(40.0).reshape(20, 2)
        windows = tf.keras.utils.timeseries_dataset_from_array(data, None, 4, batch_size=8)
        pairs = windows.map(lambda w: (w[:, :3], w[:, 3:])).prefetch(1)
        for x, y in pairs.take(1):
            print(x.numpy().shape, y.shape, len(pairs), next(iter(windows)).numpy().shape)
        model = tf.keras.Sequential(
            [tf.keras.layers.Flatten(), tf.keras.layers.Dense(2), tf.keras.layers.Reshape((1, 2))]
        )
        model.compile("adam", "mse")
        print(len(model.fit(pairs, epochs=2, verbose=0).history["loss"]))
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == "(8, 3, 2) (8, 1, 2) 3 (8, 4, 2)\n2\n", done.stderr


def test_data_sets_of_tensorflow_train(script):
    done = script(
        """
        import numpy as np
        import tensorflow as tf
        from tensorflow.keras import layers

        tf.random.set_seed(0)
        x = np.random.normal(size=(80, 2)).astype("float32")
        frame = {"a": x[:, 0], "b": x[:, 1]}
        data = tf.data.Dataset.from_tensor_slices((frame, x.sum(1)))
        data = data.map(lambda row, y: (row, tf.cast(y > 0, tf.float32)), tf.data.AUTOTUNE)
        train = data.shuffle(buffer_size=len(data)).batch(16).prefetch(tf.data.AUTOTUNE)
        inputs = {name: tf.keras.Input((1,), name=name) for name in frame}
        hidden = layers.Dense(8, "tanh")(layers.concatenate(list(inputs.values())))
        model = tf.keras.Model(inputs, layers.Dense(1, "sigmoid")(hidden))
        model.compile(tf.keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(train, epochs=15, validation_data=data.batch(16), verbose=0)
        print(history.history["val_accuracy"][-1] > 0.9)
        for row, y in train.take(1):
            print(row["a"].numpy().shape, y.dtype)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == "True\n(16,) float32\n", done.stderr


def test_texts_of_tensorflow_are_standardized_vectorized_and_learned(script):
    done = script(
        """
        import re, string
        import numpy as np
        import tensorflow as tf
        from tensorflow.keras import Input, Sequential, layers

        def custom(x):
            x = tf.strings.regex_replace(tf.strings.lower(x), "<br />", " ")
            return tf.strings.regex_replace(x, f"[{re.escape(string.punctuation)}]", "")

        texts = tf.data.Dataset.from_tensor_slices((["A<br />b.", "\u00c9 C c"], [0, 1])).batch(1)
        vectorize = layers.TextVectorization(standardize=custom, output_sequence_length=3)
        vectorize.adapt(texts.map(lambda x, y: x))
        print(vectorize.get_vocabulary())

        def indices(text, label):
            return vectorize(tf.expand_dims(text, -1)), label

        for x, y in texts.map(indices).cache().prefetch(2).take(1):
            print(x.numpy().tolist(), y.numpy().tolist())
        model = Sequential([Input(shape=(1,), dtype=tf.string), vectorize, layers.Embedding(9, 2),
                            layers.GlobalAveragePooling1D(), layers.Dense(1)])
        model.compile("adam", "mse")
        print(len(model.fit(texts, epochs=2, verbose=0).history["loss"]))
        print(model.predict(tf.constant(["b a"]), verbose=0).shape, vectorize("b").numpy().tolist())
        print(tf.strings.length(["a\u00e9"]).numpy(), tf.strings.substr(["hello"], 1, 3).numpy())
        print(tf.strings.join([["a", "b"], ["c", "d"]], separator="-").numpy())
        parts = tf.strings.split(["a b", "c"])
        print(parts.to_list(), tf.strings.split("a,b", ",").numpy(), parts.to_tensor().numpy())
        numbers = tf.strings.to_number(tf.strings.split(["1.5,2", "3"], ","), tf.float32)
        print(numbers.to_tensor(-1.0).numpy().tolist(), parts.row_lengths().numpy(), parts.shape)
        print(tf.strings.to_number("7", tf.int32).numpy(), tf.strings.as_string([1.5, 2.0]).numpy())
        print(tf.strings.unicode_split("a\u00e9", "UTF-8").numpy(), parts.to_tensor(shape=[2, 1]))
        print(repr(tf.constant([1, 2])), tf.constant(0.5))
        print(tf.strings.reduce_join([["a", "b"], ["c", "d"]], axis=1, separator="-").numpy())
        print(tf.strings.upper("a\u00e9").numpy(), tf.strings.strip([" a "]).numpy())
        print(tf.strings.regex_full_match(["ab", "abc"], "ab").numpy())
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "['', '[UNK]', 'c', '\u00c9', 'b', 'a']",
        "[[5, 4, 0]] [0]",
        "2",
        "(1, 1) [4, 0, 0]",
        "[3] ['ell']",
        "['a-c' 'b-d']",
        "[['a', 'b'], ['c']] ['a' 'b'] [['a' 'b']",
        " ['c' '']]",
        "[[1.5, 2.0], [3.0, -1.0]] [2 1] (2, None)",
        "7 ['1.500000' '2.000000']",
        "['a' '\u00e9'] [['a']",
        " ['c']]",
        "<tf.Tensor: shape=(2,), dtype=int32, numpy=[1, 2]> 0.5",
        "['a-b' 'c-d']",
        "A\u00e9 ['a']",
        "[ True False]",
    ], done.stderr


def test_weights_of_a_layer_come_from_initializers_of_tensorflow(script):
    done = script(
        """
        import numpy as np
        import tensorflow as tf

        class Linear(tf.keras.layers.Layer):
            def __init__(self, units, inputs):
                super().__init__()
                first = tf.random_uniform_initializer(minval=1.0, maxval=2.0)
                self.w = tf.Variable(initial_value=first(shape=(inputs, units), dtype="float32"))
                self.b = tf.Variable(tf.zeros_initializer()(shape=(units,)), trainable=True)

            def call(self, x):
                return tf.matmul(x, self.w) + self.b

        layer = Linear(3, 2)
        small = tf.random_normal_initializer(stddev=0.01)
        last = tf.keras.layers.Dense(1, kernel_initializer=small)
        model = tf.keras.Sequential([tf.keras.Input((2,)), layer, last])
        y = layer(np.ones((4, 2), "float32")).numpy()
        print(len(model.trainable_weights), 2 < y.min() and y.max() < 4)
        print(tf.ones_initializer()((2,)), tf.constant_initializer(3.0)((1,)))
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == ["4 True", "[1. 1.] [3.]"], done.stderr
