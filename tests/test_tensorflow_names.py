"""Names of TensorFlow's that scripts and libraries call: values, files, images, checks."""

import pytest

BEGIN = """
import warnings
import numpy as np
import tensorflow as tf
from tensorflow import keras

rng = np.random.default_rng(0)
x = rng.normal(size=(3, 4)).astype("float32")
images = rng.uniform(size=(2, 6, 8, 3)).astype("float32")
ones = np.ones(4, int)
bytes_ = (images * 255).astype("uint8")


def near(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (a.shape, b.shape)
    np.testing.assert_allclose(a.astype("float64"), b.astype("float64"), rtol=1e-4, atol=1e-5)


"""


EQUAL = {
    "tf.one_hot([0, 2], depth=3)": "np.eye(3)[[0, 2]]",
    "tf.one_hot(indices=[[1]], depth=2, on_value=5.0, off_value=-1.0)": "[[[-1, 5]]]",
    "tf.one_hot([1, 0], 2, axis=0)": "[[0, 1], [1, 0]]",
    "tf.range(5)": "np.arange(5)",
    "tf.range(limit=4)": "np.arange(4)",
    "tf.range(1, limit=9, delta=3)": "[1, 4, 7]",
    "tf.range(start=2, limit=5)": "[2, 3, 4]",
    "tf.pad(x, [[1, 0], [0, 2]])": "np.pad(x, [(1, 0), (0, 2)])",
    "tf.pad(x, tf.constant([[0, 0], [2, 1]]), 'REFLECT')": "np.pad(x, [(0, 0), (2, 1)], 'reflect')",
    "tf.pad(tensor=x, paddings=[[1, 1], [0, 0]], constant_values=7)": (
        "np.pad(x, [(1, 1), (0, 0)], constant_values=7)"
    ),
    "tf.boolean_mask(x, [True, False, True])": "x[[0, 2]]",
    "tf.boolean_mask(x, x > 0)": "x[x > 0]",
    "tf.math.l2_normalize(np.zeros((2, 3), 'float16'), [0, 1])": "np.zeros((2, 3))",
    "tf.math.l2_normalize([3, 4], epsilon=0.0)": "[0.6, 0.8]",
    "tf.boolean_mask(x, [False, True, True, False], axis=1)": "x[:, 1:3]",
    "tf.linalg.band_part(x, -1, 0)": "np.tril(x)",
    "tf.linalg.band_part(x, 0, -1)": "np.triu(x)",
    "tf.linalg.band_part(x, 1, 1)": "np.triu(np.tril(x, 1), -1)",
    "tf.constant(3.0, shape=(2, 2))": "np.full((2, 2), 3.0)",
    "tf.constant([1, 2, 3, 4], shape=[2, 2])": "[[1, 2], [3, 4]]",
    "tf.where(x > 0)": "np.argwhere(x > 0)",
    "tf.where(condition=x > 0, x=x, y=0.0)": "np.where(x > 0, x, 0)",
    "tf.shape(x)": "[3, 4]",
    "tf.gather(x, [[1, 0], [2, 2], [3, 1]], batch_dims=1)": (
        "np.take_along_axis(x, np.array([[1, 0], [2, 2], [3, 1]]), 1)"
    ),
    "tf.gather_nd(x, [[0, 1], [2, 3]])": "x[[0, 2], [1, 3]]",
    "tf.tensor_scatter_nd_update(tf.zeros(3), [[1]], [5.0])": "[0, 5, 0]",
    "tf.sort(x, direction='DESCENDING')": "-np.sort(-x)",
    "tf.argsort(x, axis=0)": "np.argsort(x, 0)",
    "tf.unique([4, 2, 4])[0]": "[4, 2]",
    "tf.unique([4, 2, 4])[1]": "[0, 1, 0]",
    "tf.sequence_mask([1, 3], 4)": "[[1, 0, 0, 0], [1, 1, 1, 0]]",
    "tf.math.confusion_matrix([0, 1, 1], [0, 1, 0])": "[[1, 0], [1, 1]]",
    "tf.math.bincount([0, 2, 2], minlength=4)": "[1, 0, 2, 0]",
    "tf.cumsum([1, 2, 3], exclusive=True)": "[0, 1, 3]",
    "tf.cumsum([1, 2, 3], reverse=True)": "[6, 5, 3]",
    "tf.clip_by_value(x, clip_value_min=-0.5, clip_value_max=0.5)": "x.clip(-0.5, 0.5)",
    "tf.clip_by_norm([3.0, 4.0], 1.0)": "[0.6, 0.8]",
    "tf.reshape(tensor=x, shape=[4, -1])": "x.reshape(4, 3)",
    "tf.concat(values=[x, x], axis=1)": "np.concatenate([x, x], 1)",
    "tf.tile(x, multiples=[1, 2])": "np.tile(x, (1, 2))",
    "tf.expand_dims(input=x, axis=-1)": "x[..., None]",
    "tf.eye(num_rows=2, num_columns=3)": "np.eye(2, 3)",
    "tf.math.reduce_std(x, axis=1)": "x.std(1)",
    "tf.math.divide_no_nan(x, 0.0)": "0 * x",
    "tf.map_fn(lambda row: row * 2, x)": "2 * x",
    "tf.cond(tf.constant(True), lambda: 1, lambda: 2)": "1",
    "tf.while_loop(lambda i: i < 5, lambda i: i + 2, [tf.constant(0)])[0]": "6",
    "tf.nn.conv1d(x[None], np.ones((2, 4, 1), 'float32'), stride=1, padding='VALID')[0, :, 0]": (
        "[x[0:2].sum(), x[1:3].sum()]"
    ),
    "tf.nn.conv2d(images, np.ones((1, 1, 3, 1), 'float32'), [1, 2, 2, 1], 'SAME')[..., 0]": (
        "images[:, ::2, ::2].sum(-1)"
    ),
    "tf.nn.max_pool2d(images, 2, 2, 'VALID')": (
        "images.reshape(2, 3, 2, 4, 2, 3).max(axis=(2, 4))"
    ),
    "tf.nn.avg_pool2d(images, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding='VALID')": (
        "images.reshape(2, 3, 2, 4, 2, 3).mean(axis=(2, 4))"
    ),
    "tf.nn.bias_add(x, [1.0, 2.0, 3.0, 4.0])": "x + [1, 2, 3, 4]",
    "tf.nn.sparse_softmax_cross_entropy_with_logits([1, 0, 3], x)": (
        "np.log(np.exp(x).sum(1)) - x[[0, 1, 2], [1, 0, 3]]"
    ),
    "x[:, tf.newaxis]": "x[:, None]",
    "tf.numpy_function(np.sqrt, [[4.0]], tf.float32)": "[2.0]",
    "tf.py_function(lambda a: a.numpy() + 1, [1], tf.int64)": "2",
    "tf.experimental.numpy.where(x > 0, x, 0.0)": "np.where(x > 0, x, 0)",
    "tf.nest.map_structure(lambda a: a + 1, {'a': 1})['a']": "2",
    "tf.random.shuffle([1, 1, 1])": "[1, 1, 1]",
    "tf.random.uniform((2,), 3, 4, dtype=tf.int32)": "[3, 3]",
    "tf.random.gamma((2000,), 3.0, beta=2.0, seed=1).numpy().mean().round(1)": "1.5",
    # pictures
    "tf.image.flip_left_right(images)": "images[:, :, ::-1]",
    "tf.image.flip_up_down(images[0])": "images[0, ::-1]",
    "tf.image.rot90(images[0])": "np.rot90(images[0])",
    "tf.image.transpose(images)": "images.swapaxes(1, 2)",
    "tf.image.resize(images, (3, 4))": ("images.reshape(2, 3, 2, 4, 2, 3).mean(axis=(2, 4))"),
    "tf.image.resize(bytes_[0], [6, 4], method='nearest')": "bytes_[0, :, 1::2]",
    "tf.image.resize(images, [3, 3], preserve_aspect_ratio=True).shape": "[2, 2, 3, 3]",
    "tf.image.resize(bytes_, (12, 16)).dtype == np.float32": "True",
    "tf.image.central_crop(images, 0.5)": "images[:, 1:5, 2:6]",
    "tf.image.crop_to_bounding_box(images, 1, 2, 3, 4)": "images[:, 1:4, 2:6]",
    "tf.image.pad_to_bounding_box(images[0], 1, 0, 8, 8)[1:7]": "images[0]",
    "tf.image.resize_with_crop_or_pad(images, 4, 10)[:, :, 1:9]": "images[:, 1:5]",
    "tf.image.resize_with_pad(images, 12, 12).shape": "[2, 12, 12, 3]",
    "tf.image.convert_image_dtype(bytes_, tf.float32)": "bytes_ / 255",
    "tf.image.convert_image_dtype(images, tf.uint8)": "(images * 255.5).astype('uint8')",
    "tf.image.convert_image_dtype(bytes_, 'uint16')": "bytes_.astype(int) * 256",
    "tf.image.adjust_brightness(images, delta=0.25)": "images + 0.25",
    "tf.image.adjust_brightness(bytes_, 1.0)": "np.full(bytes_.shape, 255)",
    "tf.image.adjust_contrast(images, 2.0)": (
        "2 * images - images.mean(axis=(1, 2), keepdims=True)"
    ),
    "tf.image.adjust_saturation(images, 0.0)": ("images.max(-1, keepdims=True).repeat(3, -1)"),
    "tf.image.adjust_hue(images, 1 / 3)": "images[..., [2, 0, 1]]",
    "tf.image.per_image_standardization(images[0])": (
        "(images[0] - images[0].mean()) / images[0].std()"
    ),
    "tf.image.grayscale_to_rgb(images[..., :1])": "images[..., [0, 0, 0]]",
    "tf.image.rgb_to_grayscale(images)[..., 0]": "images @ [0.2989, 0.587, 0.114]",
    "tf.image.yuv_to_rgb(tf.image.rgb_to_yuv(images))": "images",
    "tf.image.hsv_to_rgb(tf.image.rgb_to_hsv(images))": "images",
    "tf.image.psnr(images, images + 0.1, 1.0)": "[20.0, 20.0]",
    "tf.image.ssim(np.ones((1, 16, 16, 3), 'float32'), np.ones((1, 16, 16, 3), 'float32'), 1.0)": (
        "[1.0]"
    ),
    "tf.image.total_variation(images)": (
        "abs(np.diff(images, axis=1)).sum((1, 2, 3)) + abs(np.diff(images, axis=2)).sum((1, 2, 3))"
    ),
    "tf.image.extract_patches(images, 2 * ones, 2 * ones, ones, 'VALID')[0, 1, 2]": (
        "images[0, 2:4, 4:6].ravel()"
    ),
    "tf.image.random_crop(images[0], (4, 8, 3)).shape": "[4, 8, 3]",
    "tf.image.random_brightness(images, 0.0)": "images",
    "tf.image.stateless_random_flip_left_right(images, (1, 2))": (
        "tf.image.stateless_random_flip_left_right(images, (1, 2))"
    ),
    "np.sort(tf.image.random_flip_up_down(images), axis=1)": "np.sort(images, axis=1)",
}


