"""Class weights and sample weights become one number a row, or an error."""

import numpy as np
import pytest

from cdl.data import of_classes, of_lines, of_samples


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 2, 1, 2]),
        np.array([[0], [2], [1], [2]]),
        np.array([0.2, 1.9, 1.1, 2.4]),
        np.eye(3)[[0, 2, 1, 2]],
    ],
    ids=["classes", "column", "rounded", "one_hot"],
)
def test_each_row_weighs_what_its_class_does(y):
    weights = of_classes({0: 5, 2: 0.5}, y, "fit: class_weight")
    np.testing.assert_array_equal(weights, np.float32([5, 0.5, 1, 0.5]))


def test_row_without_a_class_weighs_1():
    np.testing.assert_array_equal(of_classes({0: 5}, np.array([np.nan, 0]), "w"), [1, 5])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([1, 2], TypeError, "must be a dict"),
        ("balanced", TypeError, "got 'balanced'"),
        ({"a": 1}, ValueError, "class numbers as keys, got 'a'"),
        ({0.5: 1}, ValueError, "class numbers as keys, got 0.5"),
        ({0: "a"}, ValueError, "numbers as weights, got 'a' for 0"),
        ({0: None}, ValueError, "numbers as weights, got None for 0"),
    ],
)
def test_bad_class_weight_is_refused(value, error, text):
    with pytest.raises(error, match="fit: class_weight") as caught:
        of_classes(value, np.zeros(3), "fit: class_weight")
    assert text in str(caught.value)


def test_class_weight_of_more_than_one_class_a_row_is_refused():
    with pytest.raises(ValueError, match=r"got y of shape \(3, 2, 2\)"):
        of_classes({0: 1}, np.zeros((3, 2, 2)), "fit: class_weight")


@pytest.mark.parametrize("shape", [(2,), (1, 4)])
def test_sample_weight_of_other_rows_is_refused(shape):
    with pytest.raises(ValueError, match=r"fit: sample_weight must have shape \(4,\)"):
        of_samples(np.ones(shape), 4, "fit: sample_weight")


@pytest.mark.parametrize(
    ("shape", "lines", "got"),
    [
        ((4,), (), (4,)),
        ((4, 1), (), (4, 1)),
        ((4,), (3, 2), (4,)),
        ((4, 1), (3,), (4, 1)),
        ((4, 3), (3,), (4, 3)),
        ((4, 3, 1), (3,), (4, 3)),
        ((4, 3, 1), (3, 2), (4, 3, 2)),
        ((4, 1, 2), (3, 2), (4, 3, 2)),
    ],
)
def test_sample_weight_is_one_a_row_or_one_a_loss(shape, lines, got):
    fitted = of_lines(np.ones(shape), lines, "w")
    assert fitted.shape == got
    assert fitted.size == 4 or fitted.sum() == np.prod(got)


@pytest.mark.parametrize(
    ("shape", "lines", "text"),
    [
        ((4, 2), (), "shape (4,), one weight for each row of x, got (4, 2)"),
        ((4, 2), (3,), "shape (4,) or (4, 3), one weight for each row of x or for each of its"),
        ((4, 3, 5), (3,), "got (4, 3, 5)"),
    ],
)
def test_sample_weight_of_another_shape_is_refused(shape, lines, text):
    with pytest.raises(ValueError, match="fit: sample_weight must have") as caught:
        of_lines(np.ones(shape), lines, "fit: sample_weight")
    assert text in str(caught.value)


def test_sample_weight_may_be_a_column():
    assert of_samples(np.ones((4, 1)), 4, "w").shape == (4, 1)
