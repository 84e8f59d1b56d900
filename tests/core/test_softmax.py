"""Softmax and reshape: values, gradients, and scores of any size."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, WIDTHS, predict, pull_back, scores_program

from cdl._ir.program import Program


def softmax(x, isa=None):
    program = Program()
    program.output(program.emit("softmax", [program.input(x.shape[1:])], x.shape[1:]))
    return predict(program, [x], isa=isa)


def emit_softmax(program, scores):
    program.output(program.emit("softmax", [scores], scores.shape))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
def test_values_of_every_width(n, isa):
    x = np.random.default_rng(n).normal(size=(9, n)).astype(np.float32) * 4
    expected = reference.softmax(x.astype(float))
    np.testing.assert_allclose(softmax(x, isa), expected, rtol=2e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
def test_gradients_of_every_width(n, isa):
    rng = np.random.default_rng(n)
    z, dy = rng.normal(size=(6, n)).astype(np.float32), rng.normal(size=(6, n)).astype(np.float32)
    program = scores_program(z, emit_softmax)
    gradient = pull_back(program, [np.eye(6)], dy, isa=isa)[1][program.variables[0]]
    expected = reference.softmax_gradient(z.astype(float), dy)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=3e-7)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 17, 64])
def test_huge_scores_neither_overflow_nor_vanish(n, isa):
    x = np.random.default_rng(n).normal(size=(20, n)).astype(np.float32)
    for scale in (1e3, 1e30, -1e30):
        z = (x * np.float32(scale)).astype(np.float32)
        np.testing.assert_allclose(softmax(z, isa), reference.softmax(z.astype(float)), atol=2e-6)
    np.testing.assert_allclose(softmax(x + np.float32(3e4), isa).sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [2, 5, 33])
@pytest.mark.parametrize("at", [0, 1, -1])
def test_nan_and_plus_infinity_spoil_their_row_only(at, n, isa):
    x = np.zeros((5, n), np.float32)
    x[1, at], x[3, at] = np.nan, np.inf
    found = softmax(x, isa)
    assert np.isnan(found[[1, 3]]).all()
    np.testing.assert_allclose(found[[0, 2, 4]], 1 / n, rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_minus_infinity_is_probability_0(isa):
    x = np.array([[0.0, -np.inf, 0.0], [-np.inf, 1.0, -np.inf]], np.float32)
    np.testing.assert_array_equal(softmax(x, isa), [[0.5, 0, 0.5], [0, 1, 0]])


@pytest.mark.parametrize("isa", ISAS)
def test_one_class_has_probability_1_unless_its_score_is_no_number(isa):
    x = np.array([[3.0], [-1e30], [np.nan], [np.inf]], np.float32)
    np.testing.assert_array_equal(softmax(x, isa), [[1], [1], [np.nan], [np.nan]])


def test_each_line_of_a_sample_sums_to_1():
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(np.float32)
    np.testing.assert_allclose(softmax(x), reference.softmax(x.astype(float)), rtol=2e-6)


# ------------------------------------------------------------------------------------- reshape

SHAPES = [((12,), (3, 4)), ((3, 4), (12,)), ((3, 4), (4, 3)), ((5, 7), (7, 5)), ((1, 17), (17, 1))]
SHAPES += [
    ((17, 1), (17,)),
    ((2, 3, 4), (6, 4)),
    ((64, 3), (3, 64)),
    ((3, 65), (5, 39)),
    ((2, 200), (5, 80)),
    ((), (1,)),
]


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_reshape_keeps_the_elements_in_c_order(before, after):
    x = np.random.default_rng(0).normal(size=(6, *before)).astype(np.float32)
    program = Program()
    program.output(program.emit("reshape", [program.input(before)], after))
    np.testing.assert_array_equal(predict(program, [x]), x.reshape(6, *after))


@pytest.mark.parametrize(("before", "after"), SHAPES[:-1])
def test_reshape_sends_each_gradient_back_to_its_element(before, after):
    rng = np.random.default_rng(0)
    n = int(np.prod(before))
    z, dy = rng.normal(size=(4, n)), rng.normal(size=(4, *after)).astype(np.float32)

    def emit(program, scores):
        first = program.emit("reshape", [scores], before)
        program.output(program.emit("reshape", [first], after))

    program = scores_program(z, emit)
    found = pull_back(program, [np.eye(4)], dy)[1][program.variables[0]]
    np.testing.assert_array_equal(found, dy.reshape(4, n))
