"""Metrics that count, and losses as metrics: their states, to the last sum."""

import numpy as np
import pytest
import references as reference
from programs import WIDTHS, dense, gradient_keeper, random_weight, weight

from cdl import _core
from cdl._ir.program import Program

NAN = float("nan")
PLAIN = {"top_k": 0.0, "class_id": -1.0, "by_label": 0.0, "from_logits": 0.0}
THRESHOLDS = [0.1, 0.25, 0.5, 0.5, 0.9]
EVEN = [i / 6 for i in range(7)]
AROUND = [-1e-7, *EVEN[1:-1], 1.0 + 1e-7]
MATRIX = {"classes": 4.0, "ignored": -1.0, "whole": 0.0}

# row, parameters of the row, thresholds
CASES = [
    ("confusion", PLAIN, [0.5]),
    ("confusion", PLAIN, THRESHOLDS),
    ("confusion", {**PLAIN, "by_label": 1.0}, THRESHOLDS),
    ("confusion", {**PLAIN, "from_logits": 1.0}, THRESHOLDS),
    ("confusion", {**PLAIN, "class_id": 0.0}, [0.5]),
    ("confusion", {**PLAIN, "top_k": 2.0}, [-1e10]),
    ("confusion", {**PLAIN, "top_k": 1.0, "class_id": 0.0}, [0.4]),
    ("even_confusion", PLAIN, EVEN),
    ("even_confusion", PLAIN, AROUND),
    ("even_confusion", PLAIN, [0.0, 1.0]),
    ("even_confusion", {**PLAIN, "by_label": 1.0}, AROUND),
    ("even_confusion", {**PLAIN, "top_k": 2.0}, EVEN),
    ("class_matrix", {**MATRIX, "threshold": NAN}, None),
    ("class_matrix", {**MATRIX, "threshold": 0.3, "classes": 2.0}, None),
    ("class_matrix", {**MATRIX, "threshold": NAN, "whole": 1.0, "ignored": 2.0}, None),
    ("one_hot_matrix", MATRIX, None),
    ("one_hot_matrix", {**MATRIX, "whole": 1.0, "ignored": 1.0, "classes": 300.0}, None),
    ("number_matrix", MATRIX, None),
    ("number_matrix", {**MATRIX, "whole": 1.0}, None),
    ("f_score", {"threshold": 0.0}, None),
    ("f_score", {"threshold": 0.5}, None),
    ("r2_score", {}, None),
]


def arguments(row, lines, n, seed=0):
    """Targets and predictions of a row, predictions on a grid so that some are equal."""
    rng = np.random.default_rng(seed)
    if "confusion" in row or row == "f_score":
        y = rng.integers(0, 2, (lines, n)) * rng.uniform(0.5, 1, (lines, n)).round(1)
        return np.float32(y), np.float32(rng.uniform(-0.2, 1.2, (lines, n)).round(1))
    if row == "class_matrix":
        y, p = (rng.uniform(-1.5, 5, (lines, n)).round(1) for _ in range(2))
        return np.float32(y), np.float32(p)
    p = np.float32(rng.normal(size=(lines, n)).round(1))
    if row == "number_matrix":
        return np.float32(rng.integers(-1, 5, lines)), p
    return np.float32(rng.normal(size=(lines, n))), p


def tally(row, parameters, y, p, w=None, *, thresholds=None, labels=None, batch=None, **options):
    """The state after all rows."""
    program = Program()
    prediction = program.input(p.shape[1:])
    values = _core.TALLIES[row].target == "values"
    target = program.input(p.shape[1:] if values else (*p.shape[1:-1], 1), role="y")
    weights = None if w is None else program.input(w.shape[1:], role="weight")
    params = [None if v is None else weight(v) for v in (thresholds, labels)]
    program.tally(row, target, prediction, weights, params, **parameters)
    batch = batch or len(p)
    executor = _core.Executor(program, batch, **options)
    executor.begin([p, y, *([] if w is None else [w])], batch)
    executor.test(10**6, 100.0)
    return np.array(executor.states()[0])


def formula(row, parameters, y, p, w, thresholds=None, labels=None):
    if thresholds is not None:
        parameters = {**parameters, "thresholds": np.float32(thresholds), "label_weights": labels}
    values = (np.float64(each) for each in (y, p, np.broadcast_to(w, p.shape)))
    return reference.TALLIES[row](*values, **parameters).reshape(-1)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", WIDTHS[:10])
