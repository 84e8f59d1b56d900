"""Softmax, its losses and accuracy of rows that are done many at a time."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, predict

from cdl import _core
from cdl._ir.program import Program

FEW = (2, 3, 10, 15, 16)
ROWS = (1, 3, 4, 5, 7, 8, 15, 16, 17, 20, 33, 36, 52)  # whole registers, and what is left over
SPARSE = "softmax_sparse_categorical_crossentropy"
LOSSES = (("softmax_categorical_crossentropy", {"label_smoothing": 0.1}), (SPARSE, {}))


def softmax(x, isa):
    program = Program()
    program.output(program.emit("softmax", [program.input(x.shape[1:])], x.shape[1:]))
    return predict(program, [x], isa=isa)


def sums(name, parameters, x, y, isa, batch):
    """The sums of loss and accuracy over batches of raw scores; batches of 1 go line by line."""
    program = Program()
    scores = program.input(x.shape[1:])
    sparse = "sparse" in name
    target = program.input(y.shape[1:], "int32" if sparse else "float32", "y")
    program.loss(name, target, scores, **parameters)
    program.metric(f"{'sparse_' * sparse}categorical_accuracy", target, scores)
    executor = _core.Executor(program, batch, isa=isa)
    executor.begin([x, y], batch)
    executor.test(len(x), 100.0)
    return np.array(executor.results()) * len(x)


def data(rows, n, sparse):
    rng = np.random.default_rng(100 * rows + n)
    x = (rng.normal(size=(rows, n)) * 3).astype(np.float32)
    classes = rng.integers(0, n, rows).astype(np.int32)
    return x, classes if sparse else np.eye(n, dtype=np.float32)[classes]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [*FEW, 17])
def test_a_row_has_the_same_bits_alone_and_among_others(n, isa):
    x = (np.random.default_rng(n).normal(size=(52, n)) * 4).astype(np.float32)
    alone = np.concatenate([softmax(row[None], isa) for row in x])
    for rows in ROWS:
        np.testing.assert_array_equal(softmax(x[:rows], isa), alone[:rows])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("name", "parameters"), LOSSES)
def test_loss_and_accuracy_are_those_of_the_rows_one_by_one(name, parameters, rows, isa):
    for n in FEW:
        x, y = data(rows, n, "sparse" in name)
        together = sums(name, parameters, x, y, isa, rows)
        np.testing.assert_allclose(together, sums(name, parameters, x, y, isa, 1), rtol=1e-6)
        expected = reference.LOSSES[name][0](y, x.astype(np.float64), **parameters).sum()
        np.testing.assert_allclose(together[0], expected, rtol=reference.LOSS_RTOL)
        hits = x.argmax(1) == (y if y.ndim == 1 else y.argmax(1))
        assert together[1] == pytest.approx(hits.sum())


@pytest.mark.parametrize("isa", ISAS)
def test_rows_beside_a_nan_an_infinity_and_no_class_keep_their_loss(isa):
    x, y = data(20, 10, sparse=True)
    clean = sums(SPARSE, {}, x, y, isa, 20)[0]
    for at, no_class in ((2, -1), (17, 10), (5, 2**31 - 1), (0, -(2**31))):
        lost = sums(SPARSE, {}, x[at : at + 1], y[at : at + 1], isa, 1)[0]
        odd = y.copy()
        odd[at] = no_class
        found = sums(SPARSE, {}, x, odd, isa, 20)[0]
        assert found == pytest.approx(clean - lost, rel=1e-6)
    bad = x.copy()
    bad[3, 4], bad[18, 0] = np.nan, np.inf
    found = softmax(bad, isa)
    assert np.isnan(found[[3, 18]]).all()
    others = np.delete(np.arange(20), [3, 18])
    np.testing.assert_array_equal(found[others], softmax(x, isa)[others])