def test_functions_give_what_they_give_in_tensorflow(claims):
    claims(*(f"near({a}, {b})" for a, b in EQUAL.items()))


def test_losses_of_these_functions_are_compiled(claims):
    claims(
        """
def loss(y_true, y_pred):
    hot = tf.one_hot(tf.cast(y_true[:, 0], tf.int32), depth=4)
    far = tf.reduce_sum(tf.nn.softmax(y_pred) * (1 - hot), axis=-1)
    padded = tf.pad(y_pred, [[0, 0], [1, 1]])
    y_pred.get_shape().as_list()
    assert y_pred.shape.rank == 2
    return far + 0.1 * tf.reduce_mean(tf.square(padded), axis=[1])

class Shrunk(keras.layers.Layer):
    def call(self, inputs):
        half = tf.image.resize(inputs, (3, 4))
        return tf.nn.max_pool2d(tf.image.flip_left_right(half), 2, 1, "SAME")

model = keras.Sequential([Shrunk(), keras.layers.Flatten(), keras.layers.Dense(4)])
model.compile("adam", loss)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    history = model.fit(images, np.array([[1], [3]]), epochs=5, verbose=0).history["loss"]
assert history[-1] < history[0]
"""
    )


# --- what is what ---


def test_arrays_are_no_tensors_and_matplotlib_draws_them(claims):
    claims(
        "import matplotlib; matplotlib.use('agg')",
        "import matplotlib.pyplot as plt",
        "line, = plt.plot([1.0, 2.0], np.array([3.0, 4.0]))",
        "plt.plot(tf.constant([1.0, 2.0])); plt.imshow(tf.constant(images[0])); plt.hist(x)",
        "near(line.get_ydata(), [3, 4])",
        "assert not any(map(tf.is_tensor, (x, x[0, 0], 1.0, [x], None, 'a')))",
        "assert tf.is_tensor(tf.constant(1.0)) and tf.is_tensor(tf.Variable(1.0))",
    )


