"""test_regularizers.py - penalties have Keras's values and refuse what is no factor."""

import numpy as np
import pytest

from cdl import regularizers

W = np.array([[1.0, -2.0], [0.5, 0.0]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(0.1), 0.35),
        (regularizers.L2(0.1), 0.525),
        (regularizers.L1L2(0.1, 0.2), 0.35 + 1.05),
        (regularizers.L1(), 0.035),
        (regularizers.L2(None), 0.0525),
        (regularizers.L1L2(), 0.0),
        (regularizers.l1_l2(l2=0.1), 0.525),
        (regularizers.Regularizer(), 0.0),
    ],
)
def test_value_is_the_sum(regularizer, expected):
    assert float(regularizer(W)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("factor", [-1, "a", float("nan"), float("inf"), [1], True])
@pytest.mark.parametrize("cls", [regularizers.L1, regularizers.L2, regularizers.L1L2])
def test_factor_must_be_a_number_of_at_least_0(cls, factor):
    with pytest.raises(ValueError, match=f"{cls.__name__}: l. must be a number of at least 0, got"):
        cls(factor)


def test_base_has_no_config():
    with pytest.raises(NotImplementedError, match="Regularizer does not implement get_config"):
        regularizers.Regularizer().get_config()
