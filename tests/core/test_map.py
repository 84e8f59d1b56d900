"""Expressions as instructions: fused chains, pads, threads, wrong byte code."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import ISAS, dense, gradients, predict, pull_back, random_weight, weight

from cdl import _core
from cdl._ir.elementwise import apply, argument, arguments
from cdl._ir.fusion import Rewriter
from cdl._ir.program import Program

RNG = np.random.default_rng(0)
SHAPES = [(), (1,), (5,), (16,), (3, 1), (2, 17), (2, 3, 5), (2, 1, 2, 33), (700,), (3, 600)]


def forked(program):
    """The program as it stands, but that values with several readers have a fork."""
    rewriter = Rewriter(program)
    rewriter.fork_values()
    return rewriter.result()


def chain(program, x, y):
    """Six operations in four instructions: exp(-(x - y)^2) * 3 + y / 2, at most x."""
    d = program.map("subtract", [x, y])
    d = program.map("square", [d])
    a, b = arguments(2)
    e = program.map(apply("exp", -a) * 3.0 + b * 0.5, [d, y])
    return program.map("minimum", [e, x])


def reference_chain(x, y):
    return np.minimum(np.exp(-((x - y) ** 2)) * 3 + y / 2, x)


def chain_program(shape):
    """Two values that learn, (7, *shape), made by products with eye(7), and the chain of both."""
    program = Program()
    size = int(np.prod(shape))
    start = RNG.normal([[[1.0]], [[0.0]]], size=(2, 7, size)).astype(np.float32)
    e = program.input((7,))
    values = [dense(program, e, weight(z)) for z in start]
    values = [program.emit("reshape", [v], shape) for v in values]
    program.output(chain(program, *values))
    return program, start.reshape(2, 7, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_of_a_chain_as_it_stands_and_fused(shape):
    program, (x, y) = chain_program(shape)
    dy = RNG.normal(size=(7, *shape)).astype(np.float32)
    oracle = Oracle(program)
    oracle.forward([np.eye(7)])
    expected = oracle.backward(dy)
    assert sum(i.op == "map" for i in program.fused().instructions) == 1
    for form in (forked(program), program.fused()):
        for isa in ISAS:
            value, gradients = pull_back(form, [np.eye(7)], dy, isa=isa)
            np.testing.assert_allclose(value, reference_chain(x, y), rtol=2e-6, atol=1e-6)
            for v, gradient in expected.items():
                np.testing.assert_allclose(gradients[v], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 17), (3, 600)])
def test_any_number_of_threads_gives_the_same_bits(shape):
    rows = 50
    arrays = [RNG.normal(size=(rows, *shape)).astype(np.float32) for _ in range(2)]
    program = Program()
    k = random_weight(RNG, shape[-1] if shape else 1, 3)
    x, y = (program.input(shape) for _ in range(2))
    value = chain(program, x, y)
    if not shape:
        value = program.emit("reshape", [value], (1,))
    h = dense(program, value, k)
    program.output(chain(program, h, h))
    one = predict(program, arrays, threads=1)
    gradients = pull_back(program.fused(), arrays, 1.0, threads=1)[1]
    for threads in (2, 3):
        assert (predict(program, arrays, threads=threads) == one).all()
        more = pull_back(program.fused(), arrays, 1.0, threads=threads)[1]
        assert all((more[v] == gradients[v]).all() for v in gradients)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 15, 33, 601])
def test_what_formulas_make_of_pads_is_not_seen(n, isa):
    """1 / x, log x and the gradients of both are infinite in pads, which products read."""
    program = Program()
    first, last = random_weight(RNG, 4, n), random_weight(RNG, n, 2)
    z = dense(program, program.input((4,)), first)
    z = program.map(apply("abs", argument(0)) + 0.5, [z])
    z = program.map(apply("log", argument(0)) + 1.0 / argument(0), [z])
    program.output(dense(program, z, last))
    x = RNG.normal(size=(6, 4)).astype(np.float32)
    dy = RNG.normal(size=(6, 2)).astype(np.float32)
    expected = Oracle(program)
    values = expected.forward([x])[0]
    gradients = expected.backward(dy)
    value, found = pull_back(program, [x], dy, isa=isa)
    np.testing.assert_allclose(value, values, rtol=1e-5, atol=1e-5)
    for v, gradient in gradients.items():
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=1e-5)


def test_only_the_gradients_that_are_wanted_are_computed():
    """The gradient by y, which no variable needs, would be NaN."""
    program = Program()
    x = dense(program, program.input((3,)), random_weight(RNG, 3, 4))
    program.output(program.map("power", [program.map("abs", [x]), program.input((4,))]))
    arrays = [RNG.normal(size=(5, 3)), np.full((5, 4), 2.0)]
    expected = difference_gradients(program, arrays, dy=1.0)
    for form in (program, program.fused()):
        for v, gradient in pull_back(form, arrays, 1.0)[1].items():
            np.testing.assert_allclose(gradient, expected[v], rtol=1e-5, atol=1e-5)


def test_an_input_that_stands_twice_gets_both_gradients():
    program = Program()
    x = dense(program, program.input((3,)), random_weight(RNG, 3, 4))
    a, b = arguments(2)
    y = program.map(a * b + apply("sin", a), [x, x])
    assert [i.inputs for i in program.instructions if i.op == "map"] == [(x,)]
    program.output(y)
    array = RNG.normal(size=(5, 3))
    for v, gradient in difference_gradients(program, [array], dy=1.0).items():
        np.testing.assert_allclose(pull_back(program, [array], 1.0)[1][v], gradient, 1e-4, 1e-5)


@pytest.mark.parametrize("reader", ["output", "metric", "another map"])
def test_a_value_that_others_read_is_not_merged_away(reader):
    program = Program()
    x = program.input((4,))
    y = program.map("exp", [x])
    z = program.map("sin", [y])
    if reader == "metric":
        program.metric("mean_squared_error", x, y)
    program.output(z)
    if reader != "metric":
        program.output(y if reader == "output" else program.map("cos", [y]))
    fused = program.fused(training=False)
    assert y in [v for i in fused.instructions for v in i.outputs]
    array = RNG.normal(size=(3, 4)).astype(np.float32)
    found, expected = (_core.Executor(p, 3).predict([array]) for p in (fused, program))
    for a, b in zip(found, expected, strict=True) if reader != "metric" else [(found, expected)]:
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_value_that_only_one_merged_map_reads_is_merged_too():
    """Both readers of the value are merged, so that nobody else reads it."""
    program = Program()
    x = dense(program, program.input((3,)), random_weight(RNG, 3, 4))
    y = program.map("exp", [x])
    z = program.map("add", [program.map("sin", [y]), program.map("cos", [y])])
    program.output(program.map("multiply", [z, y]))
    assert [i.op for i in program.fused().instructions] == ["dense", "map"]
    array = RNG.normal(size=(5, 3))
    for v, gradient in difference_gradients(program, [array], dy=1.0).items():
        found = pull_back(program.fused(), [array], 1.0)[1][v]
        np.testing.assert_allclose(found, gradient, 1e-4, 1e-4)


def test_more_than_a_map_can_hold_is_several():
    program = Program()
    inputs = [program.input((3,)) for _ in range(20)]
    total = inputs[0]
    for v in inputs[1:]:
        total = program.map("add", [total, v])
    program.output(total)
    arrays = [RNG.normal(size=(4, 3)).astype(np.float32) for _ in inputs]
    fused = program.fused(training=False)
    assert all(len(i.inputs) <= 8 for i in fused.instructions)
    assert len(fused.instructions) < len(program.instructions)
    np.testing.assert_allclose(predict(fused, arrays), sum(arrays), rtol=1e-5, atol=1e-5)


def wide_sum(program, x):
    """sum exp(c x) over 16 constants c, as a tree: what one map can hold, and no more."""
    terms = [apply("exp", argument(0) * c) for c in WIDE]
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return program.map(terms[0], [x])


WIDE = np.linspace(0.11, 0.9, 16)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [*SHAPES, (191,), (193,), (2, 321), (513,)])
def test_an_expression_of_many_constants_is_exact_at_every_size(shape, isa):
    x = RNG.normal(size=(100, *shape)).astype(np.float32)
    program = Program()
    program.output(wide_sum(program, program.input(shape)))
    (one,) = program.fused(training=False).instructions
    assert one.op == "map" and len(one.data) == 16
    expected = np.exp(np.multiply.outer(x.astype(np.float64), WIDE)).sum(-1)
    for threads in (1, 3):
        found = predict(program, [x], isa=isa, threads=threads)
        np.testing.assert_allclose(found, expected, rtol=3e-6)


@pytest.mark.measures
def test_a_thread_with_little_stack_runs_the_largest_expression(run_python, root):
    run_python(f"""if True:
        import sys, threading
        sys.path.insert(0, {str(root / "tests" / "core")!r})
        sys.path[:0] = [{str(root / "tests")!r}, {str(root / "tests" / "helpers")!r}]
        import numpy as np
        from test_map import Program, wide_sum, _core
        program = Program()
        program.output(wide_sum(program, program.input((40,))))
        executor = _core.Executor(program, 64)
        x, found = np.ones((64, 40), np.float32), []
        found.append(executor.predict([x]))
        threading.stack_size(64 * 1024)
        thread = threading.Thread(target=lambda: found.append(executor.predict([x])))
        thread.start()
        thread.join()
        assert (found[0] == found[1]).all()
    """)


def test_an_expression_that_is_too_long_is_cut():
    program = Program()
    x = program.input((3,))
    y = argument(0)
    for k in range(200):
        y = apply("sin", y * (1.0 + k / 1000))
    program.output(program.map(y, [x]))
    array = RNG.normal(size=(2, 3)).astype(np.float32)
    expected = array.astype(np.float64)
    for k in range(200):
        expected = np.sin(expected * np.float32(1.0 + k / 1000))
    np.testing.assert_allclose(predict(program, [array]), expected, rtol=1e-4)
    np.testing.assert_allclose(predict(program.fused(), [array]), expected, rtol=1e-4)


def test_values_of_different_shapes_are_refused():
    program = Program()
    with pytest.raises(ValueError, match=r"map: expected values of one shape, got"):
        program.map("add", [program.input((3,)), program.input((4,))])
    with pytest.raises(ValueError, match="add: expected 2 operands, got 1"):
        program.map("add", [program.input((3,))])
    with pytest.raises(ValueError, match="plus: expected no primitive of that name, got 2"):
        program.map("plus", [program.input((3,))] * 2)


def test_a_disassembly_shows_the_formula():
    program = Program()
    x, y = program.input((3,)), program.input((3,))
    program.output(chain(program, x, y))
    assert "map minimum(%0, multiply_add(exp(" in str(program.fused(training=False))
    assert "map %0 - %1  [3]" in str(program)


@pytest.mark.parametrize(
    "numbers",
    [
        (),
        (1,),
        (-1,),
        (2, 64 << 8 | 32 << 16 | 1 << 40),
        (1, -1),
        (1, 0.5),
        (1, 2**60),
        (1, float("nan")),
        (129, *[64 << 8 | 32 << 16 | 1 << 40] * 129),
        (1, 0xFF | 64 << 8 | 32 << 16 | 1 << 40),  # no such primitive
        (1, 64 << 8 | 33 << 16 | 1 << 40),  # no second input
        (1, 64 << 8 | 99 << 16 | 1 << 40),  # no fourth constant
        (1, 64 << 8 | 40 << 16 | 1 << 40),  # the gradient, forward
        (1, 65 << 8 | 32 << 16 | 2 << 40),  # a second output
        (1, 64 << 8 | 32 << 16 | 3 << 40),  # an output for two
        (1, 32 << 8 | 32 << 16 | 1 << 40),  # into an input
        (0, 65 << 8 | 40 << 16 | 2 << 40),  # the gradient by a second input
    ],
)
def test_wrong_byte_code_is_refused(numbers):
    program = Program()
    x, constants = program.input((3,)), (1.0, 2.0, 3.0)
    program.output(program.emit("map", [x], (3,), numbers=numbers, data=constants))
    with pytest.raises(ValueError, match=r"map\)?: (steps: |numbers: |code: |)expected"):
        _core.Executor(program, 2)


def test_more_constants_than_there_is_room_for_are_refused():
    program = Program()
    x, code = program.input((3,)), (1, 64 << 8 | 32 << 16 | 1 << 40)
    program.output(program.emit("map", [x], (3,), numbers=code, data=[1.0] * 99))
    with pytest.raises(ValueError, match="constants: expected fewer"):
        _core.Executor(program, 2)


def test_a_loss_behind_maps_is_the_loss_of_their_value():
    program = Program()
    x = dense(program, program.input((3,)), random_weight(RNG, 3, 4))
    y = chain(program, x, program.map("tanh", [x]))
    program.loss("mean_squared_error", program.input((4,), role="y"), y)
    arrays = [RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))]
    expected = difference_gradients(program, arrays)
    for form in (forked(program), program.fused()):
        for v, gradient in gradients(form, arrays).items():
            np.testing.assert_allclose(gradient, expected[v], rtol=1e-4, atol=1e-5)


# --- operands that are broadcast ---

# Operands by shape of the result: each line, column or number is repeated of them.
REPEATED = [
    ((4, 33), (33,)),  # a row
    ((4, 33), (4, 1)),  # a column
    ((4, 33), (1,)),
    ((5, 3, 16), (5, 1, 16)),
    ((5, 3, 16), (5, 1, 1)),
    ((5, 3, 7), (5, 3, 1)),
    ((200, 5), (5,)),  # many chunks
    ((200, 5), (200, 1)),
    ((3, 1500), (1500,)),  # several chunks a line
    ((3, 1500), (3, 1)),
    ((2, 100, 1100), (2, 1, 1)),
]


def scaled(program, values, shape):
    """x exp(-r) + r c, where r and c are broadcast and come first."""
    x, r, c = (program.emit("broadcast", [v], shape) if v.shape != shape else v for v in values)
    b, d, a = arguments(3)
    return program.map(apply("exp", -b) * a + b * d, [r, c, x])


@pytest.mark.parametrize(("shape", "other"), REPEATED)
def test_operands_that_are_broadcast_are_read_as_they_are(shape, other):
    program = Program()
    e = program.input((6,))
    values, last = [], (*shape[:-1], 1)
    for own in (shape, other, last):
        z = RNG.normal(size=(6, int(np.prod(own)))).astype(np.float32)
        values.append(program.emit("reshape", [dense(program, e, weight(z))], own))
    program.output(scaled(program, values, shape))
    dy = RNG.normal(size=(6, *shape)).astype(np.float32)
    oracle = Oracle(program)
    y = oracle.forward([np.eye(6)])[0]
    expected = oracle.backward(dy)
    fused = program.fused()
    assert not fused_ops(fused, "broadcast")
    for form, isa in [(forked(program), ISAS[0]), *((fused, isa) for isa in ISAS)]:
        value, found = pull_back(form, [np.eye(6)], dy, isa=isa)
        np.testing.assert_allclose(value, y, rtol=2e-6, atol=2e-6)
        for v, gradient in expected.items():
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=3e-6 * scale)
    one = pull_back(fused, [np.eye(6)], dy, threads=1)
    two = pull_back(fused, [np.eye(6)], dy, threads=2)
    assert (one[0] == two[0]).all()
    assert all((one[1][v] == two[1][v]).all() for v in expected)


def fused_ops(program, op):
    return [i for i in program.instructions if i.op == op]


@pytest.mark.parametrize(
    ("shape", "other"), [((4, 3, 5), (3, 5)), ((4, 3, 5), (4, 1, 5, 1)), ((3, 1), (1, 1))]
)
def test_what_is_repeated_among_others_stays_a_broadcast(shape, other):
    program = Program()
    if len(other) > len(shape):
        shape = (*shape[:1], 2, *shape[2:], 7)
    x, r = program.input(shape), program.input(other)
    repeated = program.emit("broadcast", [r], shape)
    program.output(program.map("multiply", [x, repeated]))
    assert fused_ops(program.fused(), "broadcast")
    arrays = [RNG.normal(size=(3, *s)).astype(np.float32) for s in (shape, other)]
    expected = arrays[0] * arrays[1].reshape(3, *(1,) * (len(shape) - len(other)), *other)
    np.testing.assert_allclose(predict(program.fused(), arrays), expected, rtol=1e-6)


def test_a_map_of_rows_and_columns_alone_keeps_one_broadcast():
    program = Program()
    row, column = program.input((5,)), program.input((4, 1))
    both = [program.emit("broadcast", [v], (4, 5)) for v in (row, column)]
    program.output(program.map("add", both))
    assert len(fused_ops(program.fused(), "broadcast")) == 1
    arrays = [RNG.normal(size=(3, *s)).astype(np.float32) for s in ((5,), (4, 1))]
    expected = arrays[0][:, None] + arrays[1]
    np.testing.assert_array_equal(predict(program.fused(), arrays), expected)