def test_a_variable_is_one_of_tensorflow_s(claims):
    claims(
        "v = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name='scope/v')",
        "assert isinstance(v, tf.Variable) and not isinstance(x, tf.Variable)",
        "assert isinstance(keras.optimizers.Adam().learning_rate, tf.Variable)",
        "dense = keras.layers.Dense(2); dense.build((None, 3))",
        "assert isinstance(dense.kernel, tf.Variable) and isinstance(tf.Variable, type)",
        "v[0, 0].assign(7.0); v[1].assign_add([1.0, 1.0]); v[:, 1].assign_sub([1.0, 2.0])",
        "near(v, [[7, 1], [4, 3]])",
        "near(v[0].numpy(), [7, 1]); near((v + 1).numpy(), [[8, 2], [5, 4]])",
        "n = tf.Variable(3, trainable=False, dtype=tf.int64); n.assign_add(2)",
        "assert int(n) == 5 and tf.Variable(lambda: tf.ones((2,))).shape == (2,)",
    )


def test_shapes_say_more_of_themselves(claims):
    claims(
        "t = tf.constant(x)",
        "assert t.shape.as_list() == t.get_shape().as_list() == [3, 4] and t.shape == (3, 4)",
        "assert t.shape == [3, 4] and t.shape.rank == 2 and t[0].shape.num_elements() == 4",
        "assert isinstance(t.shape, tf.TensorShape) and t.shape[1:] == tf.TensorShape(4)",
        "assert tf.TensorShape([None, 4]).is_compatible_with(t.shape)",
        "assert not tf.TensorShape([None]).is_fully_defined() and t.shape + (1,) == (3, 4, 1)",
        "assert np.zeros(t.shape).shape == (3, 4)",
        "t.set_shape([None, 4]); refused(ValueError, lambda: t.set_shape([2, 4]), 'set_shape')",
        "assert t[0, 0].numpy() == x[0, 0] and (t[0, 0] + 1).numpy() == x[0, 0] + 1",
        "assert [type(row.numpy()).__name__ for row in t] == ['ndarray'] * 3",
        "assert tf.float32.as_numpy_dtype is np.float32 and t.dtype == tf.float32",
        "assert tf.as_dtype('int32') == tf.int32 and tf.uint8.max == 255 and tf.int8.is_integer",
    )


