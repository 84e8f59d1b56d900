"""Targets of `tf.GradientTape` in scripts that are variables, or that a tape has not seen."""

import subprocess
import sys
import textwrap

import numpy as np

import cdl

SCRIPT = """
    import numpy as np
    import tensorflow as tf

    one, two = tf.Variable(2.0), tf.Variable([2.0, 3.0])
    with tf.GradientTape(persistent=True) as tape:
        square, constant = two**2, tf.constant(4.0)

    assert [x if x is None else float(x) for x in tape.gradient(one, [one, two])] == [1.0, None]
    by_one, by_two = tape.gradient([one, square], [one, two])
    assert float(by_one) == 1.0 and by_two.numpy().tolist() == [4.0, 6.0]
    by = tape.gradient(two, two, output_gradients=tf.constant([3.0, 4.0]))
    assert by.numpy().tolist() == [3.0, 4.0]

    assert tape.gradient(constant, [one, two]) == [None, None]
    by_one, by_two = tape.gradient([constant, square], [one, two])
    assert by_one is None and by_two.numpy().tolist() == [4.0, 6.0]
    zero = tf.UnconnectedGradients.ZERO
    assert tape.gradient(constant, two, unconnected_gradients=zero).numpy().tolist() == [0.0, 0.0]

    with tf.GradientTape() as tape:
        constant = tf.constant(1.0) * 2.0
    assert tape.gradient(constant, one) is None
    try:
        tape.gradient(constant, one)
    except RuntimeError as error:
        assert "persistent" in str(error)
    else:
        raise AssertionError("a tape was used twice")
"""


def test_gradients_of_variables_and_of_what_the_tape_has_not_seen_are_those_of_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "cdl", str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_variable_is_a_target():
    one, other = cdl.Variable([1.0, 2.0]), cdl.Variable(3.0)
    with cdl.GradientTape() as tape:
        product = one * other
    by_one, by_other = tape.gradient([product, one], [one, other])
    np.testing.assert_allclose(by_one, [4.0, 4.0])
    np.testing.assert_allclose(by_other, 3.0)
