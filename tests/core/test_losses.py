"""Every row of the losses: value, derivative, weights, reduction, on every ISA."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, gradient_keeper, kept, scores_program

from cdl import _core
from cdl._ir.program import Program

ROWS = [(name, p) for name in _core.LOSSES for p in reference.loss_parameters(name)]
BARE = [(name, reference.loss_parameters(name)[0]) for name in _core.LOSSES]
SIZES = [(1, 1), (3, 1), (100, 1), (1, 2), (7, 3), (5, 10), (65, 16), (9, 17), (4, 64), (3, 129)]
SIZES += [(40, 70), (3, 1000), (2, 1024), (2, 2500)]  # several lines at a time; a line in parts
VALUE = {"rtol": reference.LOSS_RTOL, "atol": reference.LOSS_ATOL}
GRADIENT = {"rtol": reference.GRADIENT_RTOL, "atol": reference.GRADIENT_ATOL}


def classes_of(name):
    return _core.LOSSES[name].target == "classes"


def float32(y, p):
    """The arguments as the core sees them, so that both judges get the same numbers."""
    return (y if y.dtype.kind == "i" else np.float32(y)), np.float32(p)


def arguments(name, rows, n, seed=0):
    return float32(*reference.loss_arguments(name, rows, n, np.random.default_rng(seed)))


def formula(name, parameters, y, p, which):
    y = y if y.dtype.kind == "i" else y.astype(np.float64)
    with np.errstate(all="ignore"):
        return reference.LOSSES[name][which](y, p.astype(np.float64), **parameters)


def loss_program(name, p, weighted=False, **options):
    """A program whose only weight is the predictions."""

    def emit(program, scores):
        if classes_of(name):
            target = program.input(p.shape[1:-1], "int32", "y")
        else:
            target = program.input(p.shape[1:], role="y")
        if p.ndim > 2:
            scores = program.emit("reshape", [scores], p.shape[1:])
        weight = program.input((), role="weight") if weighted else None
        program.loss(name, target, scores, weight, **options)

    return scores_program(p.reshape(len(p), -1), emit)


def run(name, y, p, *, w=None, isa=None, threads=1, **options):
    """(logged loss, gradient by the predictions) of one batch."""
    program = loss_program(name, p, w is not None, **options)
    optimizer = gradient_keeper(program.variables)
    rows = len(p)
    executor = _core.Executor(
        program, rows, training=True, optimizer=optimizer, isa=isa, threads=threads
    )
    executor.begin([np.eye(rows), y, *([] if w is None else [w])], rows)
    executor.train(1, 100.0, [1.0], 0, 0)
    return executor.results()[0], kept(optimizer)[program.variables[0]].reshape(p.shape)


def values(name, parameters, y, p, isa=None):
    """The loss of each row on its own: an evaluation with batches of one row."""
    program = Program()
    prediction = program.input(p.shape[1:])
    target = program.input(() if classes_of(name) else p.shape[1:], _kind(name), "y")
    program.loss(name, target, prediction, **parameters)
    executor = _core.Executor(program, 1, isa=isa)
    executor.begin([p, y], 1)
    found = []
    for _ in range(len(p)):
        executor.reset()
        executor.test(1, 100.0)
        found.append(executor.results()[0])
    return np.array(found)


def _kind(name):
    return "int32" if classes_of(name) else "float32"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_value_and_gradient_of_every_size(name, parameters, size, isa):
    y, p = arguments(name, *size)
    loss, gradient = run(name, y, p, isa=isa, **parameters)
    np.testing.assert_allclose(loss, formula(name, parameters, y, p, 0).mean(), **VALUE)
    np.testing.assert_allclose(gradient * len(p), formula(name, parameters, y, p, 1), **GRADIENT)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_the_value_of_each_row_is_its_own(name, parameters, isa):
    y, p = arguments(name, 20, 6)
    expected = formula(name, parameters, y, p, 0)
    np.testing.assert_allclose(values(name, parameters, y, p, isa), expected, **VALUE)


@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize(("name", "parameters"), BARE)
def test_same_bits_for_any_number_of_threads(name, parameters, n):
    y, p = arguments(name, 101, n)
    w = np.random.default_rng(1).uniform(0, 3, 101).astype(np.float32)
    seen = [run(name, y, p, w=w, threads=threads, **parameters) for threads in (1, 2, 3)]
    for loss, gradient in seen[1:]:
        assert loss == seen[0][0]
        np.testing.assert_array_equal(gradient, seen[0][1])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("name", "y", "p", "derivative"),
    [
        ("hinge", [[1.0], [-1.0]], [[1.0], [-1.0]], [[-0.5], [0.5]]),
        ("squared_hinge", [[1.0], [-1.0]], [[1.0], [-1.0]], [[0], [0]]),
        ("categorical_hinge", [[0.0, 0, 1]], [[0.0, 0, 0]], [[1 / 3, 1 / 3, -1]]),
        ("categorical_hinge", [[0.0, 0, 1]], [[0.0, 0, 1]], [[1 / 6, 1 / 6, -0.5]]),
        ("mean_absolute_error", [[1.0, 2]], [[1.0, 3]], [[0, 0.5]]),
    ],
)
def test_gradients_in_corners(name, y, p, derivative, isa):
    _, gradient = run(name, *float32(np.array(y), np.array(p)), isa=isa)
    np.testing.assert_allclose(gradient * len(y), derivative, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize(("name", "parameters"), BARE)
def test_weights_scale_and_sum(name, parameters, n):
    y, p = arguments(name, 30, n)
    w = np.random.default_rng(1).uniform(0, 3, 30).astype(np.float32)
    w[::7] = 0
    weighted = w * formula(name, parameters, y, p, 0)
    derivatives = w[:, None] * formula(name, parameters, y, p, 1)
    for reduction, count in (("mean", 30), ("sum", 1), ("none", 1)):
        options = {"scale": 0.25, "reduction": reduction, **parameters}
        loss, gradient = run(name, y, p, w=w, **options)
        reported = 1 if reduction == "sum" else 30
        np.testing.assert_allclose(loss, 0.25 * weighted.sum() / reported, **VALUE)
        np.testing.assert_allclose(gradient * count, 0.25 * derivatives, **GRADIENT)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(("name", "parameters"), BARE)
def test_a_sample_of_many_lines_counts_their_mean(name, parameters, n):
    y, p = arguments(name, 5 * 6, n)
    w = np.random.default_rng(1).uniform(0, 3, 5).astype(np.float32)
    shape = (5, 3, 2)
    found = run(name, y.reshape(shape + y.shape[1:]), p.reshape(*shape, n), w=w, **parameters)
    each = np.repeat(w, 6)
    expected = (each * formula(name, parameters, y, p, 0)).mean()
    np.testing.assert_allclose(found[0], expected, **VALUE)
    derivatives = each[:, None] * formula(name, parameters, y, p, 1) / 30
    np.testing.assert_allclose(found[1].reshape(30, n), derivatives, **GRADIENT)


@pytest.mark.parametrize(("name", "parameters"), BARE)
def test_batches_add_up_to_the_mean_over_all_rows_also_with_a_partial_last_one(name, parameters):
    y, p = arguments(name, 50, 4)
    program = Program()
    prediction = program.input((4,))
    target = program.input(() if classes_of(name) else (4,), _kind(name), "y")
    program.loss(name, target, prediction, **parameters)
    executor = _core.Executor(program, 16)
    executor.begin([p, y], 16)
    assert executor.test(100, 100.0) == 4
    np.testing.assert_allclose(
        executor.results()[0], formula(name, parameters, y, p, 0).mean(), **VALUE
    )
    assert executor.totals()[0][1] == 50


# ------------------------------------------------------------- probabilities at and beyond the ends


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_probabilities_are_clipped_where_keras_clips_and_pass_no_gradient_there(
    smoothing, isa
):
    y = np.float32([[1], [0], [1], [0], [1], [0]])
    p = np.float32([[0], [1], [1], [0], [-0.5], [1.5]])
    parameters = {"label_smoothing": smoothing}
    expected = formula("binary_crossentropy", parameters, y, p, 0)
    found = values("binary_crossentropy", parameters, y, p, isa)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-7)
    if not smoothing:
        np.testing.assert_allclose(found[:2], [16.118095, 15.942385], rtol=1e-6)
    _, gradient = run("binary_crossentropy", y, p, isa=isa, **parameters)
    np.testing.assert_array_equal(gradient, np.zeros_like(p))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_class_probabilities_are_divided_by_their_sum_then_clipped(name, isa):
    p = np.float32([[0, 1, 0], [1, 0, 0], [3, 1, 0], [0.2, 0.2, 0.2], [0, 0, 5]])
    classes = np.array([0, 0, 1, 2, 2])
    y = classes if classes_of(name) else reference.one_hot(classes, 3).astype(np.float32)
    parameters = reference.loss_parameters(name)[0]
    found = values(name, parameters, y, p, isa)
    np.testing.assert_allclose(found, formula(name, parameters, y, p, 0), rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(found[0], 16.118095, rtol=1e-6)
    _, gradient = run(name, y, p, isa=isa, **parameters)
    np.testing.assert_allclose(gradient * 5, formula(name, parameters, y, p, 1), **GRADIENT)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [30.0, 1e4, 1e30])
@pytest.mark.parametrize(
    "name", [name for name in _core.LOSSES if "max_" in name or "moid_" in name]
)
def test_raw_scores_of_any_size_give_a_finite_loss_and_gradient(name, size, isa):
    y, p = arguments(name, 40, 5)
    p = (p * np.float32(size)).astype(np.float32)
    parameters = reference.loss_parameters(name)[0]
    loss, gradient = run(name, y, p, isa=isa, **parameters)
    np.testing.assert_allclose(loss, formula(name, parameters, y, p, 0).mean(), rtol=1e-5)
    np.testing.assert_allclose(gradient * 40, formula(name, parameters, y, p, 1), **GRADIENT)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize(("name", "parameters"), BARE)
def test_a_nan_is_seen_in_the_loss_and_in_the_gradient_of_its_row(name, parameters, n, isa):
    y, p = arguments(name, 6, n)
    p[2, n // 2] = np.nan
    found = values(name, parameters, y, p, isa)
    np.testing.assert_array_equal(np.isnan(found), np.arange(6) == 2)

    def emit(program, scores):
        target = program.input(() if classes_of(name) else (n,), _kind(name), "y")
        program.loss(name, target, scores, **parameters)

    program = scores_program(p[2:3], emit)
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(program, 1, training=True, optimizer=optimizer, isa=isa)
    executor.begin([np.eye(1), y[2:3]], 1)
    executor.train(1, 100.0, [1.0], 0, 0)
    assert np.isnan(kept(optimizer)[program.variables[0]][0, n // 2])


@pytest.mark.parametrize("isa", ISAS)
def test_targets_need_not_sum_to_1(isa):
    rng = np.random.default_rng(0)
    y, z = (
        rng.uniform(0, 2, (12, 7)).astype(np.float32),
        rng.normal(size=(12, 7)).astype(np.float32),
    )
    for smoothing in (0.0, 0.2):
        parameters = {"label_smoothing": smoothing}
        name = "softmax_categorical_crossentropy"
        loss, gradient = run(name, y, z, isa=isa, **parameters)
        np.testing.assert_allclose(loss, formula(name, parameters, y, z, 0).mean(), **VALUE)
        np.testing.assert_allclose(gradient * 12, formula(name, parameters, y, z, 1), **GRADIENT)
