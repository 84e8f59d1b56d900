"""Trainings give what real Keras gave: names, order, values, weights."""

import pytest
from recorded import assert_same, recorded
from trainers.keras_cases import CASES, HERE

import cdl

RECORDED = recorded(HERE / "keras_fits.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_result_is_that_of_keras(case):
    assert_same(case(cdl), RECORDED[case.__name__], case.__name__)
