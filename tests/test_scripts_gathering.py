"""Functions of TensorFlow that pick elements by index or mask, in scripts."""

import ast
import subprocess
import sys
import textwrap

SCRIPT = """
    import keras
    import numpy as np
    import tensorflow as tf

    table = tf.constant(np.sin(np.arange(120.0)).reshape(2, 3, 4, 5), tf.float32)
    pairs = tf.constant([[0, 2], [1, 1]])

    def shown(found):
        return found.shape.as_list(), [round(float(v), 4) for v in np.ravel(found)[[0, 1, -1]]]

    results = {
        "axis": tf.gather(table, [1, 0], axis=2),
        "last axis": tf.gather(table, pairs, axis=-1),
        "batch": tf.gather(table, pairs, batch_dims=1),
        "batch, later axis": tf.gather(table, pairs, axis=3, batch_dims=1),
        "batch of numbers": tf.gather(table, [1, 2], axis=1, batch_dims=1),
        "nd": tf.gather_nd(table, [[0, 1], [1, 2]]),
        "nd, batch": tf.gather_nd(table, [[[0], [2]], [[1], [0]]], batch_dims=1),
        "mask of two axes": tf.boolean_mask(table, [[True, False, True], [False, False, True]]),
        "mask of an axis": tf.boolean_mask(table, [False, True, True], axis=1),
        "top": tf.math.top_k(table, 3).values,
        "places": tf.nn.top_k(table, k=3).indices,
    }
    print({name: shown(found) for name, found in results.items()})

    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    net.set_weights([np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5]]), np.array([0.1, 0.2, 0.3])])
    x, actions = tf.constant([[1.0, 2.0], [0.5, -1.0], [-2.0, 1.0]]), tf.constant([2, 0, 1])
    losses = {
        "nd": lambda p: tf.gather_nd(p, tf.stack([tf.range(3), actions], axis=1)),
        "batch": lambda p: tf.gather(p, actions, axis=1, batch_dims=1),
        "mask": lambda p: tf.boolean_mask(p, [True, False, True]),
        "top": lambda p: tf.math.top_k(p, 2).values,
    }
    gradients = {}
    for name, picked in losses.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(picked(net(x)) ** 2)
        found = np.ravel(tape.gradient(loss, net.weights[0]))
        gradients[name] = [round(float(v), 4) for v in found]
    print(gradients)
    for bad in ([[0, 3]], [[2, 0]], [[-1, 0]]):
        try:
            tf.gather_nd(tf.ones((2, 3)), bad)
        except tf.errors.InvalidArgumentError:
            print("refused")
"""

# Output of TensorFlow 2.21.0.
RESULTS = {
    "axis": ([2, 3, 2, 5], [-0.9589, -0.2794, -0.3216]),
    "last axis": ([2, 3, 4, 2, 2], [0.0, 0.9093, 0.2367]),
    "batch": ([2, 2, 4, 5], [0.0, 0.8415, -0.9992]),
    "batch, later axis": ([2, 3, 4, 2], [0.0, 0.9093, 0.2367]),
    "batch of numbers": ([2, 4, 5], [0.9129, 0.8367, -0.3714]),
    "nd": ([2, 4, 5], [0.9129, 0.8367, -0.3714]),
    "nd, batch": ([2, 2, 4, 5], [0.0, 0.8415, -0.4441]),
    "mask of two axes": ([3, 4, 5], [0.0, 0.8415, -0.3714]),
    "mask of an axis": ([2, 2, 4, 5], [0.9129, 0.8367, -0.3714]),
    "top": ([2, 3, 4, 3], [0.9093, 0.8415, -0.3714]),
    "places": ([2, 3, 4, 3], [2.0, 1.0, 4.0]),
}
GRADIENTS = {
    "nd": [0.2346, -0.32, 0.0854, -0.1534, 0.1636, -0.0102],
    "batch": [0.2346, -0.32, 0.0854, -0.1534, 0.1636, -0.0102],
    "mask": [0.3752, -0.409, 0.0338, 0.2452, -0.0747, -0.1706],
    "top": [0.3191, -0.4819, 0.1628, 0.3692, 0.0673, -0.4366],
}


def test_they_are_as_in_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "cdl", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results, gradients, *refused = done.stdout.splitlines()
    assert ast.literal_eval(results) == RESULTS
    assert ast.literal_eval(gradients) == GRADIENTS
    assert refused == ["refused"] * 3