@pytest.mark.parametrize(("row", "parameters", "thresholds"), CASES)
def test_state_is_that_of_the_formula_for_every_width(row, parameters, thresholds, n):
    y, p = arguments(row, 23, n)
    found = tally(row, parameters, y, p, thresholds=thresholds)
    close(found, formula(row, parameters, y, p, 1.0, thresholds))


@pytest.mark.parametrize("batch", [1, 7, 16, 40])
@pytest.mark.parametrize(("row", "parameters", "thresholds"), CASES)
def test_weights_weigh_and_batches_add_up(row, parameters, thresholds, batch):
    y, p = arguments(row, 40, 4)
    w = np.float32(np.random.default_rng(1).uniform(0, 3, 40))
    found = tally(row, parameters, y, p, w, thresholds=thresholds, batch=batch)
    close(found, formula(row, parameters, y, p, w[:, None], thresholds))


@pytest.mark.parametrize(("row", "parameters", "thresholds"), CASES[:12] + CASES[-3:])
def test_each_prediction_may_have_a_weight(row, parameters, thresholds):
    y, p = arguments(row, 40, 4)
    w = np.float32(np.random.default_rng(1).uniform(0, 3, p.shape))
    found = tally(row, parameters, y, p, w, thresholds=thresholds, batch=7)
    close(found, formula(row, parameters, y, p, w, thresholds))


@pytest.mark.parametrize(("row", "parameters", "thresholds"), CASES)
def test_samples_of_many_lines_are_lines_with_the_weight_of_the_sample(row, parameters, thresholds):
    y, p = arguments(row, 30, 4)
    w = np.array([1, 2, 0, 4, 5], np.float32)
    shape = (5, 3, 2)
    lines = y.reshape(*shape, *y.shape[1:]), p.reshape(*shape, 4)
    found = tally(row, parameters, *lines, w, thresholds=thresholds, batch=2)
    close(found, formula(row, parameters, y, p, np.repeat(w, 6)[:, None], thresholds))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("row", "parameters", "thresholds"), CASES)
def test_states_are_the_same_bits_at_any_number_of_threads(row, parameters, thresholds, threads):
    y, p = arguments(row, 300, 4)
    w = np.float32(np.random.default_rng(1).uniform(0, 3, 300))
    alone, together = (
        tally(row, parameters, y, p, w, thresholds=thresholds, batch=70, threads=count)
        for count in (1, threads)
    )
    assert alone.tobytes() == together.tobytes()


def test_labels_have_weights_of_their_own():
    y, p = arguments("confusion", 30, 3)
    labels = [1.0, 0.0, 2.5]
    found = tally("confusion", PLAIN, y, p, thresholds=THRESHOLDS, labels=labels)
    close(found, formula("confusion", PLAIN, y, p, 1.0, THRESHOLDS, labels))


@pytest.mark.parametrize("row", ["confusion", "even_confusion"])
def test_nan_and_infinite_predictions_count_somewhere(row):
    p = np.float32([[NAN, np.inf, -np.inf, 1e30, -1e30]])
    state = tally(row, PLAIN, np.ones((1, 5)), p, thresholds=EVEN)
    assert state.sum() == 5
    assert state[len(EVEN) + 1 :][0] == 3  # NaN and what is below all


def test_nan_is_no_class():
    p = np.float32([[NAN], [np.inf], [-np.inf], [1.0]])
    state = tally("class_matrix", {**MATRIX, "threshold": NAN}, np.ones((4, 1)), p)
    assert state.sum() == state[5] == 1


def test_top_k_leaves_out_nan_and_takes_all_if_there_are_no_more():
    p = np.float32([[NAN, 0.5, 0.2, NAN]])
    state = tally("confusion", {**PLAIN, "top_k": 3.0}, np.ones((1, 4)), p, thresholds=[-1e10])
    assert state.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("row", "parameters", "thresholds"),
    [
        ("confusion", PLAIN, None),
        ("confusion", {**PLAIN, "class_id": 3.0}, [0.5]),
        ("confusion", {**PLAIN, "class_id": -2.0}, [0.5]),
        ("confusion", {**PLAIN, "top_k": -1.0}, [0.5]),
        ("one_hot_matrix", {**MATRIX, "classes": 0.0}, None),
        ("one_hot_matrix", {**MATRIX, "classes": 1e6}, None),
    ],
)
def test_what_does_not_fit_is_refused(row, parameters, thresholds):
    y, p = arguments(row, 5, 3)
    with pytest.raises(ValueError, match=r"instruction 0 \(tally\): .*expected"):
        tally(row, parameters, y, p, thresholds=thresholds)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (2, 3)])
