"""Loops of one's own under `tf.function` in scripts run by `python -m cdl`."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# The last numbers of each loop by TensorFlow 2.21.0 and Keras 3.15.1, from equal weights.
KERAS = {
    "guide": [0.25, 0.9820838, 0.4666667, 0.3333333],
    "penalties": [1.986564, 1.730866, 2.055247, 1.877804],
    "gan": [0.3186906, 0.7979434, 0.5910987, 0.3366378],
    "ddpg": [0.2737917, 0.2733698, 0.2736744, 0.2735001],
    "ppo": [0.03982889, 0.04108385, 0.04070864, 0.151569],
    "actor-critic": [-4.377761, -5.488153, -6.392308, -7.123028],
    "dqn": [0.7405326, 0.3173898, 0.5079068, 0.6604477],
}
HELPERS = Path(__file__).parent / "helpers"
# Calls that ran without their code.
RECORDED = {
    "guide": 8,
    "guide that drops": 6,
    "penalties": 16,
    "gan": 10,
    "gan that draws": 9,
    "ddpg": 19,
    "ppo": 12,
    "ppo that draws": 12,
    "actor-critic": 6,
    "dqn": 10,
}


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
def loops():
    return json.loads(run(HELPERS / "tf_loops.py").stdout)


def test_all_are_recorded_with_the_bits_of_python(loops):
    for name, found in loops.items():
        assert found["same"] and not any(found["reasons"]), (name, found["reasons"])
    assert {name: found["recorded"] for name, found in loops.items()} == RECORDED


@pytest.mark.parametrize("name", KERAS)
def test_they_learn_as_with_tensorflow(loops, name):
    assert loops[name]["numbers"][-4:] == pytest.approx(KERAS[name], rel=1e-5)


def test_calls_over_time_have_the_bits_of_python():
    found = json.loads(run(HELPERS / "tf_functions.py").stdout.splitlines()[-1])
    assert len(found) == 18
    for name, (same, told) in found.items():
        assert same and not told, (name, told)


HEAD = """
    import warnings
    import keras
    import numpy as np
    import tensorflow as tf

    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    adam, seen = keras.optimizers.Adam(0.1), []
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")

    def learn(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(net(x) - 1.0))
        weights = net.trainable_variables
        adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss
"""


def script_of(tmp_path, body):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
    return script


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("print('a step')", "print() is called"),
        ("seen.append(1)", ".append() changes what is not made in the step"),
        ("if tf.reduce_mean(x) > 0.0: x = 2.0 * x", "depends on a number"),
        ("x = x + np.random.rand()", "what this reads"),
    ],
)
def test_one_warning_names_the_line_of_what_is_not_recorded(tmp_path, line, reason):
    body = f"""
    @tf.function
    def step(x):
        {line}
        return learn(x)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        losses = [float(step(x)) for _ in range(6)]
    print(losses == sorted(losses, reverse=True), [str(each.message) for each in told])
    """
    script = script_of(tmp_path, body)
    *printed, shown = run(script).stdout.splitlines()
    assert len(printed) == (6 if "print" in line else 0)
    assert shown.count("tf.function: step runs in Python: ") == 1
    number = script.read_text().splitlines().index(f"    {line}") + 1
    assert f"{script}:{number}: " in shown and reason in shown


def test_functions_that_learn_nothing_run_as_they_are_without_a_warning(tmp_path):
    body = """
    @tf.function
    def shown(x):
        print("shown")
        return tf.reduce_sum(net(x))

    @tf.function
    def chosen(x):
        return net(x) if tf.reduce_mean(x) > 9.0 else -net(x)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [shown(x), shown(x), shown(x), chosen(x), chosen(x), chosen(x)]
    print(len(told), {type(each).__name__ for each in found})
    """
    printed = run(script_of(tmp_path, body)).stdout.splitlines()
    assert printed == ["shown"] * 3 + ["0 {'Tensor'}"]


def test_models_take_tensors_without_conversion(tmp_path):
    body = """
    from cdl.trainers import predict

    both = tf.function(lambda pair: net(pair["x"]) - net(tf.constant(pair["x"])))
    x = x[:1]
    first = [(net(x), both({"x": x})) for _ in range(4)][-1]
    del predict.inputs  # which converts
    found = net(tf.constant(x)), both({"x": x})
    print(all(map(np.array_equal, first, found)), {type(each).__name__ for each in found})
    """
    assert run(script_of(tmp_path, body)).stdout == "True {'Tensor'}\n"


def test_results_are_tensors_and_arguments_are_checked(tmp_path):
    body = """
    spec = tf.TensorSpec([None, 3], tf.float32)

    @tf.function(input_signature=[spec], jit_compile=True, experimental_relax_shapes=True)
    def both(x):
        assert isinstance(x, tf.Tensor)
        return {"loss": learn(x), "more": [1, 0.5, None, x[0]]}

    for _ in range(4):
        found = both(x.tolist())
    parts = [found["loss"], *found["more"]]
    print([type(each).__name__ for each in parts], both.calls.reason == "")
    print(both.python_function.__name__, both.__name__, tf.function(lambda x: x + 1)(1.0).numpy())
    for call in (lambda: both(x[:, :2]), lambda: both(x, x), lambda: both(x.astype("float64")),
                 lambda: tf.function(3), lambda: tf.function(learn, fast=True)):
        try:
            call()
        except TypeError as error:
            print(error)
    """
    assert run(script_of(tmp_path, body)).stdout.splitlines() == [
        "['Tensor', 'Tensor', 'Tensor', 'NoneType', 'Tensor'] True",
        "both both 2.0",
        "tf.function: both: an argument must fit TensorSpec(shape=(None, 3), dtype=float32, "
        "name=None) of input_signature, got an array of shape (8, 2)",
        "tf.function: both takes 1 arguments by its input_signature, got 2",
        "tf.function: both: an argument must fit TensorSpec(shape=(None, 3), dtype=float32, "
        "name=None) of input_signature, got an array of float64",
        "tf.function: func must be callable, got 3",
        "tf.function: got an unexpected keyword argument 'fast'",
    ]


MODULE = """
    import tensorflow as tf

    class Dense(tf.Module):
        def __init__(self, n, m, name=None):
            super().__init__(name=name)
            self.w = tf.Variable(tf.ones((n, m)), name="w")
            self.b = tf.Variable(tf.zeros(m), name="b", trainable=False)

        @tf.function
        def step(self, x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum((x @ self.w + self.b) ** 2)
            self.w.assign_sub(0.01 * tape.gradient(loss, self.w))
            return loss

    class Stack(tf.Module):
        def __init__(self):
            super().__init__()
            self.stack = [Dense(3, 4), Dense(4, 2, "last")]
            self.also = {"again": self.stack[0], "other": Dense(1, 1)}

    net = Stack()
    print(net.name, [each.name for each in net.submodules])
    print([tuple(each.shape) for each in net.variables], len(net.trainable_variables))
    print([round(float(net.stack[0].step(tf.ones((2, 3)))), 3) for _ in range(4)])
"""
# Output of TensorFlow 2.21.0.
OF_MODULE = """\
stack ['dense', 'dense', 'last']
[(4,), (3, 4), (1,), (1, 1), (2,), (4, 2)] 3
[72.0, 55.757, 43.178, 33.437]
"""


def test_modules_find_their_variables(tmp_path):
    (tmp_path / "a.py").write_text(textwrap.dedent(MODULE))
    done = run(tmp_path / "a.py")
    assert done.stdout == OF_MODULE
    assert "runs in Python" not in done.stderr
