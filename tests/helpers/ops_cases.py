"""Checks of an op over values: values, gradients, ISAs, threads, against the oracle."""

import numpy as np
from oracle import Oracle, central_differences
from programs import ISAS, dense, predict, pull_back, weight

from cdl._ir.lowering import Lowering

ROWS = 20  # two blocks of rows
# Every ISA; and the best one with more threads, which must give the same bits.
RUNS = [*({"isa": isa, "threads": 1} for isa in ISAS[::-1]), {"threads": 2}, {"threads": 3}]


def learning(program, arrays):
    """Values of arrays (ROWS, ...) that learn: products of eye(ROWS), the first input."""
    eye = program.input((ROWS,))
    made = []
    for a in arrays:
        flat = dense(program, eye, weight(np.reshape(a, (ROWS, -1))))
        made.append(program.emit("reshape", [flat], np.shape(a)[1:]))
    return made


def check(arrays, emit, expected, *, rtol=2e-6, atol=1e-6, gradients=True, numbers=0):
    """Check that `emit(program, *values)` has the values of `expected` and the oracle's gradients.

    The oracle's own gradients are held to central differences of its values. The last `numbers`
    arrays have none: they are places.
    """
    arrays = [np.asarray(a, np.float32) for a in arrays]
    wanted = np.asarray(expected(*(a.astype(np.float64) for a in arrays)))
    program = Lowering()
    values = [program.input(a.shape[1:]) for a in arrays]
    program.output(emit(program, *values))
    assert program.outputs[0].shape == wanted.shape[1:]
    for options in RUNS:
        found = predict(program, arrays, **options)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)
    if gradients:
        check_gradients(arrays, emit, wanted, len(arrays) - numbers)


def check_gradients(arrays, emit, wanted, n):
    program = Lowering()
    values = learning(program, arrays[:n])
    values += [program.input(a.shape[1:]) for a in arrays[n:]]
    program.output(emit(program, *values))
    arrays = [np.eye(ROWS), *arrays[n:]]
    dy = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
    oracle = Oracle(program)

    def total():
        return (dy * oracle.forward(arrays)[0]).sum()

    total()
    expected = {v: gradient.copy() for v, gradient in oracle.backward(dy).items()}
    for v, gradient in expected.items():
        if gradient.size <= 2 * ROWS:
            steps = central_differences(total, oracle.weights[v])
            np.testing.assert_allclose(gradient, steps, rtol=1e-5, atol=1e-6)
    fused, found = program.fused(), None
    for options in RUNS:
        before = found if "isa" not in options else None
        found = pull_back(fused, arrays, dy, **options)[1]
        for v, gradient in expected.items():
            top = max(1.0, np.abs(gradient).max())
            np.testing.assert_allclose(found[v], gradient, rtol=2e-5, atol=2e-6 * top)
            assert before is None or (before[v] == found[v]).all()