def test_print_writes_to_the_stream_of_errors(script):
    done = script(
        "import tensorflow as tf\ntf.print('loss', tf.constant([1, 2]), tf.constant(3), sep=': ')",
        "-m",
        "cdl",
    )
    assert (done.stdout, done.stderr) == ("", "loss: [1 2]: 3\n")


# --- versions and what is installed ---


def test_versions_are_numbers(claims):
    claims(
        "import importlib.metadata, importlib.util",
        "for version in (tf.__version__, keras.__version__, keras.version(), tf.version.VERSION):",
        "    assert [*map(int, version.split('.'))] >= [2], version",
        "assert keras.version() == keras.__version__ == importlib.metadata.version('keras')",
        "assert importlib.metadata.version('tensorflow') == tf.__version__",
        "assert importlib.metadata.distribution('tensorflow').metadata['Name'] == 'tensorflow'",
        "assert 'tensorflow' in {each.name for each in importlib.metadata.distributions()}",
        "assert importlib.util.find_spec('tensorflow.keras') is not None",
        "refused(importlib.metadata.PackageNotFoundError, "
        "lambda: importlib.metadata.version('tensorflow-text'))",
        "assert importlib.metadata.version('numpy') == np.__version__",
    )


# --- files ---


def test_files_are_found_read_and_written(claims, tmp_path):
    claims(
        f"import os; os.chdir({str(tmp_path)!r})",
        "g = tf.io.gfile",
        "g.makedirs('a/b'); g.makedirs('a/b'); g.mkdir('c')",
        "with g.GFile('a/x.txt', 'w') as file: file.write('one\\ntwo')",
        "with g.GFile('a/x.txt') as file: assert file.read() == 'one\\ntwo'",
        "assert g.exists('a/x.txt') and g.isdir('a') and g.listdir('a/b') == []",
        "g.copy('a/x.txt', 'c/y.txt')",
        "refused(FileExistsError, lambda: g.copy('a/x.txt', 'c/y.txt'))",
        "g.rename('c/y.txt', 'c/z.txt'); assert g.glob('*/*.txt') == ['a/x.txt', 'c/z.txt']",
        "assert g.stat('a/x.txt').st_size == 7 and [*g.walk('c')] == [('c', [], ['z.txt'])]",
        "g.remove('c/z.txt'); g.rmtree('a'); assert not g.exists('a')",
        "refused(tf.errors.NotFoundError, lambda: g.remove('nothing'))",
        "refused(tf.errors.NotFoundError, lambda: tf.io.read_file('nothing'))",
        "tf.io.write_file('d/raw', tf.io.decode_raw(b'', tf.uint8).tobytes())",
        "assert tf.io.read_file('d/raw').numpy() == b''",
        "near(tf.io.decode_raw(b'\\x01\\x00\\x02\\x00', tf.int16), [1, 2])",
    )


