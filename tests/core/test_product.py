"""Products of values: either side transposed, shared, or a batch of matrices."""

import numpy as np
import pytest
from ops_cases import ROWS, check
from oracle import Oracle, difference_gradients
from programs import ISAS, predict, pull_back, weight

from cdl import _core
from cdl._ir import emit
from cdl._ir.lowering import Lowering

# m, k, n: round the panels and the pieces that are transposed, and single rows and columns
SIZES = [(2, 3, 4), (1, 1, 1), (3, 1, 5), (1, 4, 1), (5, 2, 1), (1, 3, 4), (4, 70, 3), (3, 5, 66)]
SIZES += [(17, 16, 33), (66, 2, 65), (65, 66, 1)]
TRANSPOSED = [(False, False), (True, False), (False, True), (True, True)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sides(m, k, n, transposed, batch=()):
    a = normal(ROWS, *batch, *((k, m) if transposed[0] else (m, k)))
    b = normal(ROWS, *batch, *((n, k) if transposed[1] else (k, n)), seed=1)
    return [a, b]


def matmul(transposed):
    def f(*sides):
        a, b = (np.swapaxes(x, -1, -2) if t else x for x, t in zip(sides, transposed, strict=True))
        return a @ b

    return f


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matrices_of_each_sample(size, transposed):
    check(
        sides(*size, transposed),
        lambda program, a, b: emit.product(program, a, b, *transposed),
        matmul(transposed),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize(
    ("a", "b"),
    [((2,), (2,)), ((2, 3), (2, 3)), ((2,), ()), ((), (2,)), ((2, 1), (1, 3)), ((1,), (2,))],
    ids=str,
)
def test_batches_of_matrices_broadcast(a, b, transposed):
    x, y = sides(3, 4, 5, transposed)
    x, y = (
        normal(ROWS, *batch, *s.shape[1:], seed=i)
        for i, (batch, s) in enumerate(zip((a, b), (x, y), strict=True))
    )

    def expected(x, y):
        x, y = (
            s.reshape(ROWS, *(1,) * (max(len(a), len(b)) + 3 - s.ndim), *s.shape[1:])
            for s in (x, y)
        )
        return matmul(transposed)(x, y)

    check(
        [x, y],
        lambda program, x, y: emit.product(program, x, y, *transposed),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


def test_one_axis_is_a_row():
    check(
        [normal(ROWS, 4), normal(ROWS, 4, 3, seed=1)],
        emit.product,
        lambda a, b: (a[:, None] @ b)[:, 0],
    )


SHARED = [
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((2, 3), (3, 1)),
    ((5, 2, 3), (3, 66)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 3), (2, 3, 4)),
]


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("shares", ["a", "b", "both"])
@pytest.mark.parametrize(("a", "b"), SHARED, ids=str)
def test_sides_that_all_samples_share(a, b, shares, transposed):
    """Both sides learn, one of them as a weight read as a value."""
    rng = np.random.default_rng(2)
    a = (a[:-2] + a[:-3:-1]) if transposed[0] and len(a) > 1 else a
    b = (b[:-2] + b[:-3:-1]) if transposed[1] else b
    if transposed[0] and len(a) == 1:
        return
    program = Lowering()
    eye = program.input((ROWS,))
    values = []
    for name, shape in (("a", a), ("b", b)):
        if shares in (name, "both"):
            w = weight(rng.normal(size=(1, *shape))[0])
            values.append(program.param(w))
        else:
            flat = weight(rng.normal(size=(ROWS, int(np.prod(shape)))))
            flat = program.emit("dense", [eye], (flat.shape[1],), (flat, None))
            values.append(emit.reshape(program, flat, shape))
    y = emit.product(program, *values, *transposed)
    if shares == "both":
        y = program.broadcast_batch(y)
    program.output(y)
    oracle = Oracle(program)
    wanted = oracle.forward([np.eye(ROWS)])[0]
    dy = rng.normal(size=wanted.shape).astype(np.float32)
    expected = oracle.backward(dy)
    if sum(gradient.size for gradient in expected.values()) < 100:
        for v, gradient in difference_gradients(program, [np.eye(ROWS)], dy=dy).items():
            np.testing.assert_allclose(expected[v], gradient, rtol=1e-4, atol=1e-5)
    for isa in ISAS:
        bits = None
        for threads in (1, 2, 3):
            options = {"isa": isa, "threads": threads}
            value, found = pull_back(program.fused(), [np.eye(ROWS)], dy, **options)
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)
            for v, gradient in expected.items():
                np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=1e-4)
            assert bits is None or all((bits[v] == found[v]).all() for v in bits)
            bits = found


def test_matrices_that_do_not_fit_are_refused():
    program = Lowering()
    a, b = program.input((2, 3)), program.input((4, 5))
    with pytest.raises(
        ValueError, match=r"matrices must agree in .* got shapes \(2, 3\) and \(4, 5\)"
    ):
        emit.product(program, a, b)
    for inputs, shape in [((a, b), (2, 5)), ((a,), (2, 3)), ((a, a), (2, 3)), ((a, a), (3, 3))]:
        wrong = Lowering()
        values = [wrong.input(v.shape) for v in inputs]
        wrong.output(wrong.emit("product", values, shape, transpose_a=0, transpose_b=0))
        with pytest.raises(ValueError, match=r"instruction 0 \(product\): .*expected"):
            _core.Executor(wrong, 1)


def test_what_stands_in_pads_does_not_count():
    """1 / x is infinite where pads are 0; the product reads lines with their pads."""
    x = np.random.default_rng(3).uniform(1, 2, (ROWS, 3, 5)).astype(np.float32)
    program = Lowering()
    v = program.input((3, 5))
    v = program.map("reciprocal", [v])
    program.output(emit.product(program, v, v, transpose_b=True))
    expected = 1 / x.astype(float) @ np.swapaxes(1 / x.astype(float), 1, 2)
    np.testing.assert_allclose(predict(program, [x]), expected, rtol=1e-5)


@pytest.mark.parametrize(("a", "n"), [((3,), 4), ((5, 70), 66), ((2, 3, 2), 17)], ids=str)
def test_a_bias_of_one_factor(a, n):
    """The factor and the bias are weights; the sum becomes part of the product."""
    rng = np.random.default_rng(4)
    program = Lowering()
    eye = program.input((ROWS,))
    flat = weight(rng.normal(size=(ROWS, int(np.prod(a)))))
    x = emit.reshape(program, program.emit("dense", [eye], (flat.shape[1],), (flat, None)), a)
    kernel, bias = (program.param(weight(rng.normal(size=s))) for s in ((a[-1], n), (n,)))
    no = {"transpose_a": 0, "transpose_b": 0}
    y = program.emit("product", [x, kernel, bias], (*a[:-1], n), **no)
    program.output(y)
    oracle = Oracle(program)
    wanted = oracle.forward([np.eye(ROWS)])[0]
    dy = rng.normal(size=wanted.shape).astype(np.float32)
    expected = oracle.backward(dy)
    for v, gradient in difference_gradients(program, [np.eye(ROWS)], dy=dy).items():
        if gradient.size < 100:
            np.testing.assert_allclose(expected[v], gradient, rtol=1e-4, atol=1e-5)
    for isa in ISAS:
        bits = None
        for threads in (1, 2, 3):
            value, found = pull_back(program, [np.eye(ROWS)], dy, isa=isa, threads=threads)
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)
            for v, gradient in expected.items():
                np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=1e-4)
            assert bits is None or all((bits[v] == found[v]).all() for v in bits)
            bits = found
