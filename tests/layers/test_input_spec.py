"""Input specs of layers, and the shapes that are refused by them."""

import numpy as np
import pytest
from layers.keras_cases import CASES, HERE
from recorded import assert_same, recorded

import cdl
from cdl import layers

RECORDED = recorded(HERE / "keras_specs.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_spec_is_that_of_keras(case):
    assert_same(case(cdl), RECORDED[case.__name__], case.__name__)


def test_spec_that_is_set_holds_and_may_be_taken_away():
    dense = layers.Dense(3)
    dense.input_spec = layers.InputSpec(shape=(None, 3))
    with pytest.raises(ValueError, match=r"must have shape \(None, 3\), got shape \(5, 4\)"):
        dense(np.ones((5, 4)))
    dense.input_spec = None
    assert dense(np.ones((5, 4))).shape == (5, 3)


class _Sum(layers.Layer):
    def __init__(self):
        super().__init__()
        self.input_spec = [layers.InputSpec(ndim=2), layers.InputSpec(axes={-1: 3})]

    def call(self, inputs):
        return inputs[0] + inputs[1]


def test_several_specs_are_those_of_several_inputs():
    x, y = np.ones((5, 3)), np.ones((5, 3))
    np.testing.assert_array_equal(_Sum()([x, y]), x + y)
    with pytest.raises(ValueError, match="the input's last axis must have size 3"):
        _Sum()([x, y[:, :2]])
    with pytest.raises(ValueError, match="inputs must be 2 tensors, got 1"):
        _Sum()(x)
    with pytest.raises(ValueError, match="inputs must be 2 tensors, got 3"):
        _Sum()([cdl.Input((3,)) for _ in range(3)])


@pytest.mark.parametrize("make", [lambda: layers.Dense(3), layers.Flatten])
def test_list_of_inputs_is_no_input_of_a_layer_of_one(make):
    inputs = [cdl.Input((4,)), cdl.Input((4,))]
    with pytest.raises(ValueError, match=r"the input must be one tensor, got shapes \[\(None, 4\)"):
        make()(inputs)


@pytest.mark.parametrize("make", [lambda: layers.Dense(3), layers.BatchNormalization])
def test_spec_of_a_build_that_was_undone_holds_no_more(make):
    layer = make()
    with pytest.raises(ValueError, match="must have 9 axes"):
        cdl.Sequential([cdl.Input((4,)), layer, layers.Permute((2, 1, 3, 4, 5, 6, 7, 8))])
    assert not layer.built
    assert layer(np.ones((2, 5))).shape[0] == 2