def test_images_are_read_and_decoded_within_map(claims, tmp_path):
    pytest.importorskip("PIL")
    claims(
        f"import os; os.chdir({str(tmp_path)!r})",
        "for i in range(2): tf.io.write_file(f'{i}.png', tf.io.encode_png(bytes_[i]))",
        "tf.io.write_file('0.jpg', tf.io.encode_jpeg(bytes_[0], quality=90))",
        """
def load(path, label):
    image = tf.io.read_file(path)
    image = tf.image.decode_png(image, channels=3)
    image = tf.image.convert_image_dtype(image, tf.float32)
    return tf.image.resize(image, [3, 4]), label
""",
        "data = tf.data.Dataset.from_tensor_slices((['0.png', '1.png'], [0, 1]))",
        "data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(2)",
        "for pictures, labels in data: near(pictures, tf.image.resize(bytes_ / 255.0, [3, 4]))",
        "near(tf.io.decode_image(tf.io.read_file('1.png')), bytes_[1])",
        "assert tf.io.decode_jpeg(tf.io.read_file('0.jpg'), channels=1).shape == (6, 8, 1)",
        "near(tf.image.decode_image(tf.io.read_file('0.png'), dtype=tf.float32), bytes_[0] / 255)",
        "paths = tf.data.Dataset.list_files('*.png', shuffle=False)",
        "assert [p.numpy().decode('utf-8') for p in paths] == ['0.png', '1.png']",
        "content = tf.io.read_file('0.png')",
        "refused(ValueError, lambda: tf.io.decode_png(content, channels=2), 'channels')",
        "model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])",
        "model.compile('adam', 'mse'); model.fit(data, epochs=2, verbose=0)",
    )


