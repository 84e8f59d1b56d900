"""Rows of which only some elements are stored, on every instruction set."""

import numpy as np
import pytest
from programs import mlp

from cdl import _core
from cdl._core import Sparse, available_isas
from cdl._ir.program import Program

ROWS, COLUMNS = 21, 67  # 67: no ISA's multiple
DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "longdouble"]


def dense_and_sparse(dtype=np.float32, columns=np.int32):
    rng = np.random.default_rng(0)
    dense = (rng.standard_normal((ROWS, COLUMNS)) * 50).astype(dtype)
    dense[rng.random(dense.shape) < 0.8] = 0
    dense[3] = 0
    where = [np.flatnonzero(row) for row in dense]
    starts = np.cumsum([0, *map(len, where)])
    values = np.concatenate([row[at] for row, at in zip(dense, where, strict=True)])
    return dense, Sparse(starts, np.concatenate(where).astype(columns), values, dense.shape)


def read(array, isa=None, order=None, shape=(COLUMNS,), threads=1):
    """The batch that the core gathers from an array."""
    program = Program()
    program.output(program.emit("softmax", [program.input(shape)], shape))
    executor = _core.Executor(program, len(array), isa=isa, threads=threads)
    executor.begin([array], len(array), order)
    executor.forward(False)
    return executor.batch(0)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_that_are_not_stored_are_zero(isa, dtype):
    dense, rows = dense_and_sparse(dtype)
    np.testing.assert_array_equal(read(rows, isa), dense.astype(np.float32))


@pytest.mark.parametrize("columns", [np.int32, np.int64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_come_in_any_order(columns, threads):
    dense, rows = dense_and_sparse(columns=columns)
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(read(rows, order=order, threads=threads), dense[order])


def test_a_sample_may_be_cut_into_lines():
    dense, rows = dense_and_sparse()
    wide = Sparse(rows.starts, rows.columns, rows.values, (ROWS, 68))
    expected = np.zeros((ROWS, 68), np.float32)
    expected[:, :67] = dense
    found = read(wide, shape=(17, 4))
    np.testing.assert_array_equal(found, expected.reshape(ROWS, 17, 4))


def test_parts_of_rows_are_of_the_same_memory():
    dense, rows = dense_and_sparse()
    part = rows[5:12][2:]
    assert np.shares_memory(part.values, rows.values)
    assert (len(part), part.shape, part.size, part.ndim) == (5, (5, COLUMNS), 5 * COLUMNS, 2)
    np.testing.assert_array_equal(read(part), dense[7:12])
    assert len(rows[30:]) == len(rows[5:2]) == 0


def test_elements_in_one_place_add_up_in_any_order():
    rows = Sparse(
        np.array([0, 4]), np.array([5, 1, 5, 0], np.int32), np.arange(1.0, 5.0), (1, COLUMNS)
    )
    expected = np.zeros((1, COLUMNS))
    expected[0, [0, 1, 5]] = 4, 2, 1 + 3
    np.testing.assert_array_equal(read(rows), expected)


@pytest.mark.parametrize("isa", available_isas())
def test_training_and_predicting_give_the_bits_of_dense_rows(isa):
    dense, rows = dense_and_sparse()
    target = np.random.default_rng(2).standard_normal((ROWS, 3)).astype(np.float32)
    found = []
    for x in (dense, rows):
        program, y = mlp(np.random.default_rng(3), [COLUMNS, 16, 3])
        program.loss("mean_squared_error", program.input((3,), role="y"), y)
        executor = _core.Executor(
            program.fused(),
            8,
            training=True,
            optimizer=("sgd", {}, {v: [] for v in program.variables}),
            isa=isa,
        )
        executor.begin([x, target], 8)
        executor.train(3, 1.0, [0.01], 0, 0)
        weights = [v.numpy() for v in program.variables]
        predictor, _ = mlp(np.random.default_rng(3), [COLUMNS, 16, 3])
        # 40 times, so that the predictions come in several pieces
        found.append((weights, _core.Executor(predictor.fused(), 1, isa=isa).predict([x])))
    for one, other in zip(*(weights for weights, _ in found), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[0][1], found[1][1])


# --- what does not fit ---


def test_indices_that_change_later_lead_nowhere():
    dense, rows = dense_and_sparse()
    rows.columns[0] = 10**9
    rows.columns[1] = -1
    rows.starts[5] = -3
    rows.starts[7] = 10**15
    found = read(rows)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[10:], dense[10:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.zeros(ROWS, np.int64)}, "starts: expected int64"),
        ({"starts": np.zeros(ROWS + 1, np.int32)}, "starts: expected int64"),
        ({"columns": np.zeros(5, np.uint8)}, "columns: expected int32 or int64"),
        ({"columns": np.zeros(5, np.int32)}, "values: expected one for each column"),
        ({"values": np.zeros(3, ">f8"), "columns": np.zeros(3, np.int32)}, "byte order"),
        ({"shape": (ROWS,)}, "starts: expected"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    _, rows = dense_and_sparse()
    parts = {name: getattr(rows, name) for name in ("starts", "columns", "values", "shape")}
    with pytest.raises(ValueError, match=message):
        Sparse(**{**parts, **change})


def test_other_numbers_of_columns_and_steps_are_refused():
    _, rows = dense_and_sparse()
    with pytest.raises(ValueError, match="expected 66 elements a row, got 67"):
        read(rows, shape=(66,))
    with pytest.raises(IndexError, match="step 1"):
        rows[::2]


def test_class_numbers_are_not_sparse():
    program, y = mlp(np.random.default_rng(0), [3, 4])
    program.loss("sparse_categorical_crossentropy", program.input((), "int32", role="y"), y)
    executor = _core.Executor(program, 2)
    labels = Sparse(np.array([0, 1, 2]), np.zeros(2, np.int32), np.ones(2), (2, 1))
    with pytest.raises(ValueError, match="class numbers"):
        executor.begin([np.zeros((2, 3)), labels], 2)
