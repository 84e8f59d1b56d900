"""Weights and masks of lines in a batch's loss, and labels that are turned into signs."""

import numpy as np
import pytest
import references as reference
from oracle import Oracle
from programs import ISAS, gradient_keeper, kept, scores_program, train, weight

from cdl import _core
from cdl._ir.program import Program

LINES = [(), (1,), (3,), (3, 2)]


def weighed_loss(n, lines, reads, mean, weight_shape, scale=1.0):
    """Rows of softmax scores, class targets, and what `reads` names, as a program's loss."""

    def emit(program, scores):
        if lines:
            scores = program.emit("reshape", [scores], (*lines, n))
        target = program.input(lines, "int32", "y")
        given = []
        if reads & 1:
            given.append(program.input(weight_shape, role="weight"))
        if reads & 2:
            given.append(program.input((*lines, 1), role="weight"))
        if reads & 4:
            given.append(target)
        of_lines = program.emit(
            "mask_weights", given, (*lines, 1), reads=int(reads), ignored=1, mean=int(mean)
        )
        name = "softmax_sparse_categorical_crossentropy"
        program.loss(name, target, scores, of_lines, scale)

    return emit


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("mean", [0, 1, 2])
@pytest.mark.parametrize("reads", range(1, 8))
@pytest.mark.parametrize("each", [False, True])
def test_lines_count_as_the_oracle_says(reads, mean, lines, each):
    rng = np.random.default_rng(reads)
    n, rows = 4, 53
    weight_shape = (*lines, 1) if each else ()
    size = (rows, *lines)
    scores = rng.normal(size=(rows, n * int(np.prod(lines))))
    arrays = [np.eye(rows), rng.integers(0, n, size)]
    if reads & 1:
        arrays.append(rng.uniform(0, 2, (rows, *weight_shape)).astype(np.float32))
    if reads & 2:
        arrays.append(rng.integers(0, 2, (*size, 1)))
    program = scores_program(scores, weighed_loss(n, lines, reads, mean, weight_shape, 0.5))
    oracle = Oracle(program)
    oracle.forward(arrays, training=True)
    expected = oracle.backward()[program.variables[0]]
    for threads in (1, 3):
        optimizer = gradient_keeper(program.variables)
        executor = _core.Executor(
            program, rows, training=True, optimizer=optimizer, threads=threads
        )
        executor.begin(arrays, rows)
        start = program.variables[0].numpy()
        executor.train(1, 100.0, [1.0], 0, 0)
        program.variables[0].assign(start)
        np.testing.assert_allclose(executor.results()[0], oracle.loss, rtol=2e-6)
        found = kept(optimizer)[program.variables[0]]
        np.testing.assert_allclose(found * rows, expected * rows, rtol=2e-5, atol=1e-6)
    test = _core.Executor(program, rows, threads=2)
    test.begin(arrays, rows)
    test.test(1, 100.0)
    np.testing.assert_allclose(test.results()[0], oracle.loss, rtol=2e-6)


