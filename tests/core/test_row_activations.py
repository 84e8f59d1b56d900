"""Activations of whole rows: values and gradients at every width."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, WIDTHS, predict, pull_back, scores_program

from cdl._ir.program import Program

ROWS = ["log_softmax", "sparsemax", "glu"]  # softmax has a file of its own


def shape_of(name, n):
    """The shape of a row that is n wide behind the activation."""
    return (2 * n,) if name == "glu" else (n,)


def run(name, x, n, isa):
    program = Program()
    program.output(program.emit(name, [program.input(x.shape[1:])], (*x.shape[1:-1], n)))
    return predict(program, [x], isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize("name", ROWS)
def test_values_of_every_width(name, n, isa):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(9, *shape_of(name, n))).astype(np.float32) * 4
    expected = reference.ROW_ACTIVATIONS[name](x.astype(float))
    np.testing.assert_allclose(run(name, x, n, isa), expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize("name", ROWS)
def test_gradients_of_every_width(name, n, isa):
    rng = np.random.default_rng(n)
    z = rng.normal(size=(6, *shape_of(name, n))).astype(np.float32)
    dy = rng.normal(size=(6, n)).astype(np.float32)
    program = scores_program(z, lambda p, x: p.output(p.emit(name, [x], (n,))))
    gradient = pull_back(program, [np.eye(6)], dy, isa=isa)[1][program.variables[0]]
    expected = reference.ROW_GRADIENTS[name](z.astype(float), dy)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [2, 17, 64])
@pytest.mark.parametrize("name", ROWS)
def test_nan_spoils_its_row_only(name, n, isa):
    x = np.random.default_rng(n).normal(size=(5, *shape_of(name, n))).astype(np.float32)
    expected = reference.ROW_ACTIVATIONS[name](x.astype(float))
    x[2, 1] = np.nan
    found = run(name, x, n, isa)
    assert np.isnan(found[2, 1])
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(found[others], expected[others], rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_huge_scores_do_not_overflow(scale, isa):
    x = (np.random.default_rng(0).normal(size=(20, 7)) * scale).astype(np.float32)
    logs = run("log_softmax", x, 7, isa)
    expected = reference.log_softmax(x.astype(float))
    np.testing.assert_allclose(logs, expected, rtol=1e-6, atol=1e-6)
    shares = run("sparsemax", x, 7, isa)
    np.testing.assert_allclose(shares, reference.sparsemax(x.astype(float)), atol=1e-6)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-6)


def test_each_line_of_a_sample_is_a_row():
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 6)).astype(np.float32)
    for name in ROWS:
        expected = reference.ROW_ACTIVATIONS[name](x.astype(float))
        found = run(name, x, expected.shape[-1], None)
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
