"""Names of Keras 2 that Keras 3 ships under `tensorflow.keras`, and Keras's inside, in scripts."""

import numpy as np
import pytest

from cdl import ops
from cdl.preprocessing.image import save_img
from cdl.scripts.legacy import backend, image, sequence, text

K = backend
RNG = np.random.default_rng(0)


def test_scripts_find_names_of_keras_2_where_they_were(script):
    done = script(
        """
        import numpy as np, keras, tensorflow as tf
        from keras.preprocessing.text import Tokenizer
        from tensorflow.keras.preprocessing.text import Tokenizer as Same
        from tensorflow.keras.preprocessing.image import ImageDataGenerator, load_img
        from keras.preprocessing.sequence import TimeseriesGenerator, pad_sequences
        from keras.layers import *
        from tensorflow.keras import backend as K

        print(Tokenizer is Same is tf.keras.preprocessing.text.Tokenizer)
        print("ThresholdedReLU" in dir(keras.layers), K.floatx(), K.batch_dot.__name__)
        z = K.variable(np.ones((2, 2)))
        with K.name_scope("here"):
            K.update_add(z, K.ones((2, 2)))
        print(K.eval(z).tolist())

        def sampling(both):
            mean, log_var = both
            shape = (K.shape(mean)[0], K.int_shape(mean)[1])
            noise = K.random_normal(shape=shape, mean=0.0, stddev=1.0)
            return mean + K.exp(log_var / 2) * noise

        x = keras.Input((4,))
        hidden = ThresholdedReLU(theta=0.1)(Dense(4)(x))
        z = Lambda(sampling, output_shape=(2,))([Dense(2)(hidden), Dense(2)(hidden)])
        model, gate = keras.Model(x, Dense(4)(z)), keras.Model(x, hidden)
        model.compile("adam", "mse")
        data = np.random.rand(16, 4)
        flow = ImageDataGenerator(rescale=0.5).flow(data.reshape(4, 2, 2, 4), np.arange(4), 2)
        print(len(model.fit(data, data, epochs=2, verbose=0).history["loss"]), next(flow)[0].shape)
        gate.save("gate.keras")
        layer = keras.models.load_model("gate.keras").layers[2]
        print(type(layer) is ThresholdedReLU, layer.theta)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "True",
        "True float32 batch_dot",
        "[[2.0, 2.0], [2.0, 2.0]]",
        "2 (2, 2, 2, 4)",
        "True 0.1",
    ], done.stderr


INSIDE = """
    applications.resnet.ResNet50 applications.mobilenet_v2.preprocess_input
    applications.imagenet_utils.decode_predictions datasets.mnist.load_data
    backend.common.name_scope.name_scope backend.common.remat.RematScope
    distillation.distiller.Distiller distillation.distillation_loss.LogitsDistillation
    initializers.constant_initializers.Zeros initializers.random_initializers.GlorotUniform
    layers.core.lambda_layer.Lambda layers.regularization.spatial_dropout.SpatialDropout2D
    layers.rnn.conv_lstm2d.ConvLSTM2D metrics.accuracy_metrics.SparseCategoricalAccuracy
    metrics.confusion_metrics.AUC metrics.reduction_metrics.Mean
    metrics.regression_metrics.MeanSquaredError models.cloning.clone_model ops.einops.rearrange
    optimizers.schedules.learning_rate_schedule.CosineDecay saving.file_editor.KerasFileEditor
    utils.model_visualization.plot_model version.version
    visualization.plot_image_gallery.plot_image_gallery wrappers.sklearn_wrapper.SKLearnClassifier
"""


def test_each_room_of_the_inside_of_keras_has_its_public_names(script):
    done = script(
        f"""
        import importlib

        for each in {INSIDE.split()!r}:
            module, _, name = each.rpartition(".")
            found = getattr(importlib.import_module("keras.src." + module), name)
            print(each, found.__name__ in (name, "<lambda>"))
        """,
        "-m",
        "cdl",
    )
    lines = done.stdout.splitlines()
    assert lines == [f"{each} True" for each in INSIDE.split()], done.stderr


def test_the_inside_of_keras_is_found_by_public_names(script):
    done = script(
        """
        import keras
        from keras.src import backend, callbacks, losses
        from keras.src.saving import saving_lib, serialization_lib
        from keras.src.losses.losses import LossFunctionWrapper, mean_squared_error
        from keras.src.layers.pooling.max_pooling2d import MaxPooling2D
        from keras.src.backend.common.keras_tensor import KerasTensor
        from keras.src.trainers.data_adapters.py_dataset_adapter import PyDataset
        from keras.src.utils.tracking import no_automatic_dependency_tracking
        from keras.src.models.functional import Functional
        from keras.src.api_export import keras_export
        from keras.src.ops import *

        print(saving_lib.load_model is keras.saving.load_model, callbacks.Callback.__name__)
        print(serialization_lib.deserialize_keras_object is keras.saving.deserialize_keras_object)
        print(MaxPooling2D is keras.layers.MaxPooling2D, PyDataset is keras.utils.PyDataset)
        print(losses.losses.mean_squared_error is mean_squared_error)
        print(KerasTensor is keras.KerasTensor, backend.standardize_dtype("int32"))
        print(backend.numpy.sum([1, 2]), backend.nn.relu([-1.0]))
        print(relu([-2.0]), keras.src.utils.tracking.no_automatic_dependency_tracking(len)([1]))

        @keras_export("mine.Loss")
        class Mine(LossFunctionWrapper):
            pass

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", Mine(mean_squared_error))
        print(isinstance(keras.Model(x := keras.Input((2,)), model(x)), keras.Model))
        for code in (
            "import keras.src.nothing",
            "from keras.src.layers import Dance",
            "from keras.src.ops import nothing_like_it",
            "keras.src.saving.saving_lib.H5IOStore",
        ):
            try:
                exec(code)
            except (ImportError, AttributeError) as error:
                print(type(error).__name__, error)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "True Callback",
        "True",
        "True True",
        "True",
        "True int32",
        "3 [0.]",
        "[0.] 1",
        "True",
        "ImportError cdl has no keras.src.nothing",
        "ImportError cdl has no keras.src.layers.Dance",
        "ImportError cdl has no keras.src.ops.nothing_like_it",
        "AttributeError cdl has no keras.src.saving.saving_lib.H5IOStore, nor a public H5IOStore",
    ], done.stderr


