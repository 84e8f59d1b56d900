"""Numbers, counters and constants of functions under `tf.function`, which are recorded."""

import subprocess
import sys
import textwrap

import pytest

HEAD = """
    import warnings
    import keras
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(8, 3)).astype("float32"))
    y = tf.constant(rng.normal(size=(8, 1)).astype("float32"))

    def trained(make, more, eagerly):
        tf.config.run_functions_eagerly(eagerly)
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
        adam, mean = keras.optimizers.Adam(0.1), keras.metrics.Mean()

        def learn(factor):
            with tf.GradientTape(persistent=True) as tape:
                loss = factor * tf.reduce_mean(tf.square(net(x) - y))
            weights = net.trainable_variables
            found = tape.gradient(loss, weights)
            del tape
            adam.apply_gradients(zip(found, weights))
            return loss

        step = make(adam, mean, learn)
        losses = [np.asarray(step(*map(f, more))) for f in FACTORS]
        left = [v for v in step.calls._records.chains._states.values() if not isinstance(v, str)]
        return [a.tobytes() for a in (*losses, *net.get_weights())], len(left), step.calls.reason

    FACTORS = [lambda a, n=n: a(n) for n in range(9)]

    def shown(make, *more):
        (there, n, reason), (here, none, _) = (trained(make, more, e) for e in (False, True))
        print(there == here, n, none, reason)
"""


def run(tmp_path, body):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-m", "cdl", str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("step", "argument"),
    [
        ("c: learn(c)", "lambda n: tf.constant(0.5 / (n + 1))"),
        ("c: learn(2.0 * c - c**2)", "lambda n: 0.3 / (n + 1)"),
        ("n: learn(1 / (n + 2))", "lambda n: n"),
        ("a, b: learn(a) + b", "lambda n: float(n), lambda n: tf.constant(float(n))"),
        (": learn(1 / (1.0 + tf.cast(adam.iterations, tf.float32)))", ""),
        (": (learn(1.0), adam.learning_rate.assign(0.9 * adam.learning_rate))[1]", ""),
        ("c: (adam.learning_rate.assign(c), learn(1.0))[1]", "lambda n: tf.constant(0.1 + n)"),
        (": (mean.reset_state(), mean.update_state(learn(1.0)), mean.result())[2]", ""),
        (": learn(tf.reduce_mean(np.arange(4, dtype='f') + tf.cast(tf.range(4), 'float32')))", ""),
    ],
)
def test_functions_of_numbers_are_recorded_with_the_bits_of_python(tmp_path, step, argument):
    made = f"shown(lambda adam, mean, learn: tf.function(lambda {step}), {argument})"
    assert run(tmp_path, made).stdout == "True 1 0 \n"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("n: learn(1.0 if n > 4 else 2.0)", "what comes next depends on a number"),
        ("n: learn(sum(range(n + 1)) + 1.0)", "index() of an array is used"),
    ],
)
def test_a_number_that_code_depends_on_is_told(tmp_path, step, reason):
    done = run(tmp_path, f"shown(lambda _, mean, learn: tf.function(lambda {step}), lambda n: n)")
    assert done.stdout.startswith("True 0 0 ") and reason in done.stdout
    assert done.stderr.count("runs in Python: ") == 1


def test_many_shapes_are_told(tmp_path):
    body = """
    net, adam = keras.Sequential([keras.layers.Dense(1)]), keras.optimizers.Adam()

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(net(x))
        adam.apply_gradients(zip(tape.gradient(loss, net.weights), net.weights))

    for n in range(1, 22):
        step(tf.ones((n, 3)))
    print(step.calls.reason)
    """
    done = run(tmp_path, body)
    assert done.stdout.startswith("more than 8 kinds of calls by shapes")
    assert done.stderr.count("runs in Python: more than 8") == 1


def test_the_default_of_training_counts_where_none_is_given(tmp_path):
    body = """
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(shape=(), initializer="ones")

        def call(self, x, training=True):
            return x * self.w * (10.0 if training else 1.0)

    net = Net()
    with tf.GradientTape() as tape:
        found = net(x)
    print(np.abs(found / x).max().round(3), (tape.gradient(found, net.w) / np.sum(x)).round(3))
    print(*[np.abs(e / x).max() for e in (net(x, training=False), net.predict(x, verbose=0))])
    """
    assert run(tmp_path, body).stdout.split() == ["10.0", "10.0", "1.0", "1.0"]


def test_objects_beside_numbers_are_given_up(tmp_path):
    done = run(
        tmp_path,
        """
        import gc, weakref

        class Options:
            scale = 2.0

        @tf.function
        def step(factor, options):
            return factor * options.scale * x

        given = []
        for n in range(200):
            options = Options()
            given.append(weakref.ref(options))
            step(0.5, options)
        del options
        gc.collect()
        print(sum(each() is not None for each in given) < 40)
        """,
    )
    assert done.stdout == "True\n"
