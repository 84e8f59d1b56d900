"""Labels, names, seeds and settings."""

import random

import numpy as np
import pytest

import cdl
from cdl import backend, config
from cdl._common import naming
from cdl._common.dtypes import standardize_dtype
from cdl.random import checked_seed, core_seed
from cdl.utils import clear_session, set_random_seed, to_categorical

# Labels


@pytest.mark.parametrize(
    ("x", "classes", "expected"),
    [
        ([0, 2], None, [[1, 0, 0], [0, 0, 1]]),
        ([[0], [2]], None, [[1, 0, 0], [0, 0, 1]]),
        ([0, 1], 3, [[1, 0, 0], [0, 1, 0]]),
        ([0, 1], 0, [[1, 0], [0, 1]]),
        (np.array([True, False]), None, [[0, 1], [1, 0]]),
        ([0.0, 1.0], None, [[1, 0], [0, 1]]),
        (2, None, [0, 0, 1]),
        (2, 4, [0, 0, 1, 0]),
        ([[0, 1], [1, 0]], None, [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]),
        ([], 3, np.zeros((0, 3))),
    ],
)
def test_class_numbers_become_rows(x, classes, expected):
    rows = to_categorical(x, classes)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: to_categorical([0, 5], 3), ValueError, "from 0 to 2, got 5 at position 1"),
        (lambda: to_categorical([0, 5], 3), IndexError, "from 0 to 2, got 5 at position 1"),
        (lambda: to_categorical([-1, 2]), ValueError, "got -1 at position 0"),
        (lambda: to_categorical([]), ValueError, "x is empty, so num_classes must be given"),
        (lambda: to_categorical(["a"]), ValueError, "to_categorical: x must be class numbers"),
        (lambda: to_categorical([np.nan, 1]), ValueError, "got NaN or infinity"),
        (lambda: to_categorical([1j]), TypeError, "got complex numbers"),
        (lambda: to_categorical(None), TypeError, "to_categorical: x must be class numbers"),
        (
            lambda: to_categorical([0], 2.0),
            TypeError,
            "num_classes must be an int or None, got 2.0",
        ),
        (lambda: to_categorical([0], -1), ValueError, "num_classes must be positive, got -1"),
    ],
)
def test_bad_labels_are_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dense", "dense"),
        ("ReLU", "re_lu"),
        ("RMSprop", "rm_sprop"),
        ("MaxPooling2D", "max_pooling2d"),
        ("L1L2", "l1l2"),
        ("MeanIoU", "mean_io_u"),
        ("SGD", "sgd"),
        ("<lambda>", "lambda"),
        ("FBetaScore", "f_beta_score"),
    ],
)
def test_name_in_snake_case_is_keras_own(name, expected):
    assert naming.snake_case(name) == expected


def test_names_are_counted_until_the_session_is_cleared():
    clear_session()
    assert [naming.unique("a"), naming.unique("a"), naming.unique("b")] == ["a", "a_1", "b"]
    assert backend.get_uid("a") == 3
    clear_session()
    assert naming.unique("a") == "a"


# Seeds


def test_seed_repeats_python_numpy_and_the_core():
    def draw():
        return random.random(), np.random.rand(), core_seed()

    set_random_seed(3)
    first = draw()
    assert draw()[:2] != first[:2]
    set_random_seed(3)
    assert draw() == first
    assert core_seed() == 3
    set_random_seed(0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: set_random_seed("a"), "seed must be an int, got 'a'"),
        (lambda: set_random_seed(1.5), "seed must be an int, got 1.5"),
        (lambda: set_random_seed(-1), "seed must be from 0 to 2**32 - 1, got -1"),
        (lambda: set_random_seed(2**33), "seed must be from 0 to 2**32 - 1"),
        (lambda: checked_seed("X", 2**33), "X: seed must be an int from 0 to 2**32 - 1 or None"),
        (lambda: checked_seed("X", True), "X: seed must be"),
    ],
)
def test_bad_seed_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


# Settings


def test_settings_are_keras_defaults():
    assert config.floatx() == "float32"
    assert config.epsilon() == 1e-7
    assert config.image_data_format() == "channels_last"
    assert config.backend() == "cdl"
    config.set_floatx("float32")
    config.set_epsilon(1e-7)


def test_data_format_can_be_set():
    config.set_image_data_format("channels_first")
    try:
        assert config.standardize_data_format(None) == "channels_first"
    finally:
        config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: config.set_floatx("float64"), "'float32'): cdl has no layers in float64"),
        (lambda: config.set_epsilon(1e-3), "set_epsilon: value must be 1e-07"),
        (lambda: config.set_image_data_format("foo"), "data_format must be one of"),
        (lambda: standardize_dtype("foo"), "dtype must be that of numbers, "),
    ],
)
def test_bad_setting_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "is_float", "is_int"),
    [
        ("float16", True, False),
        ("int8", False, True),
        ("uint8", False, True),
        ("bool", False, False),
    ],
)
def test_kind_of_dtype(dtype, is_float, is_int):
    assert backend.is_float_dtype(dtype) is is_float
    assert backend.is_int_dtype(dtype) is is_int


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("int32", "float32"), "float32"),
        (("int64", "float16"), "float16"),
        ((int,), "int32"),
        ((float,), "float32"),
        (("bool", int), "int32"),
        (("int8", int), "int8"),
        (("int8", float), "float32"),
        (("float16", "float32"), "float32"),
        (("int8", "uint8"), "int16"),
        (("int32", "uint32"), "int32"),
        ((), "float32"),
    ],
)
def test_dtype_of_a_result_is_keras_s(dtypes, expected):
    assert backend.result_type(*dtypes) == expected


def test_symbolic_tensors_are_known():
    assert not backend.is_keras_tensor(np.ones(2))
    assert backend.is_keras_tensor(cdl.Input((2,)))
