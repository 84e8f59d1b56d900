"""`tf.signal`, complex numbers, `tf.TensorArray`, loops and branches of TensorFlow, in scripts."""

import ast
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import keras
    import numpy as np
    import tensorflow as tf

    wave = np.sin(np.arange(240.0) ** 1.3).reshape(2, 120).astype("float32")
    waves = tf.complex(wave, wave[::-1])
    signal = tf.signal
    half = signal.inverse_stft_window_fn(8)

    def written(rows):
        array = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
        for i in tf.range(rows.shape[0]):
            array = array.write(i, 2.0 * rows[i])
        return array

    def halves(x):
        return tf.while_loop(
            lambda i, a: i < 9, lambda i, a: (i + 1, a / 2), (tf.constant(0), x),
            maximum_iterations=4,
        )[1]

    def mels(x):
        table = signal.linear_to_mel_weight_matrix(6, 17, 8000, 80.0, 3800.0)
        return tf.math.log(tf.matmul(tf.abs(signal.stft(x, 32, 16)), table) + 0.01)

    FUNCTIONS = {
        "stft": lambda x: tf.abs(signal.stft(x, 30, 10)),
        "padded": lambda x: tf.math.real(
            signal.stft(x, 16, 8, 24, signal.hamming_window, pad_end=True)
        ),
        "angle": lambda x: tf.math.angle(signal.rfft(x))[:, 1:9],
        "inverse": lambda x: signal.inverse_stft(signal.stft(x, 32, 8), 32, 8, window_fn=half),
        "frame": lambda x: signal.frame(x, 50, 30, pad_end=True),
        "overlaps": lambda x: signal.overlap_and_add(signal.frame(x, 50, 30), 20),
        "mels": mels,
        "cepstra": lambda x: signal.mfccs_from_log_mel_spectrograms(mels(x))[..., :4],
        "dct": lambda x: signal.dct(x, norm="ortho"),
        "fft": lambda x: tf.math.imag(signal.fft(tf.cast(x, tf.complex64))),
        "ifft": lambda x: tf.math.real(signal.ifft(signal.fft(tf.cast(x, tf.complex64)) * 2.0)),
        "fft2d": lambda x: tf.math.real(signal.fft2d(tf.cast(x[:, :8], tf.complex64))),
        "irfft": lambda x: signal.irfft(signal.rfft(x[:, :64]) * 2.0),
        "product": lambda x: tf.math.real(
            tf.complex(x, 2 * x) * tf.math.conj(tf.complex(1 - x, x))
        ),
        "array": lambda x: written(x).stack(),
        "row": lambda x: written(x).read(1),
        "rows": lambda x: tf.TensorArray(tf.float32, 2).unstack(x).gather([1, 0]),
        "halves": halves,
        "scan": lambda x: tf.scan(lambda a, row: 0.5 * a + row, x),
        "fold": lambda x: tf.foldl(lambda a, row: 0.5 * a + row, x, tf.ones(120)),
        "back": lambda x: tf.foldr(lambda a, row: 0.5 * a + row, x),
        "case": lambda x: tf.case([(tf.constant(False), lambda: x)], default=lambda: 3 * x),
        "switch": lambda x: tf.switch_case(tf.constant(1), [lambda: x, lambda: 4 * x]),
    }

    def shown(found):
        some = np.ravel(found)[[0, 7, -2]]
        return found.shape.as_list(), [round(float(v), 3) + 0.0 for v in some]

    results, gradients = {}, {}
    for name, function in FUNCTIONS.items():
        x = tf.Variable(wave)
        with tf.GradientTape() as tape:
            found = function(x)
            loss = tf.reduce_sum(found * tf.cast(tf.range(found.shape[-1]), tf.float32))
        results[name] = shown(found)
        gradients[name] = shown(tf.convert_to_tensor(tape.gradient(loss, x)))[1]
    print(results)
    print(gradients)

    class Spectrum(keras.layers.Layer):
        def call(self, inputs):
            frames = tf.abs(signal.stft(inputs, frame_length=32, frame_step=16))
            return tf.math.log(frames + 0.1)

    class Mixed(keras.layers.Layer):
        def call(self, inputs):
            return tf.math.real(signal.fft2d(tf.cast(inputs, tf.complex64)))

    inputs = keras.Input((120,))
    y = keras.layers.Dense(1, kernel_initializer="ones")(Mixed()(Spectrum()(inputs)))
    model = keras.Model(inputs, keras.layers.Flatten()(y))
    print(shown(tf.constant(model.predict(wave, verbose=0))))
