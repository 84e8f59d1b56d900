"""Weights are projected as Keras does it, in float32."""

import numpy as np
import pytest

from cdl import constraints

W = np.array([[3.0, 0.1, 0.0], [-4.0, 0.2, 0.0]], np.float32)  # norms of the columns 5, 0.2236, 0
NORMS = np.sqrt((W.astype(np.float64) ** 2).sum(0))


@pytest.mark.parametrize(
    ("constraint", "norms"),
    [
        (constraints.MaxNorm(2), np.clip(NORMS, 0, 2)),
        (constraints.UnitNorm(), np.array([1, 1, 0])),
        (constraints.MinMaxNorm(0.5, 1.0), np.array([1, 0.5, 0])),
        (constraints.MinMaxNorm(0.5, 1.0, rate=0.5), np.array([3, 0.25 + NORMS[1] / 2, 0])),
    ],
    ids=lambda case: type(case).__name__,
)
def test_norms_of_columns_are_as_asked_for(constraint, norms):
    projected = constraint(W)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(np.sqrt((projected**2).sum(0)), norms, rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(np.sign(projected), np.sign(W))


def test_column_inside_the_limit_shrinks_by_the_epsilon_only():
    np.testing.assert_allclose(constraints.MaxNorm(10)(W), W, rtol=1e-6)


def test_axes_may_be_several():
    projected = constraints.UnitNorm(axis=[0, 1])(W)
    assert np.sqrt((projected**2).sum()) == pytest.approx(1, rel=1e-6)


def test_nonneg_keeps_nan():
    projected = constraints.NonNeg()(np.array([-1.0, 2.0, np.nan]))
    np.testing.assert_array_equal(projected, [0, 2, np.nan])


def test_base_leaves_the_weight_alone():
    assert constraints.Constraint()(W) is W
    assert constraints.Constraint().get_config() == {}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: constraints.MaxNorm("a"), "MaxNorm: max_value must be a number >= 0"),
        (lambda: constraints.MaxNorm(-1), "MaxNorm: max_value must be a number >= 0"),
        (lambda: constraints.UnitNorm("a"), "UnitNorm: axis must be an int or a tuple of ints"),
        (lambda: constraints.UnitNorm([0, 1.5]), "UnitNorm: axis must be"),
        (lambda: constraints.MinMaxNorm(2, 1), "max_value must be a number >= 2, got 1"),
        (lambda: constraints.MinMaxNorm(rate=2), "rate must be a number between 0 and"),
        (lambda: constraints.UnitNorm(axis=5)(W), "axis 5"),
    ],
)
def test_bad_argument_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("axis", [0, (0, 1), (-3, 1, 2), (0, 1, 2), -4])
def test_the_core_takes_norms_of_a_kernel_over_all_axes_but_the_last(axis):
    knows = constraints.compiled(constraints.MaxNorm(2, axis=axis), 4, True)
    assert (knows is not None) == (axis == (0, 1, 2))
    assert constraints.compiled(constraints.MaxNorm(2, axis=-2), 2, True) is not None