def test_the_inside_of_keras_splits_rows_and_knows_its_scopes(script):
    done = script(
        """
        import keras
        import numpy as np
        from keras.src.backend.common.stateless_scope import in_stateless_scope
        from keras.src.trainers.data_adapters.array_slicing import train_validation_split

        before = in_stateless_scope()
        with keras.StatelessScope():
            within = in_stateless_scope()
        print(before, within, in_stateless_scope())
        given = np.arange(10), None, "ab" * 5
        (x, none, y), (x_val, _, y_val) = train_validation_split(given, 0.3)
        print(x, none, y, x_val, y_val)
        for split in (0.0, 0.99, 1, "half"):
            try:
                train_validation_split((np.arange(10),), split)
            except (TypeError, ValueError) as error:
                print(error)
        """,
        "-m",
        "cdl",
    )
    name = "train_validation_split: validation_split must"
    assert done.stdout.splitlines() == [
        "False True False",
        "[0 1 2 3 4 5 6] None abababa [7 8 9] bab",
        f"{name} be more than 0, got 0.0",
        f"{name} leave rows for training and for validation, got 0.99 of 10 rows",
        f"{name} be at least 0 and less than 1, got 1",
        f"{name} be a number between 0 and 1, got 'half'",
    ], done.stderr


def test_older_versions_of_tensorflow_are_this_one(script):
    done = script(
        """
        import tensorflow as tf, tensorflow.compat.v1 as tf1, tensorflow.compat.v2 as tf2
        from tensorflow.compat.v1 import image
        print(tf2 is tf, image is tf.image, tf1.keras is tf.keras, tf1.reduce_sum([1, 2]).numpy())
        import importlib, tensorflow.compat.v2.keras
        print(tf.__spec__.name, image.__spec__.name, tf.keras.__spec__.name, tf1.__spec__.name)
        print(importlib.reload(tf) is tf, importlib.reload(tf.keras) is tf.keras)
        try:
            tf1.placeholder
        except AttributeError as error:
            print(str(error)[:41])
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "True True True 3",
        "tensorflow tensorflow.image tensorflow.keras tensorflow.compat.v1",
        "True True",
        "cdl has no tensorflow.compat.v1.placehold",
    ], done.stderr


# --- texts; numbers are of Keras 3.15 where they are not plain ---


def test_tokenizer_numbers_words_by_how_often_they_come():
    made = text.Tokenizer(num_words=5, oov_token="<o>")
    made.fit_on_texts(["The cat sat, the cat.", "a dog a-b", "dog"])
    order = ["<o>", "the", "cat", "a", "dog", "sat", "b"]
    assert made.word_index == {word: i for i, word in enumerate(order, 1)}
    assert made.texts_to_sequences(["the dog sat a"]) == [[2, 1, 1, 4]]
    assert made.sequences_to_texts([[2, 3, 9]]) == ["the cat <o>"]
    texts = ["the cat the", "dog zzz"]
    assert made.texts_to_matrix(texts).tolist() == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]
    assert made.texts_to_matrix(texts, "count").tolist() == [[0, 0, 2, 1, 0], [0, 2, 0, 0, 0]]
    assert made.texts_to_matrix(texts, "freq")[1, 1] == 1
    expected = (1 + np.log(2)) * np.log(1 + 3 / 2)
    np.testing.assert_allclose(made.texts_to_matrix(texts, "tfidf")[0, 2], expected)
    again = text.tokenizer_from_json(made.to_json())
    assert again.get_config() == made.get_config()
    assert again.texts_to_sequences(["cat b"]) == made.texts_to_sequences(["cat b"])
    letters = text.Tokenizer(char_level=True)
    letters.fit_on_texts(["Abca"])
    assert letters.texts_to_sequences(["cab"]) == [[3, 1, 2]]
    with pytest.raises(ValueError, match="Tokenizer: mode must be one of"):
        made.texts_to_matrix(texts, "sum")
    with pytest.raises(TypeError, match="Tokenizer: arguments not recognized"):
        text.Tokenizer(words=3)


def test_texts_are_split_and_hashed():
    assert text.text_to_word_sequence("Hello, World!  x") == ["hello", "world", "x"]
    numbers = text.hashing_trick("a b a", 10, "md5")
    assert numbers[0] == numbers[2]
    assert all(1 <= n < 10 for n in numbers)
    assert len(text.one_hot("a b", 5)) == 2


# --- series and pairs of words ---


def test_windows_over_a_series_and_what_comes_behind():
    steps = np.arange(23)
    made = sequence.TimeseriesGenerator(
        steps, steps, 5, sampling_rate=2, stride=3, start_index=1, end_index=20, batch_size=2
    )
    windows = [made[i] for i in range(len(made))]
    assert [y.tolist() for _, y in windows] == [[6, 9], [12, 15], [18]]
    assert windows[0][0].tolist() == [[1, 3, 5], [4, 6, 8]]
    back = sequence.TimeseriesGenerator(steps, steps, 3, reverse=True)
    assert back[0][0][0].tolist() == [2, 1, 0]
    assert back.get_config()["length"] == 3
    with pytest.raises(ValueError, match="no window fits"):
        sequence.TimeseriesGenerator(steps, steps, 30)
    with pytest.raises(ValueError, match="targets must be as long as data"):
        sequence.TimeseriesGenerator(steps, steps[1:], 3)


def test_pairs_of_words_that_are_near_each_other():
    couples, labels = sequence.skipgrams([1, 2, 0, 3], 5, 1, negative_samples=0, shuffle=False)
    assert couples == [[1, 2], [2, 1]]
    assert labels == [1, 1]
    couples, labels = sequence.skipgrams([1, 2, 3], 5, negative_samples=2.0, categorical=True)
    assert sorted(labels) == [[0, 1]] * 6 + [[1, 0]] * 12
    assert sequence.skipgrams([1, 2, 3], 5, seed=1, negative_samples=0) == sequence.skipgrams(
        [1, 2, 3], 5, seed=1, negative_samples=0
    )
    table = sequence.make_sampling_table(4)
    assert (np.diff(table[1:]) > 0).all()
    np.testing.assert_allclose(table[1], 0.00315225, rtol=1e-5)


# --- images ---

IMAGES = RNG.uniform(size=(10, 8, 8, 3)).astype("float32")


def affine(x, **change):
    return image.apply_affine_transform(x, row_axis=0, col_axis=1, channel_axis=2, **change)


def test_images_are_turned_moved_and_scaled_around_their_middle():
    x = IMAGES[0]
    np.testing.assert_allclose(affine(x, theta=90), np.rot90(x), atol=1e-5)
    np.testing.assert_allclose(affine(x[:, :5], theta=180), x[::-1, 4::-1], atol=1e-5)
    np.testing.assert_allclose(affine(x, ty=2)[:6], x[2:], atol=1e-6)
    np.testing.assert_allclose(affine(x, tx=-1, fill_mode="constant", cval=9.0)[:, 0], 9.0)
    np.testing.assert_allclose(affine(np.ones_like(x), theta=20, zx=0.5, zy=2, shear=10), 1, 1e-6)
    np.testing.assert_allclose(image.apply_channel_shift(x, 9.0), x.max())
    np.testing.assert_allclose(image.apply_brightness_shift(x, 0.5).max(), 127.5)
    np.testing.assert_allclose(image.apply_brightness_shift(x, 1.5, False), (1.5 * x).clip(0, 1))
    np.testing.assert_allclose(image.apply_brightness_shift(9 * x, 2.0, False), 18 * x)
    for change, size in (("rotation", 30), ("shear", 20), ("zoom", (0.5, 1.5))):
        found = getattr(image, f"random_{change}")(x, size, 0, 1, 2)
        assert found.shape == x.shape
    assert image.random_shift(x, 0.2, 0.2, 0, 1, 2, fill_mode="wrap").shape == x.shape
    with pytest.raises(ValueError, match="fill_mode must be one of"):
        affine(x, fill_mode="mirror")


def test_generator_gives_batches_changed_and_standardized():
    plain = image.ImageDataGenerator().flow(IMAGES, np.arange(10), 4, shuffle=False)
    assert len(plain) == 3
    x, y = plain[1]
    np.testing.assert_array_equal(x, IMAGES[4:8])
    assert y.tolist() == [4, 5, 6, 7]
    assert [len(next(plain)[1]) for _ in range(5)] == [4, 4, 2, 4, 4]
    centred = image.ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.raises(ValueError, match="fit must be called first"):
        next(centred.flow(IMAGES))
    centred.fit(IMAGES)
    whole = next(centred.flow(IMAGES, batch_size=10))
    np.testing.assert_allclose(whole.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(whole.std((0, 1, 2)), 1, atol=1e-4)
    white = image.ImageDataGenerator(zca_whitening=True, zca_epsilon=0.0)
    few = IMAGES[:, :1, :1]
    white.fit(few)
    flat = next(white.flow(few, batch_size=10)).reshape(10, 3)
    np.testing.assert_allclose(flat.T @ flat / 10, np.eye(3), atol=1e-3)
    flips = image.ImageDataGenerator(horizontal_flip=True).flow(IMAGES, batch_size=10, seed=1)
    order = np.sort(next(flips), axis=2)
    assert {each.tobytes() for each in order} == {np.sort(x, axis=1).tobytes() for x in IMAGES}


def test_generator_draws_the_numbers_of_keras_from_a_seed():
    made = image.ImageDataGenerator(
        rotation_range=30,
        height_shift_range=0.3,
        width_shift_range=0.2,
        shear_range=10,
        zoom_range=0.2,
        channel_shift_range=20,
        brightness_range=(0.5, 1.5),
    )
    found = made.get_random_transform((6, 8, 3), seed=0)
    expected = {
        "theta": 2.9288102356394887,
        "ty": 0.7746817189407103,  # Keras calls that `tx`
        "tx": 0.3288428034292603,
        "shear": 0.8976636599379368,
        "zx": 0.9694619197355618,
        "zy": 1.0583576452266623,
        "channel_shift_intensity": 18.546510420041173,
        "brightness": 0.8834415188257777,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_shifts_of_an_int_or_a_list_are_chosen():
    made = image.ImageDataGenerator(height_shift_range=4, width_shift_range=[0.25, 0.5])
    drawn = [made.get_random_transform((6, 8, 3), seed=i) for i in range(60)]
    assert {abs(each["ty"]) for each in drawn} == {0, 1, 2, 3}
    assert {each["tx"] for each in drawn} == {-4, -2, 2, 4}


def test_generator_splits_and_weighs():
    made = image.ImageDataGenerator(validation_split=0.2, samplewise_center=True)
    held = made.flow(IMAGES, np.arange(10), subset="validation", sample_weight=np.arange(10))
    assert (held.n, len(next(held))) == (2, 3)
    rest = made.flow(IMAGES, np.arange(10), subset="training", shuffle=False)
    assert next(rest)[1].tolist() == list(range(2, 10))
    with pytest.raises(ValueError, match="subset must be None without a validation_split"):
        image.ImageDataGenerator().flow(IMAGES, subset="training")
    with pytest.raises(ValueError, match="x, y and sample_weight must be as long"):
        made.flow(IMAGES, np.arange(9))


def test_generator_reads_folders_and_frames(tmp_path, capsys):
    pytest.importorskip("PIL")
    pandas = pytest.importorskip("pandas")
    for i, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.txt")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("png"):
            save_img(tmp_path / name, np.full((4, 6, 3), 50.0 * i), scale=False)
    made = image.ImageDataGenerator(rescale=1 / 50)
    flow = made.flow_from_directory(tmp_path, (4, 6), batch_size=3, shuffle=False)
    x, y = next(flow)
    assert x[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert y.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert (flow.class_indices, flow.classes.tolist()) == ({"cat": 0, "dog": 1}, [0, 0, 1])
    assert (flow.image_shape, flow.filenames[2]) == ((4, 6, 3), "dog/3.png")
    assert "Found 3 images belonging to 2 classes." in capsys.readouterr().out
    frame = pandas.DataFrame({"file": ["dog/3.png", "cat/1.png", "no.png"], "y": ["b", "a", "a"]})
    flow = made.flow_from_dataframe(frame, tmp_path, "file", "y", target_size=(4, 6), shuffle=False)
    assert next(flow)[1].tolist() == [[0, 1], [1, 0]]
    raw = frame.assign(z=[1.5, 2.5, 3.5])
    flow = made.flow_from_dataframe(
        raw, tmp_path, "file", "z", class_mode="raw", color_mode="grayscale", shuffle=False
    )
    x, y = next(flow)
    assert (x.shape, y.tolist()) == ((2, 256, 256, 1), [1.5, 2.5])


# --- functions on tensors ---

A, B, C = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 5, 6)), RNG.normal(size=(3, 5))
BACKEND = {
    "batch_dot": (lambda: K.batch_dot(A, B), A @ B),
    "batch_dot rows": (lambda: K.batch_dot(A, C), np.einsum("bij,bj->bi", A, C)),
    "batch_dot one axis": (lambda: K.batch_dot(C, C, 1), (C * C).sum(1, keepdims=True)),
    "batch_dot two": (lambda: K.batch_dot(A, A, (2, 2)), A @ A.swapaxes(1, 2)),
    "argmax": (lambda: K.argmax(A), A.argmax(-1)),
    "cumsum": (lambda: K.cumsum(A), A.cumsum(0)),
    "concatenate": (lambda: K.concatenate([A, A]), np.concatenate([A, A], -1)),
    "expand_dims": (lambda: K.expand_dims(C), C[..., None]),
    "l2_normalize": (
        lambda: K.l2_normalize(A, 1),
        A / np.linalg.norm(A, axis=1, keepdims=True),
    ),
    "constant": (lambda: K.constant([1, 2, 3, 4], shape=(2, 2)), [[1, 2], [3, 4]]),
    "constant of a number": (lambda: K.constant(3, shape=(2, 1)), [[3], [3]]),
    "l2_normalize of a zero vector of float16": (
        lambda: K.l2_normalize(np.zeros((2, 3), "float16"), 1),
        np.zeros((2, 3)),
    ),
    "repeat": (lambda: K.repeat(C, 2), np.stack([C, C], 1)),
    "repeat_elements": (lambda: K.repeat_elements(A, 2, 1), A.repeat(2, 1)),
    "reverse": (lambda: K.reverse(A, [1]), A[:, ::-1]),
    "batch_flatten": (lambda: K.batch_flatten(A), A.reshape(3, 20)),
    "temporal_padding": (lambda: K.temporal_padding(A), np.pad(A, [(0, 0), (1, 1), (0, 0)])),
    "switch": (
        lambda: K.switch(np.array([True, False, True]), C, lambda: -C),
        C * np.array([[1], [-1], [1]]),
    ),
    "gather": (lambda: K.gather(A, np.array([2, 0])), A[[2, 0]]),
    "bias_add": (lambda: K.bias_add(A, C[0]), A + C[0]),
    "one_hot": (lambda: K.one_hot(np.array([1]), 3), [[0, 1, 0]]),
    "foldr": (lambda: K.foldr(lambda a, b: a - b, C), C[2] - C[1] - C[0]),
    "relu": (lambda: K.relu(A, 0.5, 1.0), np.where(A > 0, np.minimum(A, 1), A / 2)),
    "conv1d": (
        lambda: K.conv1d(A, np.ones((2, 5, 1)), padding="causal"),
        (A + np.pad(A, [(0, 0), (1, 0), (0, 0)])[:, :4]).sum(-1, keepdims=True),
    ),
    "resize_volumes": (
        lambda: K.resize_volumes(A[..., None, None], 2, 1, 1, "channels_last")[..., 0, 0],
        A.repeat(2, 1),
    ),
}


@pytest.mark.parametrize("name", BACKEND)
def test_functions_of_the_older_backend(name):
    call, expected = BACKEND[name]
    np.testing.assert_allclose(np.asarray(call()), expected, rtol=1e-5, atol=1e-6)


def test_rnn_of_the_older_backend_keeps_states_where_the_mask_is_false():
    def step(x, states):
        return x + states[0], [x + states[0]]

    last, outputs, states = K.rnn(step, A, [np.zeros((3, 5))])
    np.testing.assert_allclose(outputs, A.cumsum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, states[0])
    mask = np.array([[True, False, True, True]] * 3)
    _, outputs, _ = K.rnn(step, A, [np.zeros((3, 5))], mask=mask)
    np.testing.assert_allclose(outputs, (A * mask[..., None]).cumsum(1), rtol=1e-5, atol=1e-6)
    _, outputs, _ = K.rnn(step, A, [np.zeros((3, 5))], go_backwards=True)
    np.testing.assert_allclose(outputs, A[:, ::-1].cumsum(1), rtol=1e-5, atol=1e-6)


def test_ctc_of_the_older_backend_has_its_blank_last():
    p = RNG.uniform(size=(2, 6, 4)).astype("float32")
    p /= p.sum(-1, keepdims=True)
    y, lengths, of_labels = np.array([[0, 1], [2, 0]]), np.array([[6], [5]]), np.array([[2], [1]])
    found = np.asarray(K.ctc_batch_cost(y, p, lengths, of_labels))
    expected = ops.ctc_loss(y + 1, np.log(np.roll(p, 1, -1)), [2, 1], [6, 5], mask_index=0)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)
    labels, _ = K.ctc_decode(p, np.array([6, 5]))
    assert np.asarray(labels[0]).max() < 3


@pytest.mark.parametrize("name", K.__all__)
def test_each_name_of_the_older_backend_is_there(name):
    assert callable(getattr(K, name))
