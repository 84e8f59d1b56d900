"""Reductions of lines within maps: normalizations and softmax by hand in one pass."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import ISAS, dense, predict, pull_back, weight

from cdl import _core
from cdl._ir import emit
from cdl._ir.elementwise import apply, argument, arguments
from cdl._ir.program import Program

RNG = np.random.default_rng(0)
SHAPES = [(2,), (16,), (33,), (3, 5), (40, 5), (2, 3, 17), (5, 100), (2, 256), (3, 512)]


def reduced(program, kind, x):
    """A reduction of lines, broadcast to the lines again."""
    y = emit.reduce(program, kind, x, [-1], keepdims=True)
    return emit.broadcast(program, y, x.shape)


def row(program, values, shape):
    return emit.broadcast(program, values, shape)


def layer_norm(program, x, r):
    d = program.map("subtract", [x, reduced(program, "mean", x)])
    variance = emit.reduce(program, "mean", program.map("square", [d]), [-1], keepdims=True)
    root = program.map(apply("rsqrt", argument(0) + 0.1), [variance])
    a, b, c = arguments(3)
    return program.map(a * b * c + c, [d, emit.broadcast(program, root, x.shape), r])


def softmax(program, x, r):
    z = program.map("multiply", [x, r])
    e = program.map(apply("exp", argument(0) - argument(1)), [z, reduced(program, "max", z)])
    return program.map("divide", [e, reduced(program, "sum", e)])


def min_max(program, x, r):
    low, high = (reduced(program, kind, x) for kind in ("min", "max"))
    a, b, c, d = arguments(4)
    return program.map((a - b) / (c - b + 1.0) * d, [x, low, high, r])


def unit(program, x, r):
    squares = reduced(program, "sum", program.map("square", [x]))
    a, b, c = arguments(3)
    return program.map(a * apply("rsqrt", b) * c, [x, squares, r])


def projected(program, x, r):
    """x - (x . r) / (r . r) r."""
    a, b = arguments(2)
    along = reduced(program, "sum", program.map(a * b, [x, r]))
    size = reduced(program, "sum", program.map(b * b, [x, r]))
    a, b, c, d = arguments(4)
    return program.map(a - b / c * d, [x, along, size, r])


def sum_alone(program, x, r):
    """Lines of equal numbers: the expression is a column."""
    return program.map("negative", [reduced(program, "sum", program.map("multiply", [x, r]))])


def sum_of_differences(program, x, r):
    """x sum(x - max(x)) r: a column in a sum with elements, which is a column too."""
    a, b, c = arguments(3)
    differences = program.map("subtract", [x, reduced(program, "max", x)])
    return program.map(a * b * c, [x, reduced(program, "sum", differences), r])


def sum_of_squared_extremes(program, x, r):
    """x r sum(max(x)^2): a column that is the operand of a reduction."""
    a, b, c = arguments(3)
    squares = program.map("square", [reduced(program, "max", x)])
    return program.map(a * b * c, [x, reduced(program, "sum", squares), r])


def sum_of_constants(program, x, r):
    """x r - sum(x^0): the reduction of an expression that is a constant."""
    a, b, c = arguments(3)
    ones = program.map(apply("power", argument(0), 0.0), [x])
    return program.map(a * c - b, [x, reduced(program, "sum", ones), r])


FORMS = [layer_norm, softmax, min_max, unit, projected, sum_alone]
FORMS += [sum_of_differences, sum_of_squared_extremes, sum_of_constants]


def program_of(form, shape, rows=7):
    """A form of a value (7, *shape) and a row that learn, made by products with eye(7)."""
    program = Program()
    e = program.input((rows,))
    values = []
    for own in (shape, shape[-1:]):
        z = RNG.normal(0.5, size=(rows, int(np.prod(own)))).astype(np.float32)
        values.append(emit.reshape(program, dense(program, e, weight(z)), own))
    program.output(form(program, values[0], row(program, values[1], shape)))
    return program


def is_one_map(program):
    ops = [i.op for i in program.instructions]
    return ops.count("map") == 1 and "reduce" not in ops and "broadcast" not in ops


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_single_instructions(form, shape):
    program = program_of(form, shape)
    dy = RNG.normal(size=(7, *shape)).astype(np.float32)
    oracle = Oracle(program)
    y = oracle.forward([np.eye(7)])[0]
    expected = oracle.backward(dy)
    fused = program.fused()
    assert is_one_map(fused)
    for isa in ISAS:
        value, found = pull_back(fused, [np.eye(7)], dy, isa=isa)
        np.testing.assert_allclose(value, y, rtol=3e-6, atol=3e-6)
        for v, gradient in expected.items():
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=5e-6 * scale)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_central_differences(form):
    program = program_of(form, (3, 7))
    dy = RNG.normal(size=(7, 3, 7)).astype(np.float32)
    found = pull_back(program.fused(), [np.eye(7)], dy)[1]
    for v, gradient in difference_gradients(program, [np.eye(7)], dy=dy).items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=2e-5 * scale)


def by_rows(program, x, root):
    """x with a number a line along the other axis: of square lines a row as long as a column."""
    n = x.shape[-1]
    across = emit.broadcast(program, emit.reshape(program, root, (1, n)), x.shape)
    return program.map("multiply", [x, across])


def by_both(program, x, root):
    """Symmetric normalization of a square matrix, x[i, j] d[i] d[j]."""
    n = x.shape[-1]
    along = emit.broadcast(program, emit.reshape(program, root, (n, 1)), x.shape)
    return program.map("multiply", [by_rows(program, x, root), along])


def by_a_map_between(program, x, root):
    """x with a map of a row of numbers, one of each line."""
    n = x.shape[-1]
    row = program.map(argument(0) + 1.0, [emit.reshape(program, root, (1, n))])
    return program.map("multiply", [x, emit.broadcast(program, row, x.shape)])


@pytest.mark.parametrize("form", [by_rows, by_both, by_a_map_between])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 6), (33, 33)])
def test_sums_of_lines_that_are_read_as_a_row_are_no_column(form, shape):
    program = Program()
    z = RNG.uniform(0.5, 1.5, size=(5, int(np.prod(shape)))).astype(np.float32)
    x = emit.reshape(program, dense(program, program.input((5,)), weight(z)), shape)
    if len(shape) > 2:
        x = emit.reshape(program, x, (6, 6))
    sums = emit.reduce(program, "sum", x, [-1], keepdims=False)
    program.output(form(program, x, program.map(apply("rsqrt", argument(0)), [sums])))
    dy = RNG.normal(size=(5, *x.shape)).astype(np.float32)
    oracle = Oracle(program)
    y = oracle.forward([np.eye(5)])[0]
    (expected,) = oracle.backward(dy).values()
    value, found = pull_back(program.fused(), [np.eye(5)], dy)
    np.testing.assert_allclose(value, y, rtol=3e-6, atol=3e-6)
    (found,) = found.values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-6 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["max", "min"])
def test_equal_extremes_get_equal_shares_of_a_gradient(kind):
    program = Program()
    z = np.array([[1.0, 3.0, 3.0, 1.0, 2.0], [4.0, 4.0, 4.0, 4.0, 4.0]], np.float32)
    x = dense(program, program.input((2,)), weight(z))
    program.output(program.map("multiply", [x, reduced(program, kind, x)]))
    fused = program.fused()
    assert is_one_map(fused)
    (found,) = pull_back(fused, [np.eye(2)], 1.0)[1].values()
    extreme = getattr(z, kind)(-1, keepdims=True)
    equal = z == extreme
    expected = extreme + equal * z.sum(-1, keepdims=True) / equal.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.reshape(z.shape), expected, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(5,), (3, 33), (2, 256)])
def test_bits_depend_on_no_isa_number_of_threads_or_neighbour(form, shape):
    program = program_of(form, shape, 50)
    fused, e = program.fused(), np.eye(50, dtype=np.float32)
    dy = RNG.normal(size=(50, *shape)).astype(np.float32)
    y, gradients = pull_back(fused, [e], dy, threads=1)
    for isa in [isa for isa in ISAS if isa != "baseline"]:
        for threads in (1, 3):
            again, more = pull_back(fused, [e], dy, isa=isa, threads=threads)
            assert (again == y).all()
            assert all((more[v] == gradients[v]).all() for v in gradients)
    found = predict(program.fused(training=False), [e])
    for rows in (1, 2, 7, 31):
        part = predict(program.fused(training=False), [e[:rows]])
        assert (part == found[:rows]).all()


def test_what_others_read_as_well_stays_a_value():
    """The mean is an output, so it is computed by itself; the rest is one map."""
    program = Program()
    x = program.input((4, 20))
    mean = emit.reduce(program, "mean", x, [-1], keepdims=True)
    d = program.map("subtract", [x, emit.broadcast(program, mean, x.shape)])
    size = reduced(program, "sum", program.map("square", [d]))
    program.output(program.map("divide", [d, size]))
    program.output(mean)
    fused = program.fused(training=False)
    ops = [i.op for i in fused.instructions]
    assert ops.count("reduce") == 1 and ops.count("map") == 1
    array = RNG.normal(size=(3, 4, 20)).astype(np.float32)
    y, m = _core.Executor(fused, 3).predict([array])
    expected = array - array.mean(-1, keepdims=True)
    np.testing.assert_allclose(m, array.mean(-1, keepdims=True), rtol=1e-5, atol=1e-6)
    expected = expected / np.square(expected).sum(-1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("width", "fuses"), [(1024, True), (2500, False)])
def test_lines_beyond_a_piece_are_reduced_by_themselves(width, fuses):
    program = program_of(layer_norm, (2, width))
    fused = program.fused()
    assert is_one_map(fused) == fuses
    dy = RNG.normal(size=(7, 2, width)).astype(np.float32)
    oracle = Oracle(program)
    y = oracle.forward([np.eye(7)])[0]
    expected = oracle.backward(dy)
    value, found = pull_back(fused, [np.eye(7)], dy)
    np.testing.assert_allclose(value, y, rtol=1e-5, atol=1e-5)
    for v, gradient in expected.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=5e-6 * scale)


def test_a_normalization_of_a_normalization_is_written_and_read():
    program = program_of(lambda p, x, r: layer_norm(p, layer_norm(p, x, r), r), (3, 20))
    fused = program.fused()
    ops = [i.op for i in fused.instructions]
    assert ops.count("map") == 2 and "reduce" not in ops
    again = fused.fused()
    assert [i.op for i in again.instructions].count("map") == 2


def test_a_root_mean_square_normalization_of_another_reads_it_once():
    """Squares of the first are part of the second, though the first is short enough to be too."""
    program = program_of(lambda p, x, r: unit(p, unit(p, x, r), r), (3, 20))
    ops = [i.op for i in program.fused().instructions]
    assert ops.count("map") == 2 and "reduce" not in ops


def test_a_column_of_as_many_lines_as_the_width_is_no_row():
    """The column has shape (16,) before its reshape, as a row of lines of 16 would."""
    program = Program()
    x, other = program.input((16, 16)), program.input((16,))
    total = emit.reduce(program, "sum", x, [-1])
    total = program.map("add", [total, other])
    total = emit.broadcast(program, emit.reshape(program, total, (16, 1)), (16, 16))
    program.output(program.map("subtract", [x, total]))
    arrays = [RNG.normal(size=(3, *s)).astype(np.float32) for s in ((16, 16), (16,))]
    expected = arrays[0] - (arrays[0].sum(-1) + arrays[1])[..., None]
    found = predict(program.fused(training=False), arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_equal_instructions_are_one():
    """The mean, of a mean and of a variance, over an axis that is no line."""
    program = Program()
    x = program.input((6, 5))
    means = [emit.reduce(program, "mean", x, [0], keepdims=True) for _ in range(3)]
    spread = [emit.broadcast(program, v, (6, 5)) for v in means[:2]]
    d, e = (program.map("subtract", [x, v]) for v in spread)
    program.output(program.map("multiply", [program.map("exp", [d]), program.map("sin", [e])]))
    program.output(means[2])
    fused = program.fused(training=False)
    ops = sorted(i.op for i in fused.instructions)
    assert ops == ["map", "reduce", "reduce"]  # one of them is an output
    array = RNG.normal(size=(3, 6, 5)).astype(np.float32)
    mean = array.mean(1, keepdims=True)
    y, m = _core.Executor(fused, 3).predict([array])
    np.testing.assert_allclose(m, mean, rtol=1e-5, atol=1e-6)
    expected = np.exp(array - mean) * np.sin(array - mean)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_what_draws_is_no_common_part():
    program = Program()
    x = program.input((40,))
    noisy = [program.emit("dropout", [x], (40,), rate=0.5, seed=1, user_draw=0) for _ in range(2)]
    program.output(program.map("subtract", noisy))
    assert [i.op for i in program.fused().instructions].count("dropout") == 2


COLUMN, SPREAD = 16, len(_core.ELEMENTWISE)
SUM = SPREAD + 1


def step(primitive, to, *operands, mask=1):
    return primitive | to << 8 | sum(o << 16 + 8 * j for j, o in enumerate(operands)) | mask << 40


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((3,), [step(SUM, 64, 32)]),  # a column as the result
        ((3,), [step(SUM, 0, 32), step(0, 64, 0)]),  # a column in a register of elements
        ((3,), [step(SUM, COLUMN, 32), step(0, 64, COLUMN)]),  # a column read as elements
        ((3,), [step(SUM, COLUMN, 32), step(SUM, COLUMN, COLUMN), step(SPREAD, 64, COLUMN)]),
        ((3,), [step(0, COLUMN, 32), step(SPREAD, 64, COLUMN)]),  # elements in a column
        ((3,), [step(SPREAD, 64, 32)]),
        ((3,), [step(SUM, COLUMN, 96), step(SPREAD, 64, COLUMN)]),  # the sum of a constant
        ((3,), [step(SPREAD + 5, COLUMN, 32), step(SPREAD, 64, COLUMN)]),  # no such primitive
        ((1,), [step(SUM, COLUMN, 32), step(SPREAD, 64, COLUMN)]),  # lines of one number
        ((1100,), [*(step(0, r, 32) for r in range(8)), step(SUM, COLUMN, 0), step(0, 64, 7)]),
        ((3,), [step(SUM, COLUMN, 32), step(1, 64, COLUMN, 32)]),  # a column and elements to add
    ],
)
def test_wrong_byte_code_of_lines_is_refused(shape, steps):
    program = Program()
    x = program.input(shape)
    numbers = (len(steps), *steps)
    program.output(program.emit("map", [x], shape, numbers=numbers, data=(1.0,)))
    with pytest.raises(ValueError, match=r"map\)?: (steps|output): expected"):
        _core.Executor(program, 2)