def test_checks_hold_or_say_what_came(claims):
    claims(
        "d = tf.debugging",
        "d.assert_equal(x, x); d.assert_less(x, x + 1); d.assert_near([1.0], [1.0 + 1e-7])",
        "d.assert_non_negative([0.0]); d.assert_rank(x, 2); d.check_numerics(x, 'x')",
        "d.assert_shapes([(x, ('n', 4)), (x, ('n', None))])",
        "wrong = tf.errors.InvalidArgumentError",
        "refused(wrong, lambda: d.assert_equal(1, 2, message='sizes'), 'sizes')",
        "d.assert_near([1.0], [1.05], rtol=0.1); d.assert_near([1.0], [1.05], 0.0, 0.06)",
        "refused(wrong, lambda: d.assert_near([1.0], [1.05], 0.01, message='close'), 'close')",
        "refused(wrong, lambda: d.assert_rank(x, 3, message='axes'), 'axes')",
        "refused(wrong, lambda: d.assert_shapes([(x, ('n',))], message='rows'), 'rows')",
        "refused(ValueError, lambda: d.assert_positive([0.0]), 'assert_positive')",
        "refused(ValueError, lambda: d.assert_rank(x, 3), 'rank must be 3')",
        "refused(ValueError, lambda: d.check_numerics(np.array([np.nan]), 'here'), 'here')",
        "refused(ValueError, lambda: d.assert_shapes([(x, ('n', 'n'))]), 'shape must be')",
    )


def test_threads_have_their_own_summaries(claims):
    claims(
        """
from threading import Thread

steps = []


def work():
    steps.append(tf.summary.experimental.get_step())
    tf.summary.experimental.set_step(9)
    steps.append(tf.summary.experimental.get_step())


tf.summary.experimental.set_step(3)
thread = Thread(target=work)
thread.start()
thread.join()
assert steps == [None, 9] and tf.summary.experimental.get_step() == 3
"""
    )


def test_names_of_files_are_tensors_and_bytes(claims, tmp_path):
    claims(
        f"import os; os.chdir({str(tmp_path)!r})",
        "for name in ('a.txt', 'b.txt', 'c.csv'): tf.io.write_file(name, 'x')",
        "found = tf.io.matching_files(tf.constant(['*.txt', '*.csv']))",
        "assert found.numpy().tolist() == ['a.txt', 'b.txt', 'c.csv']",
        "assert tf.io.matching_files(tf.constant('*.csv')).numpy().tolist() == ['c.csv']",
        "assert tf.io.gfile.glob([b'*.csv', 'a.*']) == ['c.csv', 'a.txt']",
        "assert tf.io.gfile.exists(b'a.txt') and tf.io.gfile.exists(tf.constant('a.txt'))",
    )


def test_protos_are_tensorboard_s(claims):
    pytest.importorskip("tensorboard")
    claims("near(tf.make_ndarray(tf.make_tensor_proto(x)), x)")


def test_summaries_are_written_for_tensorboard(claims, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    claims(
        f"writer = tf.summary.create_file_writer({str(tmp_path)!r})",
        "assert not tf.summary.scalar('lost', 1.0, step=0)",
        "with writer.as_default():",
        "    for step in range(3): tf.summary.scalar('loss', tf.constant(step / 2), step=step)",
        "    tf.summary.experimental.set_step(7); tf.summary.text('note', 'hello')",
        "    tf.summary.histogram('weights', x)",
        "writer.close(); tf.compat.v1.Summary()",
    )
    events = loader.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["tensors"]) == {"loss", "note", "weights"}
    assert [each.step for each in events.Tensors("loss")] == [0, 1, 2]
    assert events.Tensors("note")[0].step == 7


def test_what_needs_a_package_names_it(claims):
    claims(
        "import sys; sys.modules['tensorboard'] = None",
        "needs = 'tensorboard'",
        "refused(ImportError, lambda: tf.summary.create_file_writer('logs'), 'tf.summary', needs)",
        "refused(ImportError, lambda: tf.make_tensor_proto(x), 'tf.make_tensor_proto', needs)",
    )
