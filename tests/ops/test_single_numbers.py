"""Activations of a single number, without an axis: functions, `cdl.ops` and layers."""

import numpy as np
import pytest

import cdl
from cdl import activations, layers, ops
from cdl.activations import ActivationFunction, RowActivation

NUMBERS = (-1.75, -0.25, 0.0, 0.4, 3.0)
REQUIRED = {"threshold": (0.3, -2.0)}
EACH = sorted(
    name
    for name, each in vars(activations).items()
    if isinstance(each, ActivationFunction) and not isinstance(each, RowActivation)
)
ALONG = sorted(n for n, each in vars(activations).items() if isinstance(each, RowActivation))
SORTS = (np.float32, np.float64, np.array, lambda x: cdl.Variable(np.float32(x)))
LAYERS = {
    "ReLU": {"negative_slope": 0.25, "max_value": 2.0},
    "LeakyReLU": {},
    "ELU": {},
    "PReLU": {"alpha_initializer": "ones"},
    "Identity": {},
    "Dropout": {"rate": 0.5},
    "GaussianNoise": {"stddev": 0.5},
    "GaussianDropout": {"rate": 0.5},
    "AlphaDropout": {"rate": 0.5},
    "Rescaling": {"scale": 3.0, "offset": 1.0},
    "ActivityRegularization": {"l1": 0.5},
}


@pytest.mark.parametrize("name", EACH)
def test_activation_of_a_number_is_that_of_an_array_of_it(name):
    functions = [getattr(activations, name)]
    functions += [getattr(ops, name)] if hasattr(ops, name) else []
    for function in functions:
        for number in NUMBERS:
            expected = function(np.array([number], np.float32), *REQUIRED.get(name, ()))
            for sort in (*SORTS, float):
                found = function(sort(number), *REQUIRED.get(name, ()))
                assert np.shape(found) == ()
                assert found.dtype == np.float32
                assert float(found) == pytest.approx(float(expected[0]), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in EACH if name != "threshold"])
def test_layer_of_an_activation_takes_a_number(name):
    layer, among = layers.Activation(name), layers.Activation(name)
    for number in NUMBERS:
        expected = among(np.array([number], np.float32))
        for sort in SORTS:
            found = layer(sort(number))
            assert found.shape == ()
            assert float(found) == float(expected[0])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [False, True])
def test_layer_that_works_on_each_element_takes_a_number(name, training):
    cdl.utils.set_random_seed(3)
    layer = getattr(layers, name)(**LAYERS[name])
    cdl.utils.set_random_seed(3)
    among = getattr(layers, name)(**LAYERS[name])
    for number in NUMBERS:
        expected = among(np.array([number], np.float32), training=training)
        found = layer(np.float32(number), training=training)
        assert found.shape == ()
        assert float(found) == float(expected[0])
    if not training and name != "PReLU":  # which has a slope for each number
        assert layer(np.ones((2, 3), np.float32)).shape == (2, 3)


def test_layer_of_the_user_s_takes_a_number():
    class Twice(layers.Layer):
        def call(self, x):
            return ops.relu(x) * 2

    assert float(Twice()(np.float32(1.5))) == 3.0
    assert float(layers.Activation(lambda x: x * 3)(np.float32(2))) == 6.0


def test_integers_and_halves_are_numbers_too():
    assert float(ops.sigmoid(np.int32(0))) == 0.5
    assert float(ops.sigmoid(0)) == 0.5
    assert ops.relu(np.int32(-3)) == 0
    half = ops.tanh(np.float16(0.5))
    assert half.dtype == np.float16
    assert half.shape == ()


@pytest.mark.parametrize("name", ALONG)
def test_activation_along_an_axis_needs_one(name):
    with pytest.raises(ValueError, match=name):
        getattr(activations, name)(np.float32(1))


@pytest.mark.parametrize("layer", [layers.Masking(), layers.UnitNormalization(), layers.Softmax()])
def test_layer_that_works_along_an_axis_needs_one(layer):
    with pytest.raises(ValueError, match="row for each sample"):
        layer(np.float32(1))
