"""Gradients of variables that meet lists of numbers."""

import numpy as np
import pytest

import cdl
from cdl import ops

AT = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], "float32")
LOWER = [[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 1.0]]
CALLS = {
    "list @ variable": lambda v: [[1.0, 2.0, 3.0]] @ v,
    "variable @ list": lambda v: v @ [[1.0], [2.0]],
    "vector @ variable": lambda v: (1, 2, 3) @ v,
    "ops.matmul": lambda v: ops.matmul([[1.0, 2.0, 3.0]], v),
    "ops.dot": lambda v: ops.dot([[1.0, 2.0, 3.0]], v),
    "numpy.matmul": lambda v: np.matmul([[[1.0, 2.0, 3.0]]] * 2, v),
    "solve": lambda v: ops.solve(LOWER, v),
    "solve by the list": lambda v: ops.solve(v[:2], [1.0, 2.0]),
    "lstsq": lambda v: ops.lstsq(LOWER, v),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_lists_of_numbers_are_operands_of_products_and_equations(call):
    def loss(v):
        return ops.sum(ops.square(call(v)))

    variable = cdl.Variable(AT)
    with cdl.GradientTape() as tape:
        value = loss(variable)
    found = np.asarray(tape.gradient(value, variable))
    expected = np.zeros_like(AT)
    for place in np.ndindex(AT.shape):
        step = np.zeros_like(AT)
        step[place] = 1e-2
        expected[place] = (float(loss(AT + step)) - float(loss(AT - step))) / 2e-2
    np.testing.assert_allclose(found, expected, 2e-3, 2e-3)
