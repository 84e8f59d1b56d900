"""Penalties have Keras's values; wrong factors are refused."""

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
    with pytest.raises(ValueError, match=f"{cls.__name__}: l. must be a number >= 0, got"):
        cls(factor)


def test_base_has_no_config():
    with pytest.raises(NotImplementedError, match="Regularizer does not implement get_config"):
        regularizers.Regularizer().get_config()


@pytest.mark.parametrize(
    ("mode", "expected"), [("rows", 0.23904570936), ("columns", 0.35694012046)]
)
def test_orthogonal_penalty_is_the_mean_of_the_products_of_pairs(mode, expected):
    regularizer = regularizers.OrthogonalRegularizer(0.5, mode)
    assert float(regularizer(np.arange(6.0).reshape(2, 3) - 2)) == pytest.approx(expected, rel=1e-6)
    assert regularizer.get_config() == {"factor": 0.5, "mode": mode}
    assert float(regularizer(np.eye(3))) == 0.0
    assert float(regularizer(np.zeros((3, 3)))) == 0.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: regularizers.OrthogonalRegularizer(-1.0), "factor must be a number >= 0"),
        (lambda: regularizers.OrthogonalRegularizer(mode="x"), "mode must be one of 'rows', 'col"),
        (lambda: regularizers.OrthogonalRegularizer()(np.ones(3)), "the weight must have 2 axes"),
    ],
)
def test_orthogonal_penalty_is_of_matrices(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_names_of_penalties_are_those_of_keras():
    for name in ("l1", "L1", "l2", "l1l2", "L1L2", "orthogonal_regularizer"):
        assert isinstance(regularizers.get(name), regularizers.Regularizer)
    with pytest.raises(ValueError, match="Could not find regularizer 'l1_l2'"):
        regularizers.get("l1_l2")