def test_weights_of_other_shapes_are_refused(shape):
    y, p = arguments("r2_score", 6, 3)
    with pytest.raises(ValueError, match=r"instruction 0 \(tally\): .*expected"):
        tally("r2_score", {}, y, p, np.ones((6, *shape)))


def test_label_weights_of_another_length_are_refused():
    y, p = arguments("confusion", 5, 3)
    with pytest.raises(ValueError, match=r"instruction 0 \(tally\): .*expected"):
        tally("confusion", PLAIN, y, p, thresholds=[0.5], labels=[1.0, 2.0])


# ------------------------------------------------------------------------------ beside a loss


def net(rng, watch):
    """x -> dense -> softmax -> loss; `watch(program, target, output)` adds what looks on."""
    program = Program()
    x, y = program.input((5,)), program.input((3,), role="y")
    kernel = random_weight(rng, 5, 3)
    scores = dense(program, x, kernel, weight(np.zeros(3)))
    output = program.emit("softmax", [scores], scores.shape)
    program.output(output)
    program.loss("categorical_crossentropy", y, output, label_smoothing=0.0)
    watch(program, y, output)
    return program.fused()


def count_all(program, y, output):
    program.tally("confusion", y, output, None, (weight([0.3]),), **PLAIN)
    program.measure("categorical_crossentropy", y, output, label_smoothing=0.0)
    program.measure("mean_squared_error", y, output)
    program.tally("f_score", y, output, threshold=0.0)


def test_watching_changes_no_gradient_and_no_fusing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 5)), np.eye(3)[rng.integers(0, 3, 9)]
    seen = []
    for watch in (lambda *_: None, count_all):
        program = net(np.random.default_rng(1), watch)
        assert "softmax" not in [i.op for i in program.instructions]
        optimizer = gradient_keeper(program.variables[:2])
        executor = _core.Executor(program, 9, training=True, optimizer=optimizer)
        executor.begin([x, y], 9)
        executor.train(1, 100.0, [1.0], 0, 0)
        seen.append([slots[0].get() for slots in optimizer[2].values()])
        states = executor.states()
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    np.testing.assert_array_equal(seen[0][1], seen[1][1])
    loss, confusion, measured, _, _ = states
    assert sum(confusion) == 27
    np.testing.assert_allclose(measured, loss, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [(name, p) for name in _core.LOSSES for p in reference.loss_parameters(name)],
)
def test_a_loss_is_measured_as_its_formula_says(name, parameters, n):
    rng = np.random.default_rng(4)
    y, p = reference.loss_arguments(name, 30, n, rng)
    p, w = np.float32(p), np.float32(rng.uniform(0, 2, 30))
    classes = _core.LOSSES[name].target == "classes"
    program = Program()
    prediction = program.input((n,))
    target = program.input((1,) if classes else (n,), "int32" if classes else "float32", "y")
    program.measure(name, target, prediction, program.input((), role="weight"), **parameters)
    executor = _core.Executor(program, 7, threads=2)
    executor.begin([p, y, w], 7)
    executor.test(99, 100.0)
    values = reference.LOSSES[name][0](y, np.float64(p), **parameters)
    expected = (np.float64(w) @ values, np.float64(w).sum())
    np.testing.assert_allclose(
        executor.totals()[0], expected, rtol=reference.LOSS_RTOL, atol=reference.LOSS_ATOL
    )


@pytest.mark.parametrize("op", ["metric", "measure"])
def test_values_of_lines_can_be_put_out(op):
    program = Program()
    prediction, target = program.input((4, 3)), program.input((4, 3), role="y")
    program.output(program.emit(op, (prediction, target), (4, 1), kind="mean_squared_error"))
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(2, 20, 4, 3)).astype(np.float32)
    values = _core.Executor(program, 6).predict([p, y])
    np.testing.assert_allclose(values[..., 0], ((p - y) ** 2).mean(-1), rtol=1e-6)