@pytest.mark.parametrize("reads", [1, 4])
def test_what_divides_is_each_batchs_own_also_of_the_last_smaller_one(reads):
    rng = np.random.default_rng(0)
    n, rows, batch = 3, 50, 16
    x, y = rng.normal(size=(rows, n)), rng.integers(0, n, rows)
    y[:batch] = 1  # all of a batch is ignored
    w = rng.uniform(0, 2, rows).astype(np.float32)
    w[batch : 2 * batch] = 0
    program = Program()
    prediction, target = program.input((n,)), program.input((), "int32", "y")
    given = program.input((), role="weight") if reads == 1 else target
    own = program.emit("mask_weights", [given], (1,), reads=int(reads), ignored=1, mean=2)
    program.loss("softmax_sparse_categorical_crossentropy", target, prediction, own)
    arrays = [x, y, w] if reads == 1 else [x, y]
    executor = _core.Executor(program, batch)
    executor.begin(arrays, batch)
    executor.test(9, 100.0)
    total = 0.0
    for start in range(0, rows, batch):
        oracle = Oracle(program)
        oracle.forward([a[start : start + batch] for a in arrays])
        total += oracle.loss * len(x[start : start + batch])
    np.testing.assert_allclose(executor.results()[0], total / rows, rtol=1e-5)


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(threads):
    rng = np.random.default_rng(1)
    program = Program()
    x = program.emit(
        "dense", [program.input((3, 6))], (3, 4), (weight(rng.normal(size=(6, 4))), None)
    )
    target, w = program.input((3,), "int32", "y"), program.input((3, 1), role="weight")
    own = program.emit("mask_weights", [w, target], (3, 1), reads=5, ignored=2, mean=2)
    program.loss("softmax_sparse_categorical_crossentropy", target, x, own)
    arrays = [
        rng.normal(size=(200, 3, 6)),
        rng.integers(0, 4, (200, 3)),
        rng.uniform(size=(200, 3)),
    ]
    start = program.variables[0].numpy()
    seen = []
    for n in (1, threads):
        program.variables[0].assign(start)
        logs = train(program, arrays, ("sgd", {}, {program.variables[0]: []}), batch=64, threads=n)
        seen.append((logs, program.variables[0].numpy().tobytes()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("other", [None, -1.0, 0.5, np.nan])
def test_labels_become_signs_if_all_of_the_batch_are_0_or_1(other, n, isa):
    rng = np.random.default_rng(n)
    y, p = rng.integers(0, 2, (40, n)).astype(np.float32), rng.normal(size=(40, n))
    if other is not None:
        y[33, n - 1] = other
    program = Program()
    prediction, target = program.input((n,)), program.input((n,), role="y")
    signs = program.emit("signs", [target], (n,))
    program.loss("hinge", signs, prediction)
    for threads in (1, 2):
        executor = _core.Executor(program, 40, isa=isa, threads=threads)
        executor.begin([p, y], 40)
        executor.test(1, 100.0)
        label = 2 * y - 1 if other is None else y
        expected = np.maximum(1 - label * np.float32(p), 0).mean()
        np.testing.assert_allclose(executor.results()[0], expected, rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [n for n in _core.LOSSES if reference.takes_classes(n)])
@pytest.mark.parametrize("target", [-1, 3, 2**31 - 1, -(2**31)])
def test_a_class_that_there_is_not_is_never_read(name, target, isa):
    def emit(program, scores):
        program.loss(name, program.input((), "int32", "y"), scores, **parameters)

    parameters = reference.loss_parameters(name)[0]
    program = scores_program(np.full((5, 3), 0.3), emit)
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(program, 5, training=True, optimizer=optimizer, isa=isa)
    executor.begin([np.eye(5), np.full(5, target)], 5)
    executor.train(1, 100.0, [1.0], 0, 0)
    np.testing.assert_array_equal(kept(optimizer)[program.variables[0]], np.zeros((5, 3)))
    assert np.isfinite(executor.results()[0])


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        (["weight"], {"reads": 0}),
        (["weight"], {"reads": 8}),
        (["weight"], {"reads": 3}),
        (["weight"], {"reads": 4}),
        (["classes"], {"reads": 1}),
        (["wide"], {"reads": 1}),
        (["sample"], {"reads": 2}),
        (["weight"], {"mean": 3}),
    ],
)
def test_what_does_not_fit_is_refused(inputs, attributes):
    program = Program()
    values = {
        "weight": lambda: program.input((3, 1), role="weight"),
        "sample": lambda: program.input((), role="weight"),
        "wide": lambda: program.input((3, 2), role="weight"),
        "classes": lambda: program.input((3,), "int32", "y"),
    }
    given = [values[name]() for name in inputs]
    attributes = {"reads": 1, "ignored": 0, "mean": 0, **attributes}
    program.output(program.emit("mask_weights", given, (3, 1), **attributes))
    with pytest.raises(ValueError, match=r"instruction 0 \(mask_weights\): .*expected"):
        _core.Executor(program, 4)
