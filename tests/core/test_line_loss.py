"""Losses as values that something is made of, and means of any value."""

import numpy as np
import pytest
import references as reference
from oracle import Oracle
from programs import ISAS, dense, pull_back, random_weight, weight

from cdl import _core
from cdl._ir.program import Program

VALUES = [name for name in _core.LOSSES if not reference.takes_classes(name)]


def built(kind, shape, rng):
    """x through a product to predictions, their losses, and a product of those."""
    program = Program()
    x, y = program.input((*shape[:-1], 3)), program.input(shape, role="y")
    p = dense(program, x, random_weight(rng, 3, shape[-1]))
    if reference.takes_probabilities(kind):
        p = program.emit("softmax", [p], p.shape)
    row = reference.loss_parameters(kind)[-1]
    value = program.emit("line_loss", [p, y], (*shape[:-1], 1), kind=kind, **row)
    program.output(dense(program, value, weight(rng.normal(size=(1, 2)))))
    return program


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5,), (4, 17), (2, 3, 1)])
@pytest.mark.parametrize("kind", VALUES)
def test_values_and_gradients(kind, shape, isa):
    if shape[-1] == 1 and ("categorical" in kind or kind in ("kl_divergence", "cosine_similarity")):
        shape = (2, 3, 2)  # of one class there is nothing to learn
    rng = np.random.default_rng(1)
    program = built(kind, shape, rng)
    x = rng.normal(size=(21, *shape[:-1], 3)).astype(np.float32)
    y, _ = reference.loss_arguments(kind, 21 * int(np.prod(shape[:-1])), shape[-1], rng)
    y = y.reshape(21, *shape).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([x, y], training=True)[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    derivatives = oracle.backward(dy)
    found, gradients = pull_back(program, [x, y], dy, isa=isa)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())
    for v in program.variables:
        top = np.abs(derivatives[v]).max()
        np.testing.assert_allclose(gradients[v], derivatives[v], rtol=1e-3, atol=2e-4 * top)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("weighted", [None, (), (5, 1)])
@pytest.mark.parametrize("shape", [(), (5,), (4, 3)])
def test_a_mean_of_any_value(shape, weighted, threads):
    rng = np.random.default_rng(2)
    if weighted and shape != (5,):
        weighted = ()
    program = Program()
    x = program.input(shape)
    inputs = [x] if weighted is None else [x, program.input(weighted, role="weight")]
    program.score("observe", inputs)
    arrays = [rng.normal(size=(50, *shape)).astype(np.float32)]
    if weighted is not None:
        arrays.append(rng.uniform(size=(50, *weighted)).astype(np.float32))
    executor = _core.Executor(program, 32, training=True, threads=threads)
    executor.begin(arrays, 32)
    executor.test(10, 100.0)
    rows = arrays[0].reshape(50, -1)
    w = np.ones(50) if weighted is None else arrays[1]
    w = np.broadcast_to(w.reshape(50, -1), rows.shape)
    total, count = executor.totals()[0]
    # Means over a sample's numbers: so one of more numbers, in another program, counts as much.
    np.testing.assert_allclose(total, (w * rows).mean(1).sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(count, w.mean(1).sum(), rtol=1e-6)
