"""Every row of the metrics: values, weights, lines, batches, on every ISA."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, WIDTHS

from cdl import _core
from cdl._ir.program import Program

ROWS = [(name, p) for name in _core.METRICS for p in reference.metric_parameters(name)]
CLOSE = {"rtol": reference.METRIC_RTOL, "atol": reference.METRIC_ATOL}


def target_of(name):
    return _core.METRICS[name].target


def classes_of(name):
    return target_of(name) == "classes"


def arguments(name, rows, n, seed=0):
    y, p = reference.loss_arguments(name, rows, n, np.random.default_rng(seed))
    return (y if classes_of(name) else np.float32(y)), np.float32(p)


def measure(name, parameters, y, p, *, w=None, batch=None, isa=None, threads=1):
    """(total, count) of a metric over the rows."""
    program = Program()
    prediction = program.input(p.shape[1:])
    shape = p.shape[1:] if target_of(name) == "values" else (*p.shape[1:-1], 1)
    target = program.input(shape, "int32" if classes_of(name) else "float32", "y")
    weight = None if w is None else program.input((), role="weight")
    program.metric(name, target, prediction, weight, **parameters)
    batch = batch or len(p)
    executor = _core.Executor(program, batch, isa=isa, threads=threads)
    executor.begin([p, y, *([] if w is None else [w])], batch)
    executor.test(10**6, 100.0)
    total, count = executor.totals()[0]
    np.testing.assert_equal(executor.results(), [total / count if count else 0.0])
    return total, count


def formula(name, parameters, y, p):
    y = y if classes_of(name) else y.astype(np.float64)
    return reference.METRICS[name](y, p.astype(np.float64), **parameters)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_the_mean_over_rows_of_every_width(name, parameters, n, isa):
    y, p = arguments(name, 23, n)
    total, count = measure(name, parameters, y, p, isa=isa)
    assert count == 23
    np.testing.assert_allclose(total, formula(name, parameters, y, p).sum(), **CLOSE)


@pytest.mark.parametrize("batch", [1, 7, 16, 40])
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_weights_weigh_values_and_count_and_batches_add_up(name, parameters, batch):
    y, p = arguments(name, 40, 4)
    w = np.random.default_rng(1).uniform(0, 3, 40).astype(np.float32)
    total, count = measure(name, parameters, y, p, w=w, batch=batch)
    expected = (w.astype(float) * formula(name, parameters, y, p)).sum()
    np.testing.assert_allclose(total, expected, **CLOSE)
    np.testing.assert_allclose(count, w.astype(float).sum())


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_a_sample_of_many_lines_counts_their_mean(name, parameters, n):
    y, p = arguments(name, 30, n)
    w = np.array([1, 2, 0, 4, 5], np.float32)
    shape = (5, 3, 2)
    found = measure(name, parameters, y.reshape(shape + y.shape[1:]), p.reshape(*shape, n), w=w)
    expected = w @ formula(name, parameters, y, p).reshape(5, 6).mean(1)
    np.testing.assert_allclose(found, (expected, w.sum()), **CLOSE)


@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_weights_of_0_give_the_result_0(name, parameters):
    y, p = arguments(name, 8, 3)
    assert measure(name, parameters, y, p, w=np.zeros(8)) == (0.0, 0.0)


def test_reset_forgets_and_without_it_passes_add_up():
    y, p = np.zeros((4, 1)), np.ones((4, 1))
    program = Program()
    prediction, target = program.input((1,)), program.input((1,), role="y")
    program.metric("mean_squared_error", target, prediction)
    executor = _core.Executor(program, 4)
    for expected in ((4.0, 4.0), (8.0, 8.0)):
        executor.begin([p, y], 4)
        executor.test(9, 100.0)
        assert executor.totals() == [expected]
    executor.reset()
    assert executor.totals() == [(0.0, 0.0)]


def test_several_reports_keep_their_order():
    program = Program()
    prediction, target = program.input((2,)), program.input((2,), role="y")
    program.metric("mean_absolute_error", target, prediction)
    program.loss("mean_squared_error", target, prediction)
    program.metric("categorical_accuracy", target, prediction)
    executor = _core.Executor(program, 4)
    executor.begin([np.float32([[3, 0]] * 4), np.float32([[1, 0]] * 4)], 4)
    executor.test(1, 100.0)
    np.testing.assert_allclose(executor.results(), [1.0, 2.0, 1.0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [2, 3, 8, 16, 17, 33, 64, 65])
def test_the_largest_is_numpys_argmax_wherever_it_stands(n, isa):
    p = np.tile(np.arange(n) % 3, (n, 1)).astype(np.float32)
    p[np.arange(n), np.arange(n)] = 9
    assert measure("sparse_categorical_accuracy", {}, np.arange(n), p, isa=isa) == (n, n)
    assert measure("categorical_accuracy", {}, np.eye(n), p, isa=isa) == (n, n)
    p[:, n - 1] = -np.inf
    wrong = (np.arange(n) + 1) % n
    assert measure("sparse_categorical_accuracy", {}, wrong, p, isa=isa)[0] <= 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 16, 40])
@pytest.mark.parametrize(("name", "parameters"), [row for row in ROWS if classes_of(row[0])])
def test_labels_that_are_no_class_read_nothing_beside_their_row(name, parameters, n, isa):
    int32 = np.iinfo(np.int32)
    y = np.array([int32.min, -(10**8), -n - 1, -n, -1, 0, n - 1, n, n + 1, 10**8, int32.max])
    _, p = arguments(name, len(y), n)
    total, count = measure(name, parameters, y, p, isa=isa)
    assert count == len(y)
    np.testing.assert_allclose(total, formula(name, parameters, y, p).sum(), **CLOSE)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [2, 5, 16, 40])
@pytest.mark.parametrize("times", [1, 8])
def test_of_equals_and_of_nans_the_first_is_the_largest(times, n, isa):
    rows = np.zeros((5, n), np.float32)
    rows[1, n // 2 :] = 1
    rows[2, [0, n - 1]] = 5
    rows[3, n - 1], rows[4, n // 2 :] = np.nan, np.nan
    rows, best = np.tile(rows, (times, 1)), np.tile([0, n // 2, 0, n - 1, n // 2], times)
    found = measure("sparse_categorical_accuracy", {}, best, rows, isa=isa)
    assert found == (5 * times, 5 * times)


def test_all_scores_of_minus_infinity_are_a_tie():
    p = np.full((2, 40), -np.inf, np.float32)
    assert measure("sparse_categorical_accuracy", {}, np.array([0, 1]), p)[0] == 1


def test_binary_accuracy_counts_only_above_the_threshold():
    p = np.float32([[0.5], [np.nextafter(np.float32(0.5), np.float32(1))], [0.4]])
    y = np.float32([[0], [1], [1]])
    assert measure("binary_accuracy", {"threshold": 0.5}, y, p) == (2.0, 3.0)


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error"])
def test_nan_is_seen(name):
    p = np.array([[0.0, np.nan]], np.float32)
    assert np.isnan(measure(name, {}, np.zeros((1, 2)), p)[0])
