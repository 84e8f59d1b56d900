"""Values without a batch axis: weights, constants, sums over the batch."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import (
    ISAS,
    WIDTHS,
    activation,
    dense,
    gradients,
    learner,
    predict,
    pull_back,
    random_weight,
    train,
    weight,
)

from cdl import _core
from cdl._ir.elementwise import apply, arguments
from cdl._ir.lowering import Lowering
from cdl._tracing.variable import Variable

SHAPES = [(), (1,), (3,), (17,), (2, 5), (3, 1), (2, 3, 65)]
KINDS = ("sum", "mean", "max", "min")
ROWS = 37


def data(rng, *shape, rows=ROWS):
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def plain(values):
    """A weight that is no factor of a product."""
    values = np.asarray(values, np.float32)
    return Variable(values.shape, lambda shape: values)


def scored(program, y):
    program.output(y)
    program.loss("mean_squared_error", program.input(y.shape or (1,), role="y"), column(program, y))
    return program


def column(program, y):
    return y if y.shape else program.emit("reshape", [y], (1,))


def same(program, arrays, *, isa=None, threads=(1, 2, 3), rtol=1e-4):
    """Gradients as central differences have them, and the same bits at any number of threads."""
    expected = difference_gradients(program, arrays, training=True)
    first = None
    for n in threads:
        for form in (program, program.fused()):
            found = gradients(form, arrays, threads=n, isa=isa)
            first = first or found
            for v, gradient in expected.items():
                top = max(np.abs(gradient).max(), 0.1)
                np.testing.assert_allclose(found[v], gradient, rtol=rtol, atol=2e-5 * top)
                np.testing.assert_array_equal(found[v], first[v])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("matrix", [False, True])
def test_a_weight_as_a_value_learns_from_what_all_samples_make_of_it(shape, matrix, isa):
    if matrix and len(shape) != 2:
        return
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape)
    w = weight(values) if matrix else plain(values)
    program = Lowering()
    x = program.input((2,))
    y = program.broadcast_batch(activation(program, program.param(w), "tanh"))
    scored(program, y)
    program.metric("mean_squared_error", x, x)
    arrays = [data(rng, 2), data(rng, *(shape or (1,)))]
    same(program, arrays, isa=isa)
    found = predict(program, arrays, rows=5)
    np.testing.assert_allclose(found, np.tanh(w.numpy())[None].repeat(ROWS, 0), rtol=1e-6)


@pytest.mark.parametrize("n", WIDTHS)
def test_a_matrix_is_read_out_of_its_panels_and_learns_in_them(n):
    rng = np.random.default_rng(1)
    w = random_weight(rng, 70, n)
    program = Lowering()
    program.input((1,))
    program.output(program.param(w))
    program.objective(activation(program, program.param(w), "tanh"), reduction="sum")
    np.testing.assert_array_equal(predict(program, [np.ones((3, 1))]), w.numpy())
    gradient = 1 - np.tanh(w.numpy().astype(np.float64)) ** 2
    found = gradients(program.fused(), [np.ones((3, 1))])[w]
    np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-6)


def test_a_weight_is_one_instruction_however_often_it_is_read():
    program, w = Lowering(), plain(np.ones(3))
    assert program.param(w) is program.param(w)
    assert [i.op for i in program.instructions] == ["param"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_is_what_it_was_given(shape):
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    program = Lowering()
    program.input((1,))
    shared = program.constant(values)
    program.output(shared)
    program.output(program.broadcast_batch(shared))
    alone, spread = predict(program.fused(training=False), [np.ones((5, 1))], rows=2)
    np.testing.assert_array_equal(alone, values)
    np.testing.assert_array_equal(spread, values[None].repeat(5, 0))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_over_the_rows_of_a_batch(shape, kind, isa):
    rng = np.random.default_rng(3)
    program = Lowering()
    x = program.input((*shape[:-1], 4))
    h = dense(program, x, random_weight(rng, 4, shape[-1]), weight(rng.normal(size=shape[-1])))
    summary = program.batch_reduce(h, kind)
    spread = program.broadcast_batch(activation(program, summary, "tanh"))
    program = scored(program, spread)
    same(program, [data(rng, *shape[:-1], 4), data(rng, *shape)], isa=isa)


@pytest.mark.parametrize("kind", ["max", "min"])
def test_equal_extremes_share_the_gradient_and_nan_is_extreme(kind):
    def net(x_values, factor):
        program = Lowering()
        x = dense(program, program.input((1,)), factor)
        top = program.batch_reduce(x, kind)
        program.output(top)
        program.objective(top)
        return program, np.reshape(x_values, (-1, 1)).astype(np.float32)

    w = weight([[1.0]])
    program, x = net([2.0] * 40 + [-2.0] * 40, w)
    same(program, [x])
    program, x = net([1.0, np.nan, 3.0, -3.0], w)
    assert np.isnan(predict(program, [x], rows=4))


@pytest.mark.parametrize("rows", [4, 16, 100])
def test_predictions_see_batches_of_the_executors_rows(rows):
    program = Lowering()
    x = program.input((3,))
    mean = program.batch_reduce(x, "mean")
    program.output(program.broadcast_batch(mean))
    x = data(np.random.default_rng(4), 3)
    found = _core.Executor(program, rows, threads=3).predict([x])
    for at in range(0, ROWS, rows):
        part = x[at : at + rows]
        expected = part.mean(0, dtype=np.float64)
        same_rows = expected[None].repeat(len(part), 0)
        np.testing.assert_allclose(found[at : at + rows], same_rows, rtol=0, atol=1e-7)


# ------------------------------------------------------------------------------------- objectives


def objective(weights=None, shape=(5,), **options):
    rng = np.random.default_rng(5)
    program = Lowering()
    x = program.input((*shape[:-1], 3))
    h = activation(program, dense(program, x, random_weight(rng, 3, shape[-1])), "tanh")
    arrays = [data(rng, *x.shape)]
    given = None
    if weights is not None:
        given = program.input(weights, role="weight")
        arrays.append(rng.uniform(0, 2, (ROWS, *weights)).astype(np.float32))
    program.output(h)
    program.objective(h, given, **options)
    return program, arrays


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("shape", "weights"),
    [((5,), None), ((5,), ()), ((5,), (5,)), ((2, 5), (2, 1)), ((2, 5), ()), ((2, 1), (2, 1))],
)
def test_an_objective_is_the_weighted_mean_or_sum_of_a_value(shape, weights, reduction):
    program, arrays = objective(weights, shape, scale=3.0, reduction=reduction)
    same(program, arrays)
    oracle = Oracle(program)
    oracle.forward(arrays)
    for threads in (1, 3):
        executor = _core.Executor(program.fused(), ROWS, threads=threads)
        executor.begin(arrays, ROWS)
        executor.test(1, 1e9)
        np.testing.assert_allclose(
            executor.results(), oracle.results(), rtol=1e-6, atol=2e-6
        )  # signs cancel
        assert executor.penalty()[0] == 0


def test_an_objective_that_does_not_count_is_a_penalty_and_leaves_the_output_to_the_caller():
    program, arrays = objective(counts=False)
    assert program.reports == [] and program.external_grads == program.outputs
    fused = program.fused()
    executor = _core.Executor(fused, ROWS, training=True)
    executor.begin(arrays, ROWS)
    executor.forward(False)
    total, rows = executor.penalty()
    np.testing.assert_allclose(total / rows, executor.output().mean(dtype=np.float64), rtol=1e-5)
    assert "objective" not in str(program.fused(training=False, penalties=False))


def test_what_the_caller_pulls_and_what_objectives_give_add_up():
    program, arrays = objective(counts=False, reduction="sum")
    w = program.variables[0]
    both = program.fused()
    assert [i.op for i in both.instructions].count("fork") == 1
    optimizer = learner("sgd_momentum", [w], momentum=0.0)
    executor = _core.Executor(both, ROWS, training=True, optimizer=optimizer)
    executor.begin(arrays, ROWS)
    executor.forward(True)
    y = executor.output().astype(np.float64)
    executor.backward(np.full((ROWS, 5), 2.0), 1.0, 0)
    expected = arrays[0].T.astype(np.float64) @ (3 * (1 - y * y))
    np.testing.assert_allclose(-optimizer[2][w][0].get(), expected, rtol=1e-5, atol=1e-5)


def test_a_shared_objective_counts_all_rows_of_each_batch():
    rng = np.random.default_rng(6)
    program = Lowering()
    mean = program.batch_reduce(program.input((1,)), "mean")
    program.objective(mean, scale=2.0)
    x = data(rng, 1)
    for threads in (1, 2):
        executor = _core.Executor(program.fused(), 16, threads=threads)
        executor.begin([x], 16)
        executor.test(10, 1e9)
        np.testing.assert_allclose(executor.results(), 2 * x.mean(dtype=np.float64), rtol=1e-5)


# ------------------------------------------------------------------------------------- assignments


def moving_mean(keep=0.75):
    """x -> its mean over the batch, which a weight follows; the output is the weight, as it was."""
    program, moving = Lowering(), plain(np.zeros(3))
    x = program.input((3,))
    before = program.param(moving)
    program.output(program.broadcast_batch(before))
    mean = program.batch_reduce(x, "mean")
    now = program.emit("activation", [mean], (3,), kind="tanh")
    program.assign(moving, now)
    return program, moving, before, now


def test_an_assignment_holds_once_the_batch_is_through_and_is_read_behind_it():
    program, moving, before, now = moving_mean()
    assert program.param(moving) is now and before is not now
    x = data(np.random.default_rng(7), 3)
    batches = [x[:16], x[16:32], x[32:]]
    for threads in (1, 2, 3):
        for training in (False, True):
            moving.assign(np.zeros(3))
            executor = _core.Executor(program.fused(training), 16, training=True, threads=threads)
            executor.begin([x], 16)
            for k, batch in enumerate(batches):
                was = moving.numpy()
                if training:
                    executor.train(1, 1e9, [0.1], k, 0)
                else:
                    executor.test(1, 1e9)
                np.testing.assert_array_equal(executor.output()[0], was)
                expected = np.tanh(batch.mean(0, dtype=np.float64))
                np.testing.assert_allclose(moving.numpy(), expected, rtol=1e-5)


def test_predictions_assign_nothing():
    program, moving, *_ = moving_mean()
    executor = _core.Executor(program.fused(training=False), 16)
    executor.predict([data(np.random.default_rng(8), 3)])
    np.testing.assert_array_equal(moving.numpy(), np.zeros(3))
    fused = program.fused(False, penalties=False)
    assert [i.op for i in fused.instructions] == ["param", "broadcast_batch"]


def test_only_the_last_of_several_assignments_holds():
    program, moving, before, _ = moving_mean()
    program.assign(moving, before)
    assert [i.op for i in program.instructions].count("assign") == 1
    executor = _core.Executor(program.fused(), 16)
    executor.begin([data(np.random.default_rng(9), 3)], 16)
    executor.test(10, 1e9)
    np.testing.assert_array_equal(moving.numpy(), np.zeros(3))


def test_a_matrix_that_is_assigned_is_what_a_product_reads_next():
    rng = np.random.default_rng(10)
    kernel, other = random_weight(rng, 5, 3), plain(rng.normal(size=(5, 3)))
    program = Lowering()
    x = program.input((5,))
    program.output(dense(program, x, kernel))
    program.assign(kernel, program.param(other))
    x = data(rng, 5)
    executor = _core.Executor(program.fused(), ROWS, training=True)
    executor.begin([x], ROWS)
    executor.test(1, 1e9)
    np.testing.assert_array_equal(kernel.numpy(), other.numpy())
    np.testing.assert_allclose(executor.predict([x]), x @ other.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_in_two_halves_assigns_where_a_step_in_one_call_does(threads):
    def run(halves):
        rng = np.random.default_rng(11)
        kernels = [random_weight(rng, 5, 4), random_weight(rng, 4, 3)]
        program = Lowering()
        h = dense(program, program.input((5,)), kernels[0])
        y = dense(program, h, kernels[1])
        twice = program.map("add", [program.param(kernels[1])] * 2)
        program.assign(kernels[1], twice)
        program.output(y)
        program.loss("mean_squared_error", program.input((3,), role="y"), y)
        optimizer = learner("sgd", kernels)
        executor = _core.Executor(
            program.fused(), 16, training=True, optimizer=optimizer, threads=threads)  # fmt: skip
        executor.begin([data(rng, 5, rows=48), data(rng, 3, rows=48)], 16)
        for step in range(3):
            if halves:
                executor.forward(True, step)
                executor.backward([], 0.1, step)
            else:
                executor.train(1, 1e9, [0.1], step, 0)
        return [kernel.numpy().tolist() for kernel in kernels], executor.totals()

    assert run(halves=True) == run(halves=False)


@pytest.mark.parametrize("shape", [(2,), (3, 1)])
def test_a_value_of_another_shape_or_of_each_sample_is_not_assigned(shape):
    program, w = Lowering(), plain(np.zeros(3))
    with pytest.raises(ValueError, match=r"must have shape \(3,\)"):
        program.assign(w, program.constant(np.zeros(shape)))
    with pytest.raises(ValueError, match="for each sample"):
        program.assign(w, program.input((3,)))


# -------------------------------------------------------------------------------------- in general


def test_many_steps_give_the_same_bits_on_any_number_of_threads():
    def run(threads):
        rng = np.random.default_rng(11)
        scale, kernel = plain(rng.normal(size=7)), random_weight(rng, 5, 7)
        moving = plain(np.zeros(7))
        program = Lowering()
        h = dense(program, program.input((5,)), kernel)
        mean = program.batch_reduce(h, "mean")
        program.assign(moving, mean)
        summary = activation(program, mean, "tanh")
        program.objective(summary, counts=False, scale=0.1)
        t = program.input((7,), role="y")
        program.loss("mean_squared_error", t, h)
        program.loss("mean_squared_error", t, program.broadcast_batch(program.param(scale)))
        program.loss("mean_absolute_error", t, program.broadcast_batch(summary))
        optimizer = learner("adam", [scale, kernel], beta_1=0.9, beta_2=0.999, epsilon=1e-7)
        arrays = [data(rng, 5, rows=100), data(rng, 7, rows=100)]
        logs = train(program.fused(), arrays, optimizer, batch=33, epochs=3, threads=threads)
        return [logs, scale.numpy(), kernel.numpy(), moving.numpy()]

    first = run(1)
    for threads in (2, 3):
        for a, b in zip(first, run(threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", ISAS)
def test_ops_that_know_nothing_of_it_work_on_shared_values(isa):
    rng = np.random.default_rng(12)
    program = Lowering()
    x = program.input((5,))
    h = dense(program, x, random_weight(rng, 5, 6), weight(rng.normal(size=6)))
    y = program.batch_reduce(h, "mean")
    y = dense(program, y, random_weight(rng, 6, 8), weight(rng.normal(size=8)), activation="tanh")
    y = program.emit("reshape", [y], (2, 4))
    line = [plain(rng.uniform(0.5, 2, 4)), plain(rng.normal(size=4))]
    attributes = {"measure": 0, "subtracts_mean": 1, "epsilon": 1e-3}
    y = program.emit("normalize", [y], (2, 4), line, **attributes)
    y = program.emit("permute", [program.emit("softmax", [y], (2, 4))], (4, 2), numbers=[1, 0])
    y = dense(program, y, random_weight(rng, 2, 3), weight(np.zeros(3)))
    assert y.shared
    scored(program, program.broadcast_batch(y))
    same(program, [data(rng, 5), data(rng, 4, 3)], isa=isa)


def test_a_shared_value_is_no_input_of_an_op_that_does_not_mix():
    program = Lowering()
    x = program.input((3,))
    shared = program.constant(np.zeros(3))
    program.emit(
        "normalize", [x, shared], (3,), shared=False, measure=0, subtracts_mean=1, epsilon=0.1
    )
    with pytest.raises(ValueError, match="instruction 1"):
        _core.Executor(program, 4)
    program = Lowering()
    program.emit("softmax", [program.input((3,))], (3,), shared=True)
    with pytest.raises(ValueError, match="instruction 0"):
        _core.Executor(program, 4)


# Shapes of results and of shared values that maps read in place: equal, rows, columns, numbers.
READ_IN_PLACE = [
    ((33,), (33,)),
    ((33,), (1,)),
    ((4, 33), (4, 33)),
    ((4, 33), (33,)),
    ((4, 33), (4, 1)),
    ((5, 3, 16), (5, 1, 16)),
    ((5, 3, 7), (5, 3, 1)),
    ((33, 16), (33, 16)),  # a line more than fits a chunk
    ((32, 64), (32, 64)),  # several lines a chunk, and samples that chunks cut
    ((100, 5), (100, 5)),
    ((3, 1500), (3, 1500)),  # several chunks a line
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("shape", "other"), READ_IN_PLACE)
@pytest.mark.parametrize("has_columns", [False, True])
def test_maps_read_what_samples_share_without_a_copy_for_each(shape, other, has_columns, isa):
    """The values of each sample are of the shape of the result, or a column of it."""
    if has_columns and len(shape) < 2:
        return
    rng = np.random.default_rng(7)
    program, rows = Lowering(), 19
    own = (*shape[:-1], 1) if has_columns else shape
    start = rng.normal(size=(rows, int(np.prod(own)))).astype(np.float32)
    x = dense(program, program.input((rows,)), weight(start))
    x = program.emit("reshape", [x], own)
    x = program.emit("broadcast", [x], shape) if has_columns else x
    r, c = plain(rng.normal(size=other)), plain(rng.normal(size=shape))
    shared = [program.broadcast_batch(program.param(v)) for v in (r, c)]
    if other != shape:
        shared[0] = program.emit("broadcast", [shared[0]], shape)
    b, d, a = arguments(3)
    y = program.map(apply("exp", -b) * a + b * d, [*shared, x])  # x is the last
    program.output(y)
    dy = rng.normal(size=(rows, *shape)).astype(np.float32)
    oracle = Oracle(program)
    value = oracle.forward([np.eye(rows)])[0]
    expected = oracle.backward(dy)
    fused = program.fused()
    assert not {"broadcast", "broadcast_batch"} & {i.op for i in fused.instructions}
    first = None
    for threads in (1, 2, 3):
        found = pull_back(fused, [np.eye(rows)], dy, isa=isa, threads=threads)
        first = first or found
        np.testing.assert_array_equal(found[0], first[0])
        np.testing.assert_allclose(found[0], value, rtol=2e-6, atol=2e-6)
        for v, gradient in expected.items():
            np.testing.assert_array_equal(found[1][v], first[1][v])
            top = max(np.abs(gradient).max(), 0.1)
            np.testing.assert_allclose(found[1][v], gradient, rtol=1e-4, atol=3e-6 * top)
    alone = predict(program.fused(training=False), [np.eye(rows)], rows=5, isa=isa)
    np.testing.assert_allclose(alone, value, rtol=2e-6, atol=2e-6)


def test_a_map_of_shared_values_alone_keeps_one_copy():
    program = Lowering()
    program.input((1,))
    values = [np.arange(6.0).reshape(2, 3), np.ones((2, 3))]
    y = program.map("add", [program.broadcast_batch(program.constant(v)) for v in values])
    program.output(y)
    fused = program.fused(training=False)
    found = predict(fused, [np.ones((4, 1))])
    np.testing.assert_array_equal(found, (values[0] + 1)[None].repeat(4, 0))


@pytest.mark.parametrize("training", [False, True])
def test_nodes_without_samples_take_no_more_for_a_larger_batch(training):
    def memory(nodes, rows):
        program, h = Lowering(), plain(np.ones(9))
        program.metric("mean_squared_error", *[program.input((9,))] * 2)
        value = program.param(h)
        for _ in range(nodes):
            value = program.emit("softmax", [value], (9,))
        scored(program, program.broadcast_batch(value))
        fused = program.fused(training)
        if training:
            optimizer = learner("sgd", [h])
            return _core.Executor(fused, rows, training=True, optimizer=optimizer).memory()[0]
        return _core.Executor(fused, rows, predicts=True).memory()[0]

    more = {memory(1000, rows) - memory(1, rows) for rows in (1, 32, 1000, 10_000)}
    assert len(more) == 1 and more.pop() > 1000
