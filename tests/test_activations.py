"""Activations of arrays and of programs, over the core's table."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
import references

from cdl import _core, activations
from cdl._ir.lowering import Lowering
from cdl.activations import ActivationFunction, RowActivation
from cdl.layers import Dense, Flatten

ELEMENTWISE = [
    thing
    for name, thing in sorted(vars(activations).items())
    if isinstance(thing, ActivationFunction)
    and not isinstance(thing, RowActivation)
    and name not in ("swish", "hard_swish", "threshold")
]
ROWS = [activations.softmax, activations.log_softmax, activations.sparsemax, activations.glu]
X = np.linspace(-7, 7, 2 * 5 * 13, dtype=np.float32).reshape(2, 5, 13)


def as_row(options):
    return {name: math.inf if value is None else value for name, value in options.items()}


@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_values_are_those_of_the_formula(activation):
    row, parameters = activation.row(activation.defaults)
    expected = references.ACTIVATIONS[row][0](X.astype(np.float64), **parameters)
    got = activation(X)
    assert (got.shape, got.dtype) == (X.shape, np.float32)
    np.testing.assert_allclose(
        got, expected, references.ACTIVATION_RTOL, references.ACTIVATION_ATOL
    )


@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_parameters_are_those_of_the_row(activation):
    row, parameters = activation.row(activation.defaults)
    assert tuple(parameters) == _core.ACTIVATIONS[row]


def test_each_row_of_the_table_has_an_activation():
    rows = {activation.row(activation.defaults)[0] for activation in ELEMENTWISE}
    assert set(_core.ACTIVATIONS) - rows == {
        *("gelu_tanh", "plain_relu"),  # forms of gelu and relu
        "threshold",  # has no defaults
    }


@pytest.mark.parametrize("activation", ROWS, ids=repr)
def test_values_of_rows_are_those_of_the_formula(activation):
    expected = references.ROW_ACTIVATIONS[activation.name](X[..., :12].astype(np.float64))
    np.testing.assert_allclose(activation(X[..., :12]), expected, rtol=2e-6, atol=1e-6)


def test_sparsemax_of_a_row_sums_to_one():
    np.testing.assert_allclose(activations.sparsemax(X).sum(-1), 1.0, rtol=1e-6)


def test_threshold_takes_both_of_its_numbers():
    np.testing.assert_array_equal(activations.threshold([1.0, 3.0], 2.0, -7), [-7, 3])
    with pytest.raises(TypeError, match="default_value is missing"):
        activations.threshold([1.0], 2.0)
    with pytest.raises(ValueError, match="Dense: activation must be one of x alone"):
        Dense(3, "threshold")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: activations.relu([1, -2.0], 0.5), [1, -1]),
        (lambda: activations.relu([1, -2.0], negative_slope=0.5), [1, -1]),
        (lambda: activations.relu([1, 5.0], max_value=2.0), [1, 2]),
        (lambda: activations.relu([0.5, 5.0], threshold=1.0), [0, 5]),
        (lambda: activations.leaky_relu([-1.0]), [-0.2]),
        (lambda: activations.elu([-1.0], alpha=2), [2 * math.expm1(-1)]),
        (lambda: activations.gelu([-1.0], approximate=True), [-0.158808]),
        (lambda: activations.gelu([-1.0]), [-0.158655]),
        (lambda: activations.relu([1, -2]), [1, 0]),
    ],
)
def test_arguments_are_honoured(call, expected):
    np.testing.assert_allclose(call(), np.float32(expected), rtol=references.ACTIVATION_RTOL)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3), (3, 0), (2, 3, 4)], ids=str)
def test_shape_is_kept(shape):
    x = np.ones(shape) if shape else 1.0
    assert activations.tanh(x).shape == shape


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -2, (1, 2), (0, 2), [0, 1, 2]], ids=str)
def test_softmax_is_over_the_axis(axis):
    e = np.exp(X.astype(np.float64))
    expected = e / e.sum(tuple(axis) if isinstance(axis, list) else axis, keepdims=True)
    np.testing.assert_allclose(activations.softmax(X, axis=axis), expected, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (activations.relu, TypeError, "x"),
        (
            lambda: activations.smooth_clip([1.0], 0),
            ValueError,
            "limit must be a number between 1e-30",
        ),
        (lambda: activations.smooth_clip([1.0], np.inf), ValueError, "smooth_clip: limit must be"),
        (lambda: activations.relu(1, 2, 3, 4, 5), TypeError, "relu(x, negative_slope=0.0, max_"),
        (lambda: activations.relu(1, alpha=2), TypeError, "got further arguments () and {'alpha'"),
        (lambda: activations.relu(1, 0.1, negative_slope=0.2), TypeError, "got further arguments"),
        (lambda: activations.tanh(["a"]), ValueError, "tanh: x"),
        (lambda: activations.tanh([1j]), ValueError, "tanh: x"),
        (lambda: activations.tanh(None), TypeError, "tanh: x"),
        (lambda: activations.softmax(3.0), ValueError, "softmax: x"),
        (
            lambda: activations.softmax([1.0], axis=3),
            ValueError,
            "softmax: axis must be one of 1 axes, got 3",
        ),
        (lambda: activations.glu([[1.0, 2, 3]]), ValueError, "even number of columns, got 3"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_signature_is_keras_own():
    assert str(inspect.signature(activations.relu)) == (
        "(x, negative_slope=0.0, max_value=None, threshold=0.0)"
    )
    assert str(inspect.signature(activations.softmax)) == "(x, axis=-1)"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copy_is_the_same_object(duplicate):
    again = duplicate(activations.relu)
    again = pickle.loads(again) if isinstance(again, bytes) else again
    assert again is activations.relu


def test_linear_adds_no_instruction():
    program = Lowering()
    x = program.input((3,))
    assert activations.linear.lower(program, x) is x
    assert not program.instructions


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [(None, activations.linear), ("swish", activations.silu), ("tanh", activations.tanh)],
)
def test_identifier_gives_the_activation(identifier, expected):
    assert activations.get(identifier) is expected


def test_name_is_what_is_written():
    assert activations.serialize(activations.swish) == "silu"
    assert activations.deserialize("silu") is activations.silu
    assert activations.serialize(Flatten(name="f"))["class_name"] == "Flatten"


def test_a_function_that_cannot_be_traced_is_refused():
    with pytest.raises(ValueError, match="Dense: activation must be a function that can be comp"):
        Dense(2, activation=np.unwrap)
