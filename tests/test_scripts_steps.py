"""Steps of scripts for TensorFlow's Keras by `python -m cdl`: recorded, with Keras's numbers."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Logs of the last epoch by TensorFlow 2.21.0 and Keras 3.15.1, from equal weights and data.
KERAS = {
    "guided": {"mae": 0.6141668, "loss": 0.745199, "val_loss": 0.508532, "val_mae": 0.5626485},
    "weighted": {"mae": 0.614228, "loss": 0.3266961},
    "tracking": {"error": 0.6141668, "loss": 0.745199},
    "following": {"apart": 0.1761553, "loss": 0.6854904, "mae": 0.6141668},
    "gan": {"judged": 0.568736, "made": 0.9478249},
    "critics": {"critic": 1.289756, "maker": -0.5063007},
    "vae": {"code": 0.02551964, "image": 4.159895, "loss": 4.185414},
    "cycle": {"back": 6.920209, "one": 0.1584512, "other": 0.1200326, "there": 9.231716},
}
STEPS = Path(__file__).parent / "helpers" / "tf_steps.py"


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", "cdl", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def steps():
    return json.loads(run(STEPS).stdout)


def test_all_are_recorded_with_the_bits_of_python(steps):
    assert len(steps) == 11
    for name, found in steps.items():
        assert found["same"] and found["recorded"], (name, found["reasons"])


@pytest.mark.parametrize("name", KERAS)
def test_they_learn_as_with_tensorflow(steps, name):
    assert steps[name]["logs"] == pytest.approx(KERAS[name], rel=2e-5)


HEAD = """
    import warnings
    import numpy as np
    import tensorflow as tf
    import keras
    from cdl.trainers.chains import step_chains

    step_chains._TOLD = 20
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(1)

        def call(self, inputs):
            return self.last(inputs)

        def learn(self, data, factor=1.0):
            x, y = data
            with tf.GradientTape() as tape:
                loss = factor * tf.reduce_mean(tf.square(y - self(x, training=True)))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return {"loss": loss}

    def fit(cls, **options):
        keras.utils.set_random_seed(1)
        model = cls()
        model.compile("sgd", **options)
        logs = model.fit(x, x[:, :1], epochs=8, batch_size=16, verbose=0).history
        return model, (logs, [w.tolist() for w in model.get_weights()])

    def check(cls):
        (eager, wanted), (model, found) = fit(cls, run_eagerly=True), fit(cls)
        print(wanted == found, list(model._compiled.chains.reasons.values()))
    """


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("if tf.reduce_mean(data[1]) > 0.0: pass", "depends on a number"),
        ("tf.print('batch')", "tf.print() is called"),
        ("seen = float(data[0][0, 0])", "float() of an array"),
        ("seen = data[0].numpy()", "numpy of an array"),
        ("kept = tf.boolean_mask(data[0], data[0] > 0.0)", "of an array is used"),
    ],
)
def test_one_warning_names_the_line_of_what_is_not_recorded(tmp_path, line, reason):
    script = tmp_path / "script.py"
    body = f"""
    class Told(Net):
        def train_step(self, data):
            {line}
            return self.learn(data)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check(Told)
    print([str(each.message) for each in told])
    """
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
    same, told = run(script).stdout.splitlines()
    assert same.startswith("True") and told.count("Told.train_step runs in Python") == 1
    number = script.read_text().splitlines().index(f"        {line}") + 1
    assert f"{script}:{number}: " in told and reason in told


def test_tensors_of_a_recorded_step_have_the_shapes_of_those_in_python(tmp_path):
    script = tmp_path / "script.py"
    body = """
    class Shapes(Net):
        def train_step(self, data):
            x, y = data
            assert x.get_shape()[0] == x.shape.as_list()[0] == len(x) and tf.is_tensor(x)
            assert isinstance(x, tf.Tensor) and x.dtype == tf.float32
            kept = y
            y += tf.cast(tf.shape(y)[0] * 2, tf.float32) / 100.0
            x = tf.reshape(tf.tile(x[:, tf.newaxis], [1, 2, 1])[:, 0], (tf.shape(x)[0], -1))
            x = tf.where(x > 0.0, x, 0.1 * x) ** 2 + tf.stop_gradient(kept) % 0.7
            logs = self.learn((x, y), 0.5)
            return {**logs, "kept": tf.reduce_max(kept), "norm": tf.norm(x)}

        def test_step(self, data):
            return {"off": tf.reduce_mean(tf.abs(data[1] - self(data[0])))}

        def predict_step(self, data):
            return tf.nn.sigmoid(self(data))

    check(Shapes)
    model, _ = fit(Shapes)
    print(len(set(model.evaluate(x, x[:, :1], batch_size=16, verbose=0) for _ in range(3))))
    print(type(model.predict(x, batch_size=16, verbose=0)).__name__)
    print(model._compiled.chains.reasons)
    """
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
    assert run(script).stdout.splitlines() == ["True []", "1", "ndarray", "{}"]


def test_joined_sizes_are_shapes_in_recorded_functions(tmp_path):
    script = tmp_path / "script.py"
    body = """
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    sgd, runs = keras.optimizers.SGD(0.1), []

    def run(x):
        drawn = tf.random.normal(tf.stack([tf.shape(x)[0], 4]))
        drawn += tf.zeros(tf.concat([tf.shape(x)[:1], [4]], 0))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((net(x) - tf.tile(drawn, tf.stack([1, 1]))) ** 2)
        sgd.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.weights))
        return loss

    def seen(frame, event, _):
        runs.extend([1] if event == "call" and frame.f_code is run.__code__ else [])

    step = tf.function(run)
    sys.setprofile(seen)
    found = {float(step(np.ones((rows, 3), "float32"))) for rows in [8] * 6 + [5] * 6}
    sys.setprofile(None)
    print(len(found), len(runs) < 12, tf.stack([tf.shape(np.ones(3), tf.int64)]).dtype == "int64")
    """
    head = textwrap.dedent(HEAD) + "import sys\n"
    script.write_text(head + textwrap.dedent(body))
    assert run(script).stdout.split() == ["12", "True", "True"]
