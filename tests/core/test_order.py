"""Indices of the largest, cumulative sums, sorts, random numbers."""

import numpy as np
import pytest
from ops_cases import ROWS, check
from oracle_ops import REDUCE
from programs import ISAS, learner, predict, pull_back, random_weight, scores_program

from cdl import _core
from cdl._ir import emit as ir_emit
from cdl._ir.program import Program

SHAPES = [(1,), (5,), (17,), (3, 1), (1, 3), (4, 5), (3, 33), (2, 3, 5), (4, 1, 1)]
SHAPES += [(2, 3, 2, 4), (70,), (300,)]


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, *shape)).round(1)  # some are equal


def axes_of(shape):
    return [None, *range(len(shape))]


@pytest.mark.parametrize("smallest", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_places_of_the_largest(shape, smallest):
    f = np.argmin if smallest else np.argmax
    for axis in axes_of(shape):
        for keepdims in (False, True):

            def expected(a, axis=axis, keepdims=keepdims):
                if axis is not None:
                    return f(a, axis + 1, keepdims=keepdims)
                flat = f(a.reshape(len(a), -1), 1)
                return flat.reshape(-1, *(1,) * (a.ndim - 1)) if keepdims else flat

            check(
                [data(*shape)],
                lambda p, v, a=axis, k=keepdims: ir_emit.arg(p, v, a, k, smallest),
                expected,
                gradients=False,
            )


@pytest.mark.parametrize("axis", [0, 1, None])
def test_a_nan_is_the_largest_and_the_smallest(axis):
    x = data(4, 20)
    x[0, 2, 7], x[1, 1, 3], x[1, 3, 3] = np.nan, np.nan, np.nan
    for smallest in (False, True):
        program = Program()
        program.output(ir_emit.arg(program, program.input((4, 20)), axis, smallest=smallest))
        f = np.argmin if smallest else np.argmax
        expected = f(x, axis + 1) if axis is not None else f(x.reshape(ROWS, -1), 1)
        np.testing.assert_array_equal(predict(program, [x]), expected)


@pytest.mark.parametrize("product", [False, True])
@pytest.mark.parametrize("shape", SHAPES[:10], ids=str)
def test_running_sums_and_products(shape, product):
    f = np.cumprod if product else np.cumsum
    for axis in range(len(shape)):
        check(
            [data(*shape)],
            lambda program, v, axis=axis: ir_emit.cumulate(program, v, axis, product),
            lambda a, axis=axis: f(a, axis + 1),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) < 4], ids=str)
def test_sorted_lines_and_their_gradients(shape):
    x = np.random.default_rng(1).normal(size=(ROWS, *shape))  # no equals: gradients are differences
    check([x], lambda program, v: ir_emit.sort(program, v)[0], lambda a: np.sort(a, -1))
    check([x], lambda program, v: ir_emit.sort(program, v)[1], lambda a: np.argsort(a, -1))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 100, 1000])
def test_equal_numbers_keep_their_order_and_nan_come_last(n):
    rng = np.random.default_rng(n)
    x = rng.choice(np.array([0.0, -0.0, 1, -1, 2, np.inf, -np.inf, np.nan], np.float32), (9, n))
    program = Program()
    values, places = ir_emit.sort(program, program.input((n,)))
    program.output(values)
    program.output(places)
    found = _core.Executor(program, 9).predict([x])
    order = np.argsort(x, -1, kind="stable")
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_array_equal(found[0], np.take_along_axis(x, order, -1))


def test_both_outputs_of_a_sort_may_be_read():
    """Values weighed by the places where they were: only the values have a gradient."""
    z = np.random.default_rng(2).normal(size=(5, 7)).astype(np.float32)

    def emit(program, scores):
        program.output(program.map("multiply", ir_emit.sort(program, scores)))

    program = scores_program(z, emit)
    for form in (program, program.fused()):
        gradient = pull_back(form, [np.eye(5)], 1.0)[1][program.variables[0]]
        np.testing.assert_array_equal(gradient, np.broadcast_to(np.arange(7), (5, 7)))


# ------------------------------------------------------------------------------------------ draws


