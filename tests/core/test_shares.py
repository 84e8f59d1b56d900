"""Shares of penalties, which may differ from batch to batch."""

import numpy as np
import pytest
from programs import mlp, weight

from cdl import _core
from cdl._core import available_isas
from cdl._ir.lowering import Lowering

ROWS, L2 = 7, 0.3


def executor_of(rng, shares, threads, isa=None):
    """Two batches, of 4 and 3 rows, of plain gradient descent with a penalty on the kernel."""
    program, y = mlp(rng, [5, 3])
    program.loss("mean_squared_error", program.input((3,), role="y"), y)
    kernel = program.variables[0]
    executor = _core.Executor(
        program.fused(),
        4,
        training=True,
        optimizer=("sgd", {}, {v: [] for v in program.variables}),
        rules={"penalties": {kernel: (0.0, L2)}},
        isa=isa,
        threads=threads,
    )
    x = np.linspace(-1, 1, ROWS * 5, dtype=np.float32).reshape(ROWS, 5)
    executor.begin([x, np.zeros((ROWS, 3), np.float32)], 4)
    steps = executor.train(2, 1.0, [0.1], 0, 0, shares)
    assert steps == 2
    return executor, kernel.numpy(), x


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_penalties_count_by_their_share(isa, threads):
    shares = [2.0, 0.5]
    executor, kernel, x = executor_of(np.random.default_rng(0), shares, threads, isa)

    program, _ = mlp(np.random.default_rng(0), [5, 3])
    w, b = (v.numpy().astype(np.float64) for v in program.variables)
    total = 0.0
    for rows, share in zip((x[:4], x[4:]), shares, strict=True):
        y = rows @ w + b
        total += len(rows) * share * L2 * (w**2).sum()
        dz = 2.0 * y / y.size
        w, b = w - 0.1 * (rows.T @ dz + 2.0 * share * L2 * w), b - 0.1 * dz.sum(axis=0)
    np.testing.assert_allclose(kernel, w, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(executor.penalty(), (total, ROWS), rtol=1e-6)


def test_without_shares_penalties_count_once():
    one = executor_of(np.random.default_rng(0), None, 1)[1]
    other = executor_of(np.random.default_rng(0), [1.0, 1.0], 1)[1]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("per_call", [1, 2, 10])
def test_an_evaluation_counts_the_penalty_of_weights_as_they_are(per_call, threads):
    """Three batches; a program that assigns to the weight has the penalty of each batch's value."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(11, 3)).astype(np.float32)
    for assigns in (False, True):
        program = Lowering()
        h, moving = program.input((3,)), weight(np.ones(3))
        program.output(program.broadcast_batch(program.param(moving)))
        if assigns:
            program.assign(moving, program.batch_reduce(h, "mean"))
        executor = _core.Executor(
            program.fused(), 4, rules={"penalties": {moving: (0.0, L2)}}, threads=threads
        )
        for again in range(2):  # what another call finds was set meanwhile
            moving.assign(np.full(3, 1.0 + again))
            executor.reset()
            executor.begin([x], 4)
            done = 0
            while done < 3:
                done = executor.test(per_call, 1e9)
            batches = [x[:4], x[4:8], x[8:]]
            squares = [(b.mean(0) ** 2).sum() if assigns else 3 * (1 + again) ** 2 for b in batches]
            total = sum(len(b) * L2 * s for b, s in zip(batches, squares, strict=True))
            np.testing.assert_allclose(executor.penalty(), (total, 11), rtol=1e-5)