"""
# Loops of one's own, which need no Python once they are recorded.
RECORDED = """
    import tensorflow as tf

    FUNCTIONS = {
        "cast": lambda x: tf.cast(x, tf.float32),
        "size": lambda x: tf.abs(x) + tf.math.abs(tf.signal.rfft(x)[:2]),
        "transform": lambda x: tf.math.real(tf.signal.fft(tf.cast(x, tf.complex64))),
        "scan": lambda x: tf.scan(lambda a, b: a + b, x),
        "loop": lambda x: tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, 2 * a), (0, x))[1],
    }

    def losses_of(function, compiled):
        weight = tf.Variable([1.0, 2.0])

        def step(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(function(x * weight))
            weight.assign_sub(0.01 * tape.gradient(loss, weight))
            return loss

        called = tf.function(step) if compiled else step
        losses = [float(called(tf.constant([0.5, 0.3 + i]))) for i in range(6)]
        return losses, called.calls.reason if compiled else ""

    both = {name: (losses_of(f, True), losses_of(f, False)) for name, f in FUNCTIONS.items()}
    print([name for name, (one, other) in both.items() if one != other])
"""

# Output of TensorFlow 2.21.0 and Keras 3.15.1.
RESULTS = {
    "stft": ([2, 10, 17], [0.005, 0.109, 0.001]),
    "padded": ([2, 15, 13], [0.082, -0.428, -0.147]),
    "angle": ([2, 8], [-1.876, -1.637, 1.336]),
    "inverse": ([2, 120], [0.0, -0.002, -0.001]),
    "frame": ([2, 4, 50], [0.0, -0.017, 0.0]),
    "overlaps": ([2, 90], [0.0, -0.017, -0.097]),
    "mels": ([2, 6, 6], [-4.142, -4.338, -3.523]),
    "cepstra": ([2, 6, 4], [-6.645, -0.971, 0.48]),
    "dct": ([2, 120], [-0.003, 0.22, -0.001]),
    "fft": ([2, 120], [0.0, -0.868, -2.733]),
    "ifft": ([2, 120], [0.0, -0.034, -1.182]),
    "fft2d": ([2, 8], [0.36, 4.415, -0.176]),
    "irfft": ([2, 64], [0.0, -0.034, 0.135]),
    "product": ([2, 120], [0.0, -0.017, -0.242]),
    "array": ([2, 120], [0.0, -0.034, -1.182]),
    "row": ([120], [1.871, 0.618, -1.182]),
    "rows": ([2, 120], [0.936, 0.309, -0.436]),
    "halves": ([2, 120], [0.0, -0.001, -0.037]),
    "scan": ([2, 120], [0.0, -0.017, -0.809]),
    "fold": ([120], [1.186, 0.551, -0.559]),
    "back": ([120], [0.468, 0.138, -0.731]),
    "case": ([2, 120], [0.0, -0.051, -1.772]),
    "switch": ([2, 120], [0.0, -0.067, -2.363]),
}
GRADIENTS = {
    "stft": [0.0, 9.499, -1.033],
    "padded": [6.24, -6.556, 6.48],
    "angle": [45.224, -7.988, -2.2],
    "inverse": [0.0, 0.756, 0.114],
    "frame": [0.0, 7.0, 28.0],
    "overlaps": [0.0, 7.0, 0.0],
    "mels": [0.0, 16.559, 0.0],
    "cepstra": [0.0, -76.264, 0.0],
    "dct": [430.032, -82.006, 0.12],
    "fft": [0.0, 323.731, -1144.868],
    "ifft": [0.0, 14.0, 236.0],
    "fft2d": [56.0, -8.0, 0.0],
    "irfft": [0.0, 14.0, 0.0],
    "product": [0.0, 6.764, -21.432],
    "array": [0.0, 14.0, 236.0],
    "row": [0.0, 0.0, 236.0],
    "rows": [0.0, 7.0, 118.0],
    "halves": [0.0, 0.438, 7.375],
    "scan": [0.0, 10.5, 118.0],
    "fold": [0.0, 3.5, 118.0],
    "back": [0.0, 7.0, 59.0],
    "case": [0.0, 21.0, 354.0],
    "switch": [0.0, 28.0, 472.0],
}
OF_MODEL = ([2, 6], [-228.339, -35.942, -49.139])


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return run(SCRIPT, tmp_path_factory.mktemp("signal"))


def run(script, folder):
    """Lines that a script prints, as values."""
    file = folder / "script.py"
    file.write_text(textwrap.dedent(script))
    command = [sys.executable, "-m", "cdl", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(map(ast.literal_eval, done.stdout.splitlines()))


def test_values_are_as_in_tensorflow(output):
    results, _, of_model = output
    for name, (shape, numbers) in RESULTS.items():
        assert results[name][0] == shape, name
        assert results[name][1] == pytest.approx(numbers, abs=2e-3), name
    assert of_model[0] == OF_MODEL[0]
    assert of_model[1] == pytest.approx(OF_MODEL[1], rel=1e-4, abs=2e-3)


def test_gradients_are_as_in_tensorflow(output):
    for name, numbers in GRADIENTS.items():
        assert output[1][name] == pytest.approx(numbers, rel=1e-4, abs=2e-3), name


def test_steps_with_them_are_recorded(tmp_path):
    assert run(RECORDED, tmp_path) == [[]]
