"""Every primitive of expressions, its values and gradients, on every ISA."""

from itertools import pairwise

import numpy as np
import pytest
from oracle import difference_gradients
from programs import ISAS, WIDTHS, predict, pull_back, scores_program
from reference_elementwise import ELEMENTWISE, smooth_operands

from cdl import _core
from cdl._ir.elementwise_grad import FLAT, GRADIENTS
from cdl._ir.program import Program

TINY = float(np.finfo(np.float32).tiny)  # below it results are 0
HUGE = float(np.finfo(np.float32).max)
# ulps of float32 that a value may be off; the others are exact or rounded once.
ULPS = {"exp": 1.25, "log": 1, "tanh": 1.5, "sigmoid": 2.5, "softplus": 2, "rsqrt": 1.6, "erf": 1.5}
ULPS["multiply_add"] = 1.5  # without FMA it is two operations
ULPS |= dict.fromkeys(("sin", "cos", "tan"), 0.8)  # far out they are the C library's


def run(name, operands, isa):
    """The primitive of arrays of one shape, axis 0 the batch."""
    program = Program()
    program.output(program.map(name, [program.input(a.shape[1:]) for a in operands]))
    return predict(program, operands, isa=isa)


def of_every_size(rng, n):
    sizes = 10 ** np.concatenate([rng.uniform(-37, 38, n // 2), rng.uniform(-4, 4, n - n // 2)])
    return (sizes * rng.choice([-1, 1], n)).astype(np.float32)


def every_size(arity):
    """Operands of every size and sign, and pairs of those that lie near each other or are equal."""
    rng = np.random.default_rng(0)
    operands = [of_every_size(rng, 4000) for _ in range(arity)]
    for a, b in pairwise(operands):
        b[1000:2000] = a[1000:2000] * rng.integers(-3, 4, 1000)
        b[2000:2500] = np.nextafter(a[2000:2500], rng.choice([-HUGE, HUGE], 500))
        b[2500:2700] = rng.integers(-6, 7, 200)
    around = np.array([0.5, 0.625, 1, 1.5, 2, np.pi / 2, np.pi, 2**20, 2**23, 87.3, 88.7])
    bits = around.astype(np.float32).view(np.int32)[:, None] + np.arange(-3, 4)
    near = bits.astype(np.int32).view(np.float32).ravel()
    operands[0][:154] = np.concatenate([near, -near])
    return operands


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_are_right_to_an_ulp_or_two_at_every_size(name, isa):
    operands = every_size(_core.ELEMENTWISE[name])
    with np.errstate(all="ignore"):
        expected = ELEMENTWISE[name](*(a.astype(np.float64) for a in operands))
        rounded = expected.astype(np.float32)
        actual = run(name, [a[None] for a in operands], isa)[0]
        size = np.abs(expected)
        if name == "multiply_add":  # its product may cancel
            size = np.maximum(size, np.abs(operands[2]))
        allowed = ULPS.get(name, 0.51) * np.spacing(np.minimum(size, HUGE / 2).astype(np.float32))
        right = (np.abs(actual - expected) <= allowed + 2 * TINY) | (actual == rounded)
        right |= np.isnan(actual) & np.isnan(expected)
    assert right.all(), [a[~right][:5] for a in [*operands, actual, expected]]


SPECIAL = np.array([0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, np.inf, -np.inf, np.nan], np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_infinities_nan_and_zeros_go_where_the_formula_sends_them(name, isa):
    operands = np.meshgrid(*[SPECIAL] * _core.ELEMENTWISE[name])
    operands = [a.ravel() for a in operands]
    with np.errstate(all="ignore"):
        expected = ELEMENTWISE[name](*(a.astype(np.float64) for a in operands))
    actual = run(name, [a[None] for a in operands], isa)[0]
    np.testing.assert_allclose(actual, expected, rtol=2e-7)
    if name in ("copy", "negative", "floor", "ceil", "round", "trunc", "sqrt", "sin", "atan2"):
        assert (np.signbit(actual) == np.signbit(expected))[~np.isnan(expected)].all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
def test_every_element_of_every_width_is_reached(n, isa):
    rng = np.random.default_rng(n)
    for name, f in ELEMENTWISE.items():
        operands = smooth_operands(name, _core.ELEMENTWISE[name], (5, n), rng)
        expected = f(*(a.astype(np.float64) for a in operands))
        np.testing.assert_allclose(run(name, operands, isa), expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", sorted(set(GRADIENTS) - set(_core.LINEWISE)))
def test_gradients_are_central_differences(name, isa):
    rng = np.random.default_rng(3)
    for n in (1, 7, 33):
        operands = smooth_operands(name, _core.ELEMENTWISE[name], (4, n), rng)
        for k, z in enumerate(operands):

            def emit(program, scores, k=k, n=n):
                arity = range(_core.ELEMENTWISE[name])
                values = [scores if j == k else program.input((n,)) for j in arity]
                program.output(program.map(name, values))

            program = scores_program(z, emit)
            arrays = [np.eye(4), *(a for j, a in enumerate(operands) if j != k)]
            dy = rng.normal(size=(4, n)).astype(np.float32)
            actual = pull_back(program, arrays, dy, isa=isa)[1]
            for v, expected in difference_gradients(program, arrays, dy=dy).items():
                np.testing.assert_allclose(actual[v], expected, rtol=2e-5, atol=2e-6)


def test_every_primitive_has_a_formula_and_a_gradient_or_none():
    assert set(ELEMENTWISE) == set(_core.ELEMENTWISE)
    known = {*_core.ELEMENTWISE, *_core.LINEWISE} - {"spread"}  # made by fusions alone
    assert FLAT | set(GRADIENTS) | {"copy"} == known


@pytest.mark.parametrize(
    ("name", "at", "gradients"),
    [  # as Keras on JAX, but for abs
        ("maximum", (1, 1), (0.5, 0.5)),
        ("maximum", (np.inf, np.inf), (0.5, 0.5)),
        ("maximum", (np.nan, 1), (0, 0)),
        ("minimum", (1, 1), (0.5, 0.5)),
        ("minimum", (1, np.nan), (0, 0)),
        ("abs", (0,), (0,)),
        ("relu", (0,), (0,)),
        ("sqrt", (0,), (np.inf,)),
        ("rsqrt", (0,), (-np.inf,)),
        ("power", (0, 2), (0, 0)),
        ("power", (0, 0.5), (np.inf, 0)),
        ("power", (-2, 3), (12, np.nan)),
        ("power", (2, 0), (0, np.log(2))),
        ("power", (0, -1), (-np.inf, np.nan)),
        ("mod", (-7.5, 2.5), (1, 3)),
        ("mod", (6, 3), (1, -2)),
        ("fmod", (-7, 2), (1, 3)),
        ("where", (1, 2, np.inf), (0, 1, 0)),
        ("where", (0, np.nan, 2), (0, 0, 1)),
        ("gate", (0, np.inf), (0, 0)),
        ("gate", (1, np.inf), (0, 1)),
        ("log", (0,), (np.inf,)),
        ("log1p", (-1,), (np.inf,)),
        ("acos", (1,), (-np.inf,)),
        ("floor", (1.5,), (0,)),
        ("greater", (1, 1), (0, 0)),
    ],
)
def test_gradients_at_corners_and_poles(name, at, gradients):
    for k, gradient in enumerate(gradients):

        def emit(program, scores, k=k):
            values = [scores if j == k else program.input((1,)) for j in range(len(at))]
            program.output(program.map(name, values))

        program = scores_program(np.array([[at[k]]], np.float32), emit)
        arrays = [np.eye(1), *(np.array([[a]]) for j, a in enumerate(at) if j != k)]
        actual = pull_back(program, arrays, 1.0)[1][program.variables[0]]
        np.testing.assert_allclose(actual, [[gradient]], rtol=1e-6)
