"""Concatenation, slices, gathers along axes, of elements and of rows by index."""

import numpy as np
import pytest
from ops_cases import ROWS, check, learning
from oracle import Oracle
from programs import dense, gradients, learner, predict, pull_back, random_weight, train

from cdl import _core
from cdl._ir import emit
from cdl._ir.lowering import Lowering
from cdl._tracing.variable import Variable

JOINS = [
    ([(3,), (1,), (17,)], 0),
    ([(1,), (1,)], 0),
    ([(16,), (16,)], 0),
    ([(2, 3), (2, 1), (2, 9)], 1),
    ([(2, 3), (4, 3)], 0),
    ([(2, 1), (4, 1)], 0),
    ([(2, 3, 4), (2, 5, 4)], 1),
    ([(2, 3, 4), (1, 3, 4)], 0),
    ([(2, 3, 1), (2, 3, 2), (2, 3, 1)], -1),
    ([(2, 1, 1), (2, 3, 1)], 1),
    ([(n,) for n in range(1, 13)], 0),  # more than one instruction takes
]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, *shape))


@pytest.mark.parametrize(("shapes", "axis"), JOINS, ids=str)
def test_values_side_by_side(shapes, axis):
    place = axis + 1 if axis >= 0 else axis
    check(
        [normal(*s) for s in shapes],
        lambda program, *values: emit.concat(program, values, axis),
        lambda *arrays: np.concatenate(arrays, place),
    )


KEYS = {
    (7,): [(slice(2, 5),), (slice(None, None, -1),), (slice(6, 0, -2),), (3,), (-1,), (None, 2)],
    (1,): [(0,), (None, Ellipsis)],
    (40,): [(slice(3, 39),), (slice(None, 17),), (slice(1, None, 3),)],
    (4, 5): [(slice(1, 3),), (Ellipsis, slice(2, 4)), (slice(None, None, -1), 2), (-1,), (..., -1)],
    (4, 1): [(slice(1, 3),), (slice(None, None, 2),), (..., 0)],
    (3, 4, 5): [
        (slice(0, 2), slice(1, 3), slice(2, 4)),
        (slice(None), -1),
        (1, slice(None, None, -2), ...),
        (..., None, slice(0, 1)),
    ],
    (3, 2, 1): [(slice(None), 1), (2, 0, 0)],
}


@pytest.mark.parametrize(("shape", "key"), [(s, k) for s in KEYS for k in KEYS[s]], ids=str)
def test_keys_give_what_numpy_gives(shape, key):
    x = normal(*shape)
    check([x], lambda program, v: emit.index(program, v, key), lambda a: a[(slice(None), *key)])


def test_keys_that_fit_no_axis_are_refused():
    program = Lowering()
    x = program.input((3, 4))
    with pytest.raises(IndexError, match=r"expected a place in \[-3, 3\) of axis 0, got 3"):
        emit.index(program, x, (3,))
    with pytest.raises(IndexError, match="expected at most 2 keys"):
        emit.index(program, x, (0, 0, 0))
    with pytest.raises(ValueError, match="expected a slice with elements of axis 1 of 4"):
        emit.index(program, x, (..., slice(2, 2)))


PLACES = [
    ((5,), 0, [0, 0, 0, 4, 4, 2, 3, -1, -1, 1]),
    ((5,), 0, [4, 0, 1, 2, 3]),
    ((1,), 0, [0] * 20),
    ((1,), 0, [-1, 0, -1]),
    ((3, 4), 0, [2, 0, 1, 1, -1]),
    ((3, 4), 1, [-1, 0, 1, 2, 3, -1, -1]),
    ((3, 1), 0, [2, 2, 0, -1]),
    ((3, 1), 1, [0, 0, 0]),
    ((2, 3, 5), 1, [2, 1, 0, 0]),
    ((2, 3, 5), 0, [-1, 1, 0, 1]),
    ((2, 3, 5), 2, [4, 2, 0, 3, 3, -1]),
    ((2, 3, 1), 1, [0, 2, 2]),
    ((2, 1, 1), 2, [0, 0]),
    ((300,), 0, [*range(299, -1, -1), *range(0, 300, 7)]),
]


