"""Whole runs, step by step: weights and logged losses against float64."""

import sys

import numpy as np
import pytest
import references as reference
from oracle import Oracle
from programs import ISAS, activation, dense, learner, mlp, random_weight, train, weight

from cdl import _core
from cdl._ir.program import Program

ROWS, BATCH, EPOCHS = 50, 16, 4  # the last batch has two rows


def judge(program, arrays, row, *, epochs=EPOCHS, rate=0.01, orders=None, batch=BATCH):
    """A run by the oracle: (weights, results of the reports of each epoch)."""
    oracle = Oracle(program, (row, reference.OPTIMIZER_HYPERS.get(row, {})))
    logs = []
    for epoch in range(epochs):
        order = np.arange(len(arrays[0])) if orders is None else np.asarray(orders[epoch])
        sums = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            oracle.step([a[rows] for a in arrays], rate)
            sums = sums + np.array(oracle.totals)
        logs.append(sums[:, 0] / sums[:, 1])
    return oracle.weights, logs


def agree(program, arrays, row, *, form=Program.fused, learn=None, tolerance=1e-4, **run):
    options = {key: run.pop(key) for key in ("isa", "threads") if key in run}
    weights, logs = judge(program, arrays, row, **run)
    optimizer = learner(row, learn or program.variables, **reference.OPTIMIZER_HYPERS.get(row, {}))
    run = {"epochs": EPOCHS, "rate": 0.01, "batch": BATCH, **run}
    found = train(form(program), arrays, optimizer, **run, **options)
    np.testing.assert_allclose(found, logs, rtol=tolerance, atol=1e-6)
    for v in program.variables:
        np.testing.assert_allclose(v.numpy(), weights[v], rtol=tolerance, atol=tolerance / 10)


def classifier(rng, *, kind="tanh", weighted=False, widths=(10, 33, 5)):
    """An MLP with softmax, its crossentropy and its accuracy, and data that can be learned."""
    program, y = mlp(rng, widths, kind, last="softmax")
    target = program.input((), "int32", "y")
    w = program.input((), role="weight") if weighted else None
    program.loss("sparse_categorical_crossentropy", target, y, w)
    program.metric("sparse_categorical_accuracy", target, y, w)
    x = rng.normal(size=(ROWS, widths[0])).astype(np.float32)
    arrays = [x, x[:, : widths[-1]].argmax(1)]
    return program, arrays + ([rng.uniform(0, 2, ROWS).astype(np.float32)] if weighted else [])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_a_classifier_with_every_optimizer(row, threads, isa):
    program, arrays = classifier(np.random.default_rng(0))
    agree(program, arrays, row, isa=isa, threads=threads)


@pytest.mark.parametrize("row", ["sgd_nesterov", "adam"])
def test_sample_weights_and_a_new_order_every_epoch(row):
    rng = np.random.default_rng(1)
    program, arrays = classifier(rng, weighted=True)
    orders = [rng.permutation(ROWS) for _ in range(EPOCHS)]
    orders[2] = orders[2][:37]
    agree(program, arrays, row, orders=orders, threads=2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "widths", [(10, 1, 65), (1, 65, 1, 10), (65, 10, 1, 2), (5, 37, 65, 64), (3, 100, 7, 81)]
)
def test_widths_of_1_10_and_65_side_by_side(widths, isa):
    rng = np.random.default_rng(2)
    program, y = mlp(rng, widths, "tanh")
    program.loss("mean_squared_error", program.input((widths[-1],), role="y"), y)
    arrays = [rng.normal(size=(ROWS, n)).astype(np.float32) for n in (widths[0], widths[-1])]
    for row in ("sgd_momentum", "adam"):
        agree(program, arrays, row, epochs=6, isa=isa)


@pytest.mark.parametrize("batch", [1, 2, 49, 50, 64])
def test_batches_of_any_size(batch):
    program, arrays = classifier(np.random.default_rng(3))
    agree(program, arrays, "sgd", batch=batch, epochs=2, rate=0.1)


@pytest.mark.parametrize("kind", ["plain_relu", "silu", "gelu", "softplus", "selu"])
def test_activations_inside(kind):
    program, arrays = classifier(np.random.default_rng(4), kind=kind)
    agree(program, arrays, "sgd_momentum", tolerance=3e-4)


