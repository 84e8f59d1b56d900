"""The losses of scripts that the golden cases have are compiled, every one."""

import numpy as np
import pytest
from cases import custom_losses
from cases.custom_losses import TABLE, named
from oracle import Oracle, central_differences
from programs import dense, pull_back, weight

import cdl
from cdl import losses
from cdl._ir.lowering import Lowering


@pytest.mark.parametrize("function", TABLE, ids=lambda f: f.__name__)
def test_a_loss_is_compiled_and_its_gradient_is_its_gradient(function):
    y, last = TABLE[function]
    y = np.asarray(y, np.float32)
    loss = losses.resolve(named(cdl, function), y.shape, (len(y), 3))
    assert loss.wants == "traced"
    program, rows = Lowering(), len(y)
    eye = program.input((rows,))
    start = custom_losses.numbers(rows, 3, seed=9)
    value = dense(program, eye, weight(start))
    if last == "softmax":
        value = program.emit("softmax", (value,), value.shape)
    elif last is not None:
        value = program.emit("activation", (value,), value.shape, kind=last)
    target = program.input(y.shape[1:])
    total = loss.graph.lower(program, [target, value])
    program.output(program.broadcast_batch(total))
    oracle, arrays = Oracle(program), [np.eye(rows), y]
    dy = np.full((rows, *total.shape), 1.0 / rows)
    oracle.forward(arrays)
    (v,) = oracle.weights

    def value_of_all():
        return (dy * oracle.forward(arrays)[0]).sum()

    steps = central_differences(value_of_all, oracle.weights[v])
    top = max(1e-2, np.abs(steps).max())
    found = pull_back(program.fused(), arrays, dy.astype(np.float32))[1][v]
    np.testing.assert_allclose(found, steps, rtol=1e-3, atol=1e-4 * top)