@pytest.mark.parametrize(("shape", "axis", "places"), PLACES, ids=str)
def test_elements_at_places_along_an_axis(shape, axis, places):
    def expected(a):
        moved = np.moveaxis(a, axis + 1, -1)
        picked = np.where(np.array(places) < 0, 0.0, moved[..., places])
        return np.moveaxis(picked, -1, axis + 1)

    check([normal(*shape)], lambda p, v: emit.pick(p, v, axis, places), expected)


@pytest.mark.parametrize(
    "numbers",
    [
        (1, 5, 1),
        (1, 5, 1, 0, 4, 1),
        (1, 5, 1, 3, 3, 1),
        (1, 5, 1, 1, 3, -1),
        (1, 5, 1, 0.5, 3, 1),
        (1, 5, 1, 0, 0, 1),
        (1, 5, 2, 0, 3, 1),
        (5, 1, 1, 0, 3, 0),
        (1, 5, 1, 0, 3, 1, 0),
        (1, 5, 1, float("nan"), 3, 1),
        (1, 5, 1, 0, 2**62, 0, -1, 2**62, 0, -1, 2**62, 0, -1, 2**62, 0, 0, 3, 1),
        (1, 5, 1, 1, 2**50, 2**62),
    ],
)
def test_places_that_are_none_are_refused(numbers):
    program = Lowering()
    outer, n, inner, *runs = numbers
    x, sizes = program.input((5,)), {"outer": outer, "n": n, "inner": inner}
    program.output(program.emit("pick", [x], (3,), numbers=runs, **sizes))
    with pytest.raises(ValueError, match=r"pick\)?: .*expected|pick: expected"):
        _core.Executor(program, 1)


@pytest.mark.parametrize(
    ("shape", "to", "axis"),
    [
        ((5,), (3,), 0),
        ((5,), (1,), 0),
        ((1,), (4,), 0),
        ((4, 5), (2, 5), 0),
        ((4, 5), (4, 7), 1),
        ((4, 5), (4, 1), 1),
        ((4, 1), (2, 1), 0),
        ((2, 3, 4), (2, 5, 4), 1),
    ],
)
def test_elements_by_the_numbers_of_another_value(shape, to, axis):
    n = shape[axis]
    places = np.random.default_rng(1).integers(-n, n, (ROWS, *to))
    check(
        [normal(*shape), places],
        lambda program, v, at: emit.take_along(program, v, at, axis),
        lambda a, at: np.take_along_axis(a, at.astype(int), axis + 1),
        numbers=1,
    )


def test_a_number_that_is_no_place_is_an_error():
    program = Lowering()
    x, at = program.input((4,)), program.input((2,))
    program.output(emit.take_along(program, x, at, 0))
    x = normal(4)
    for wrong in (4, -5, np.nan, np.inf):
        places = np.zeros((ROWS, 2))
        places[3, 1] = wrong
        with pytest.raises(ValueError, match=r"take_along: expected numbers in \[0, 4\)"):
            predict(program, [x, places])


# ---------------------------------------------------------------------------------- rows of tables


def table(rng, rows, *row):
    values = rng.normal(size=(rows, *row)).astype(np.float32)
    return Variable(values.shape, lambda shape: values)