def drawn(kind, shape, n, *, seed=0, **options):
    program = Program()
    x = program.input(())
    program.output(ir_emit.draw(program, kind, shape, seed))
    program.output(x)
    return predict(program, [np.zeros(n)], **options)[0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("kind", "mean", "deviation", "low", "high"),
    [
        ("uniform", 0.5, 12**-0.5, 0.0, 1.0),
        ("normal", 0.0, 1.0, -6.0, 6.0),
        ("truncated_normal", 0.0, 0.87962566, -2.0, 2.0),
    ],
)
def test_draws_have_their_distribution(kind, mean, deviation, low, high, isa):
    x = drawn(kind, (50,), 4000, isa=isa)
    assert x.mean() == pytest.approx(mean, abs=5 * deviation / len(x.flat) ** 0.5)
    assert x.std() == pytest.approx(deviation, rel=0.01)
    assert (x >= low).all() and (x <= high).all()
    assert len(np.unique(x)) > 0.98 * min(x.size, 2**24)  # 200,000 of 2^24
    rows = np.corrcoef(x[:200])
    np.fill_diagonal(rows, 0)
    assert np.abs(rows).max() < 0.75


def test_draws_depend_on_the_row_and_the_seed_alone():
    x = drawn("normal", (3,), 100, rows=100, threads=1)
    for options in ({"rows": 7, "threads": 1}, {"rows": 33, "threads": 2}, {"threads": 3}):
        np.testing.assert_array_equal(drawn("normal", (3,), 100, **options), x)
    assert not (drawn("normal", (3,), 100, seed=1) == x).any()


def test_each_step_draws_others():
    program = Program()
    x = program.input((4,))
    kernel = random_weight(np.random.default_rng(0), 4, 2)
    y = program.emit("dense", [x], (2,), (kernel, None))
    noise = ir_emit.draw(program, "normal", (2,))
    y = program.map("multiply", [y, noise])
    program.output(noise)
    program.loss("mean_squared_error", program.input((2,), role="y"), y)
    optimizer = learner("sgd", program.variables)
    bits = None
    for threads in (1, 2, 3):
        executor = _core.Executor(program, 40, training=True, optimizer=optimizer, threads=threads)
        executor.begin([np.ones((80, 4)), np.ones((80, 2))], 40)
        seen = []
        for step in range(2):
            executor.forward(True, step, 1)
            seen.append(executor.output(0, 40))
        assert not (seen[0] == seen[1]).any()
        assert bits is None or (bits == seen[0]).all()
        bits = seen[0]


def test_a_shape_that_does_not_fit_is_refused():
    for op, shape, attributes in (
        ("arg", (3,), {"smallest": 0}),
        ("cumulate", (3,), {"product": 0}),
        ("reduce", (3,), {"kind": "sum"}),
    ):
        program = Program()
        x = program.input((4,))
        program.output(program.emit(op, [x], shape, outer=1, n=4, inner=1, **attributes))
        with pytest.raises(ValueError, match=rf"instruction 0 \({op}\): .*expected"):
            _core.Executor(program, 1)
    assert set(REDUCE) == {"sum", "mean", "max", "min", "prod"}


def test_draws_that_all_samples_share_are_one_and_fixed_ones_stay():
    for form in ({"shared": True}, {"fixed": True}):
        program = Program()
        x = program.input((3,))
        noise = program.broadcast_batch(ir_emit.draw(program, "uniform", (3,), 5, **form))
        program.output(program.map("add", [x, noise]))
        executor = _core.Executor(program, 20)
        a, b = (executor.predict([np.zeros((40, 3))], 1, call) for call in (0, 1))
        rows = len(np.unique(a, axis=0))
        assert rows == (1 if "shared" in form else 40)
        assert (a == b).all() == ("fixed" in form)
        other = executor.predict([np.zeros((40, 3))], 2, 0)
        assert (a == other).all() == ("fixed" in form)


def test_long_predictions_draw_no_row_twice():
    x = drawn("normal", (2,), 5000, rows=16)
    assert len(np.unique(x, axis=0)) == 5000  # of 10,000 floats by themselves some may be equal
