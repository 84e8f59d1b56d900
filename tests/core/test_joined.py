"""Samples of a batch as an axis of a shared value: join_batch, split_batch."""

import numpy as np
import pytest
from oracle import difference_gradients
from programs import ISAS, dense, gradients, learner, random_weight

from cdl import _core
from cdl._ir import emit
from cdl._ir.lowering import Lowering

SHAPES = [(), (1,), (3,), (17,), (2, 5), (2, 3, 65)]
ROWS = [1, 16, 37]


def data(rng, *shape, rows=37):
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def scored(program, y):
    column = y if y.shape else program.emit("reshape", [y], (1,))
    program.output(y)
    program.loss("mean_squared_error", program.input(column.shape, role="y"), column)
    return program


def same(program, arrays, isa=None):
    """Gradients as central differences have them, and the same bits at any number of threads."""
    expected = difference_gradients(program, arrays, training=True)
    first = None
    for n in (1, 2, 3):
        found = gradients(program.fused(), arrays, threads=n, isa=isa)
        first = first or found
        for v, gradient in expected.items():
            top = max(np.abs(gradient).max(), 0.1)
            np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=2e-5 * top)
            np.testing.assert_array_equal(found[v], first[v])


def there_and_back(rng, shape, rows):
    """Samples whose order is reversed, beside the samples themselves."""
    program = Lowering()
    x = program.input((4,))
    width = int(np.prod(shape, dtype=int))
    y = emit.reshape(program, dense(program, x, random_weight(rng, 4, width)), shape)
    whole = emit.join_batch(program, y, rows)
    turned = emit.pick(program, whole, 0, range(rows)[::-1])
    other = emit.split_batch(program, program.map("tanh", [turned]))
    return program, program.map("add", [y, other])


def gram(rng, rows):
    """Similarities of all samples with each other."""
    program = Lowering()
    y = dense(program, program.input((4,)), random_weight(rng, 4, 5))
    whole = emit.join_batch(program, y, rows)
    scores = emit.product(program, y, emit.permute(program, whole, [1, 0]))
    return program, program.emit("log_softmax", [scores], scores.shape)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_gets_its_row_and_its_gradient(shape, rows):
    rng = np.random.default_rng(rows)
    program, y = there_and_back(rng, shape, rows)
    scored(program, y)
    same(program, [data(rng, 4, rows=rows), data(rng, *(shape or (1,)), rows=rows)])


@pytest.mark.parametrize("isa", ISAS)
def test_samples_by_samples_learn_alike_on_each_isa_and_number_of_threads(isa):
    rng = np.random.default_rng(0)
    program, y = gram(rng, 37)
    scored(program, y)
    same(program, [data(rng, 4), data(rng, 37)], isa=isa)


def test_training_makes_the_same_bits_in_lockstep_and_out_of_it():
    found = []
    for threads, lockstep in ((1, False), (2, False), (3, False), (2, True), (3, True)):
        rng = np.random.default_rng(0)
        program, y = gram(rng, 37)
        arrays = [data(rng, 4), data(rng, 37)]
        program = scored(program, y).fused()
        executor = _core.Executor(
            program,
            37,
            training=True,
            optimizer=learner("sgd", program.variables),
            threads=threads,
            lockstep=lockstep,
        )
        executor.begin(arrays, 37)
        executor.train(1, 1e9, np.full(1, 0.01, np.float32), 0, 0)
        found.append(program.variables[0].numpy().tobytes())
    assert len(set(found)) == 1


def test_batches_of_another_size_are_refused_and_leave_the_weights():
    rng = np.random.default_rng(0)
    program, y = gram(rng, 8)
    program = scored(program, y).fused()
    before = program.variables[0].numpy()
    executor = _core.Executor(
        program, 8, training=True, optimizer=learner("sgd", program.variables)
    )
    arrays = [data(rng, 4, rows=12), data(rng, 8, rows=12)]
    for call in (
        lambda: executor.begin(arrays, 8),
        lambda: executor.begin(arrays, 4),
        lambda: executor.once([each[:7] for each in arrays], 0.1),
        lambda: _core.Executor(program, 8).predict([each[:7] for each in arrays]),
    ):
        with pytest.raises(ValueError, match="batch: expected 8 samples"):
            call()
    np.testing.assert_array_equal(program.variables[0].numpy(), before)
    executor.begin(arrays, 8, np.arange(8))
    assert executor.train(5, 1e9, np.full(1, 0.1, np.float32), 0, 0) == 1


@pytest.mark.parametrize(
    "op, shape, of_x", [("join_batch", (8, 5), True), ("split_batch", (5,), False)]
)
def test_the_shapes_of_both_are_checked(op, shape, of_x):
    program = Lowering()
    x = program.input((4,)) if of_x else program.constant(np.zeros((8, 4)))
    y = program.emit(op, [x], shape, shared=of_x)
    program.output(program.broadcast_batch(y))
    with pytest.raises(ValueError, match="expected the axes of a sample behind it"):
        _core.Executor(program, 8)
