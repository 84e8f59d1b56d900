"""Callbacks do what real Keras's did: files, rates, weights, events."""

import pytest
from callbacks.keras_cases import CASES, HERE
from recorded import assert_same, recorded

import cdl

RECORDED = recorded(HERE / "keras_callbacks.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_result_is_that_of_keras(case):
    assert_same(case(cdl), RECORDED[case.__name__], case.__name__)