def test_unfused_programs_learn_the_same():
    program, arrays = classifier(np.random.default_rng(5))
    agree(program, arrays, "adam", form=lambda p: p)


@pytest.mark.parametrize("threads", [1, 3])
def test_samples_of_several_axes(threads):
    rng = np.random.default_rng(6)
    program = Program()
    x = program.input((3, 4))
    x = activation(
        program, dense(program, x, random_weight(rng, 4, 18), weight(np.zeros(18))), "tanh"
    )
    x = program.emit("reshape", [x], (6, 9))
    x = dense(program, x, random_weight(rng, 9, 2), weight(np.zeros(2)))
    program.output(x)
    program.loss("mean_squared_error", program.input((6, 2), role="y"), x)
    arrays = [rng.normal(size=(ROWS, *s)).astype(np.float32) for s in ((3, 4), (6, 2))]
    agree(program, arrays, "adam", threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_batch_normalization_and_its_moving_statistics(threads):
    rng = np.random.default_rng(7)
    program = Program()
    x = dense(program, program.input((10,)), random_weight(rng, 10, 33))
    statistics = [
        weight(np.ones(33)),
        weight(np.zeros(33)),
        weight(np.zeros(33)),
        weight(np.ones(33)),
    ]
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    x = activation(
        program, program.emit("batch_norm", [x], (33,), statistics, **attributes), "tanh"
    )
    x = dense(program, x, random_weight(rng, 33, 2), weight(np.zeros(2)))
    program.output(x)
    program.loss("mean_squared_error", program.input((2,), role="y"), x)
    arrays = [rng.normal(size=(ROWS, n)).astype(np.float32) for n in (10, 2)]
    moving = statistics[2:]
    learn = [v for v in program.variables if v not in set(moving)]
    oracle_learns = Oracle(program, ("sgd", {}), learn=learn)
    optimizer = learner("sgd", learn)
    executor = _core.Executor(
        program.fused(), BATCH, training=True, optimizer=optimizer, threads=threads
    )
    executor.begin(arrays, BATCH)
    for start in range(0, ROWS - 2, BATCH):
        oracle_learns.step([a[start : start + BATCH] for a in arrays], 0.1)
        executor.train(1, 100.0, [0.1], start // BATCH, 0)
        for v in program.variables:
            np.testing.assert_allclose(v.numpy(), oracle_learns.weights[v], rtol=1e-4, atol=1e-5)
    x = arrays[0]
    expected = oracle_learns.forward(arrays)[0]
    np.testing.assert_allclose(executor.predict(arrays), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_dropout_in_a_net_learns_by_the_mask_that_it_drew(threads):
    rng = np.random.default_rng(8)
    program, hidden = mlp(rng, [10, 40], last="sigmoid")  # never 0, so that the mask shows
    dropped = program.emit("dropout", [hidden], (40,), rate=0.4, seed=5, user_draw=0)
    program.output(dropped)
    y = dense(program, dropped, random_weight(rng, 40, 3), weight(np.zeros(3)))
    program.loss("mean_squared_error", program.input((3,), role="y"), y)
    arrays = [rng.normal(size=(ROWS, n)).astype(np.float32) for n in (10, 3)]
    dropout = next(i for i in program.instructions if i.op == "dropout")
    oracle = Oracle(program, ("sgd", {}))
    executor = _core.Executor(
        program, BATCH, training=True, optimizer=learner("sgd", program.variables), threads=threads
    )
    executor.begin(arrays, BATCH)
    for start in range(0, ROWS, BATCH):
        executor.train(1, 100.0, [0.5], start // BATCH, 77)
        mask = executor.output(1) / executor.output(0)
        assert 0.4 < (mask > 0).mean() < 0.8
        oracle.step([a[start : start + BATCH] for a in arrays], 0.5, masks={dropout: mask})
    for v in program.variables:
        np.testing.assert_allclose(v.numpy(), oracle.weights[v], rtol=1e-4, atol=1e-5)


def test_a_gradient_from_outside_trains_as_the_loss_inside_does():
    """forward(), then backward() with the gradients of the mean squared error made by NumPy."""
    results = []
    for inside in (True, False):
        rng = np.random.default_rng(9)
        program, y = mlp(rng, [10, 33, 3], "tanh")
        arrays = [rng.normal(size=(ROWS, n)).astype(np.float32) for n in (10, 3)]
        if inside:
            program.loss("mean_squared_error", program.input((3,), role="y"), y)
        optimizer = learner("adam", program.variables, **reference.OPTIMIZER_HYPERS["adam"])
        if inside:
            train(program, arrays, optimizer, batch=BATCH)
        else:
            executor = _core.Executor(program, BATCH, training=True, optimizer=optimizer)
            executor.begin(arrays[:1], BATCH)
            t = 0
            while rows := executor.forward(True, t):
                target = arrays[1][t * BATCH : t * BATCH + rows]
                executor.backward(2 * (executor.output(0, rows) - target) / target.size, 0.01, t)
                t += 1
        results.append([v.numpy() for v in program.variables])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_evaluation_changes_no_weight_and_gives_the_loss_of_the_weights_as_they_are():
    program, arrays = classifier(np.random.default_rng(10))
    before = [v.numpy() for v in program.variables]
    executor = _core.Executor(
        program.fused(), BATCH, training=True, optimizer=learner("sgd", program.variables)
    )
    executor.begin(arrays, BATCH)
    assert executor.test(10**6, 100.0) == 4
    oracle = Oracle(program)
    oracle.forward(arrays)
    np.testing.assert_allclose(executor.results(), oracle.results(), rtol=1e-5)
    for v, values in zip(program.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), values)


def test_output_and_batch_are_those_of_the_last_batch():
    program, arrays = classifier(np.random.default_rng(11))
    executor = _core.Executor(program.fused(), BATCH)
    executor.begin(arrays, BATCH)
    for start in range(0, ROWS, BATCH):
        executor.test(1, 100.0)
        rows = slice(start, min(start + BATCH, ROWS))
        np.testing.assert_array_equal(executor.batch(0), arrays[0][rows])
        np.testing.assert_array_equal(executor.batch(1), arrays[1][rows])
        expected = executor.predict([a[rows] for a in arrays])
        np.testing.assert_array_equal(executor.output(), expected)


def test_a_pass_stops_by_time_and_goes_on():
    program, arrays = classifier(np.random.default_rng(12))
    executor = _core.Executor(program.fused(), 1)
    executor.begin(arrays, 1)
    assert executor.test(10**9, 0.0) == 1
    assert executor.test(10**9, 0.0) == 2
    assert executor.test(10**9, 1e9) == ROWS
    assert executor.test(10**9, 1e9) == ROWS


def trained(program, **options):
    optimizer = learner("adam", program.variables, **reference.OPTIMIZER_HYPERS["adam"])
    return _core.Executor(program.fused(), BATCH, training=True, optimizer=optimizer, **options)


@pytest.mark.parametrize("splits", [False, True])
def test_a_pass_of_one_batch_is_a_step_of_any_other_pass(splits):
    results = []
    for alone in (True, False):
        program, arrays = classifier(np.random.default_rng(13))
        executor = trained(program, splits=splits)
        counter, logs = np.zeros(1, np.int64), []
        executor.count_in(counter)
        for step in range(4):
            batch = [each[step * 12 : step * 12 + 12] for each in arrays]
            if alone:
                logs += [executor.once(batch, 0.01, step, 7), executor.once(batch)]
                assert executor.done == 0
                continue
            for trains in (True, False):
                executor.reset()
                executor.begin(batch, 12)
                executor.train(1, 0.0, [0.01], step, 7) if trains else executor.test(1, 0.0)
                logs.append((executor.states(), executor.penalty()))
        assert counter[0] == 4
        results.append((logs, [v.numpy() for v in program.variables]))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pass_of_one_batch_holds_no_array_and_refuses_what_is_no_batch():
    program, arrays = classifier(np.random.default_rng(14))
    executor = trained(program)
    batch = [each[:12].copy() for each in arrays]
    held = sys.getrefcount(batch[0])
    executor.once(batch, 0.01)
    now = sys.getrefcount(batch[0])
    assert now == held
    before = [v.numpy() for v in program.variables]
    for given, text in ((arrays, "rows must be in"), ([batch[0]], "expected 2 arrays")):
        with pytest.raises(ValueError, match=text):
            executor.once(given, 0.01)
    with pytest.raises(ValueError, match="made to predict"):
        _core.Executor(program.fused(), BATCH).once(batch, 0.01)
    for v, values in zip(program.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), values)
    assert executor.once(batch)[1][1] == 12