@pytest.mark.parametrize("row", [(1,), (3,), (8,), (16,), (17,), (100,), (2, 3), ()], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("kind", ["weight", "value", "int32"])
def test_rows_of_a_table_and_their_gradients(kind, shape, row):
    rng = np.random.default_rng(2)
    variable = table(rng, 11, *row)
    program = Lowering()
    places = program.input(shape, dtype="int32" if kind == "int32" else "float32")
    source = program.param(variable) if kind == "value" else variable
    program.output(emit.gather(program, places, source))
    at = rng.integers(0, 11, (ROWS, *shape))
    at.flat[:3] = 5  # read several times; most tables have rows that no one reads
    np.testing.assert_array_equal(predict(program, [at]), variable.numpy()[at])
    dy = rng.normal(size=(ROWS, *shape, *row)).astype(np.float32)
    expected = np.zeros(variable.shape)
    np.add.at(expected, at, dy)
    bits = None
    for threads in (1, 2, 3):
        found = pull_back(program.fused(), [at], dy, threads=threads)[1][variable]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert bits is None or (bits == found).all()
        bits = found


@pytest.mark.parametrize("row", ["sgd", "sgd_momentum", "adagrad", "adam", "rmsprop"])
def test_training_a_table_is_the_dense_formula(row):
    """Rows that were not read move as the optimizer moves weights without a gradient."""
    rng = np.random.default_rng(3)
    hypers = {
        "sgd": {},
        "sgd_momentum": {"momentum": 0.9},
        "adagrad": {"epsilon": 1e-7},
        "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
        "rmsprop": {"rho": 0.9, "epsilon": 1e-7},
    }[row]
    variable = table(rng, 50, 5)
    start = variable.numpy()
    program = Lowering()
    places = program.input((3,))
    value = emit.reshape(program, emit.gather(program, places, variable), (15,))
    kernel = random_weight(rng, 15, 2)
    y = dense(program, program.map("tanh", [value]), kernel)
    program.loss("mean_squared_error", program.input((2,), role="y"), y)
    arrays = [rng.integers(0, 50, (64, 3)), rng.normal(size=(64, 2)).astype(np.float32)]
    kept = kernel.numpy()
    bits = None
    for threads in (1, 2, 3):
        variable.assign(start)
        kernel.assign(kept)
        oracle = Oracle(program, (row, hypers))
        for step in range(8):
            oracle.step([a[step * 8 : step * 8 + 8] for a in arrays], 0.05)
        optimizer = learner(row, program.variables, **hypers)
        train(program.fused(), arrays, optimizer, batch=8, rate=0.05, threads=threads)
        for v in program.variables:
            np.testing.assert_allclose(v.numpy(), oracle.weights[v], rtol=1e-4, atol=1e-5)
        assert bits is None or (bits == variable.numpy()).all()
        bits = variable.numpy()


def test_a_table_that_is_read_twice_sums_both_gradients():
    rng = np.random.default_rng(4)
    variable = table(rng, 6, 4)
    program = Lowering()
    values = [emit.gather(program, program.input(()), variable) for _ in range(2)]
    program.output(program.map("multiply", values))
    arrays = [rng.integers(0, 6, ROWS) for _ in range(2)]
    oracle = Oracle(program)
    oracle.forward(arrays)
    expected = oracle.backward(np.ones((ROWS, 4)))[variable]
    for threads in (1, 3):
        found = pull_back(program.fused(), arrays, 1.0, threads=threads)[1][variable]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_number_of_no_row_names_the_layer():
    rng = np.random.default_rng(5)
    variable = table(rng, 6, 4)
    program = Lowering()
    value = emit.gather(program, program.input((2,)), variable, label="embedding_1")
    program.output(value)
    for wrong in (6, -1, 1e30, np.nan):
        at = np.zeros((ROWS, 2))
        at[2, 1] = wrong
        for threads in (1, 2):
            with pytest.raises(ValueError, match=r"embedding_1: expected numbers in \[0, 6\)"):
                predict(program, [at], threads=threads)
    program = Lowering()
    program.output(emit.gather(program, program.input((2,)), variable, wraps=True))
    at = rng.integers(-6, 6, (ROWS, 2))
    np.testing.assert_array_equal(predict(program, [at]), variable.numpy()[at])


def two_tables():
    """A program that reads rows of two tables, of 6 and of 8 rows."""
    rng = np.random.default_rng(6)
    program = Lowering()
    for label, rows in (("first", 6), ("second", 8)):
        at = program.input((3,))
        program.output(emit.gather(program, at, table(rng, rows, 4), label=label))
    program.loss("mean_squared_error", program.input((3, 4), role="y"), program.outputs[0])
    return program.fused()


def told(call):
    with pytest.raises(ValueError, match="expected numbers in") as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("rows", [16, 64])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_any_number_of_threads_tells_the_first_row_with_a_wrong_number(threads, rows):
    executor = _core.Executor(two_tables(), rows, threads=threads)
    first, second = np.zeros((640, 3)), np.zeros((640, 3))
    y = np.zeros((640, 3, 4))
    first[[333, 480, 639], 2] = 9
    second[[299, 320], 1] = 16777216
    expected = "second: expected numbers in [0, 8), got 16777216 in row 299"
    assert told(lambda: executor.predict([first, second, y])) == expected
    first[299, 1:] = 7, 8
    expected = "first: expected numbers in [0, 6), got 7 in row 299"
    assert told(lambda: executor.predict([first, second, y])) == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_a_wrong_number_in_training_is_told_by_its_row_in_the_array(threads):
    program = two_tables()
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(program, 64, training=True, optimizer=optimizer, threads=threads)
    first, second = np.zeros((640, 3)), np.zeros((640, 3))
    first[[100, 101, 150], 2] = 9, 10, 11
    second[130, 0] = -1
    arrays = [first, second, np.zeros((640, 3, 4))]
    calls = [
        lambda: executor.train(99, 100.0, [0.1], 0, 0),
        lambda: executor.test(99, 100.0),
        lambda: [(executor.forward(True), executor.skip()) for _ in range(9)],
    ]
    for call in calls:
        for order, text in (
            (None, "got 9 in row 100"),
            (np.arange(640)[::-1], "got 11 in row 150"),
        ):
            executor.begin(arrays, 64, order)
            assert told(call) == f"first: expected numbers in [0, 6), {text}"
    executor.begin(arrays, 64)
    for order in (np.arange(640), np.arange(640)[::-1]):
        expected = "first: expected numbers in [0, 6), got " + ("9" if order[0] == 0 else "11")
        assert told(lambda o=order: executor.train_epochs([o], 0.1, 0, 0, [])).startswith(expected)


def test_a_wrong_number_that_all_samples_share_has_no_row():
    program = Lowering()
    at = program.constant([0, 6])
    program.output(emit.gather(program, at, table(np.random.default_rng(0), 6, 4), label="t"))
    x = program.input((2,))
    program.output(program.map("negative", [x]))
    executor = _core.Executor(program, 16)
    found = told(lambda: executor.predict([np.zeros((20, 2))]))
    assert found == "t: expected numbers in [0, 6), got 6"


def test_rows_whose_numbers_float32_does_not_hold_are_refused_by_name():
    program = Lowering()
    big = program.value((2**24 + 1, 1), shared=True)
    with pytest.raises(ValueError, match=r"e: the rows of the table must be at most 2\*\*24"):
        emit.gather(program, program.input(()), big, label="e")
    with pytest.raises(ValueError, match=r"take_along_axis: axis 0 must be at most 2\*\*24"):
        emit.take_along(program, program.value((2**24 + 1,)), program.value((1,)), 0)


def test_a_wrong_number_leaves_the_weights_alone():
    rng = np.random.default_rng(6)
    variable = table(rng, 6, 4)
    program = Lowering()
    y = emit.gather(program, program.input(()), variable)
    program.loss("mean_squared_error", program.input((4,), role="y"), y)
    before = variable.numpy()
    at = np.array([0, 1, 2, 6, 4, 5])
    for threads in (1, 3):
        with pytest.raises(ValueError, match="expected numbers in"):
            gradients(program, [at, np.ones((6, 4))], threads=threads)
        assert (variable.numpy() == before).all()


# -------------------------------------------------------------------------------------------- stop


def test_no_gradient_goes_through_stop():
    x = normal(4)
    program = Lowering()
    (v,) = learning(program, [x])
    program.output(program.map("multiply", [v, emit.stop(program, v)]))
    gradient = pull_back(program.fused(), [np.eye(ROWS)], 1.0)[1][program.variables[0]]
    np.testing.assert_allclose(gradient, x, rtol=1e-6)  # and not 2 x
    assert "stop" not in str(program.fused(training=False))
