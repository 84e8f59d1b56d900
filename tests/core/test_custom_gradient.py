"""Values with gradients of their own, on each instruction set."""

import numpy as np
import pytest
from ops_cases import ROWS, learning
from oracle import Oracle
from programs import ISAS, pull_back

from cdl._ir.lowering import Lowering
from cdl._ir.reverse import custom_gradient


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [1, 5, 16, 37])
def test_gradients_are_those_asked_for(isa, threads, width):
    rng = np.random.default_rng(width)
    arrays = [rng.normal(size=(ROWS, width)).astype(np.float32) for _ in range(2)]
    program = Lowering()
    x, scale = learning(program, arrays)

    def asked(dy):  # by the value, and by another one than it is of
        clipped = program.map("minimum", [program.map("multiply", [dy, scale]), scale])
        return clipped, program.map("multiply", [dy, program.map("tanh", [x])])

    program.output(custom_gradient.emit(program, x, [x, scale], asked))
    assert [i.op for i in program.instructions][-1] == "custom_gradient"
    dy = rng.normal(size=(ROWS, width)).astype(np.float32)
    oracle = Oracle(program)
    np.testing.assert_allclose(oracle.forward([np.eye(ROWS)])[0], arrays[0], rtol=1e-6)
    expected = oracle.backward(dy)
    value, found = pull_back(program.fused(), [np.eye(ROWS)], dy, isa=isa, threads=threads)
    np.testing.assert_array_equal(value, arrays[0])
    by_x = np.minimum(dy * arrays[1], arrays[1])
    by_scale = dy * np.tanh(arrays[0])
    for v, gradient in zip(program.variables, (by_x, by_scale), strict=True):
        np.testing.assert_allclose(expected[v], gradient, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[v], gradient, rtol=1e-5, atol=1e-6)
