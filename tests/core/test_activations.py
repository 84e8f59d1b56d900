"""Every row of the activations, forward and gradient, on every ISA."""

import numpy as np
import pytest
import references as reference
from programs import ISAS, WIDTHS, activation, dense, predict, pull_back, scores_program, weight

from cdl import _core
from cdl._ir.program import Program

ROWS = [(name, p) for name in _core.ACTIVATIONS for p in reference.activation_parameters(name)]
TINY = float(np.finfo(np.float32).tiny)  # below it results are 0
HUGE = float(np.finfo(np.float32).max)


def inner_of_gelu_tanh(x):
    return 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)


# ulps of float32 that a value may be off, by x (docs/numerics.md): where e^u is a factor of the
# result, the rounding of u alone is |u| ulps.
ULPS = {
    "exponential": lambda x: 1.25,
    "tanh": lambda x: 1.5,
    "softplus": lambda x: 2,
    "log_sigmoid": lambda x: 2,
    "sigmoid": lambda x: 2.1,
    "elu": lambda x: 2.5,
    "gelu": lambda x: 3,
    "silu": lambda x: 2.5,
    "gelu_tanh": lambda x: 6 + 4 * np.abs(inner_of_gelu_tanh(x)),
    "tanh_shrink": lambda x: 32,  # what is left of tanh's few ulps when x is taken away
}
# A gradient is the difference of numbers of size 1 (or of x, in gelu and silu): absolute.
GRADIENT_ATOL = {"gelu_tanh": 4e-6, "silu": 2e-6}


def every_size():
    """Values of every size and sign, dense where the formulas change their form."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate([10 ** rng.uniform(-37, 38, 500), 10 ** rng.uniform(-4, 2, 3000)])
    around = np.array([0.5, 0.625, 0.65, 1.0, 1.5, 6.0, 13.2, 13.5, 87.33, 88.72, 8.72e6, 1e7])
    bits = around.astype(np.float32).view(np.int32)[:, None] + np.arange(-3, 4)
    sizes = np.concatenate([sizes, bits.astype(np.int32).view(np.float32).ravel(), [TINY, HUGE]])
    return np.concatenate([sizes, -sizes, np.linspace(-20, 20, 2003), [0.0]]).astype(np.float32)


def forward(name, parameters, x, isa, rows=1):
    """f(x), rows by rows, by the op on its own."""
    program = Program()
    i = program.input((x.shape[-1],))
    program.output(activation(program, i, name, **parameters))
    return predict(program, [x.reshape(rows, -1)], isa=isa).reshape(x.shape)


def gradient(name, parameters, x, isa):
    """df(x): the gradient by a bias whose values are x."""
    program = Program()
    bias = weight(x)
    z = dense(program, program.input((1,)), weight(np.zeros((1, len(x)))), bias)
    program.output(activation(program, z, name, **parameters))
    return pull_back(program, [np.zeros((1, 1))], 1.0, isa=isa)[1][bias]


def formula(name, parameters, x, which):
    with np.errstate(all="ignore"):
        return reference.ACTIVATIONS[name][which](x.astype(np.float64), **parameters)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_values_are_right_to_a_few_ulps_at_every_size(name, parameters, isa):
    x = every_size()
    expected = formula(name, parameters, x, 0)
    ulp = np.spacing(np.float32(np.minimum(np.abs(expected), HUGE / 2)))
    allowed = ULPS.get(name, lambda x: 4)(x.astype(float)) * ulp
    lost = 2 * TINY * np.maximum(1.0, np.abs(x), dtype=float)  # a factor below TINY is 0
    actual = forward(name, parameters, x, isa)
    with np.errstate(all="ignore"):
        right = (np.abs(actual - expected) <= allowed + lost) | (actual == np.float32(expected))
    assert right.all(), x[~right][:5]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_gradients_are_right_at_every_size(name, parameters, isa):
    x = every_size()
    np.testing.assert_allclose(
        gradient(name, parameters, x, isa),
        formula(name, parameters, x, 1),
        rtol=2e-6,
        atol=GRADIENT_ATOL.get(name, 4e-7),
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_infinities_and_nan_go_where_the_formula_sends_them(name, parameters, isa):
    x = np.array([np.inf, -np.inf, np.nan, 1.0], np.float32)
    expected = formula(name, parameters, x, 0)
    np.testing.assert_allclose(forward(name, parameters, x, isa), expected, rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "parameters"), ROWS)
def test_subnormal_and_signed_zeros_are_zero(name, parameters, isa):
    x = np.array([-0.0, 1e-40, -1e-40, 1e-45], np.float32)
    expected = formula(name, parameters, np.zeros(4), 0)
    np.testing.assert_allclose(forward(name, parameters, x, isa), expected, rtol=1e-6, atol=TINY)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_every_element_of_every_width_is_reached(name, n, isa):
    parameters = reference.activation_parameters(name)[0]
    x = np.random.default_rng(n).normal(size=(5, n)).astype(np.float32) * 2
    actual = forward(name, parameters, x, isa, rows=5)
    np.testing.assert_allclose(actual, formula(name, parameters, x, 0), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 3, 16, 65])
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_the_gradient_of_every_row_and_column_is_its_own(name, n, isa):
    parameters = reference.activation_parameters(name)[0]
    rng = np.random.default_rng(n)
    z, dy = (rng.normal(size=(7, n)).astype(np.float32) for _ in range(2))

    def emit(program, scores):
        program.output(activation(program, scores, name, **parameters))

    program = scores_program(z, emit)
    gradient = pull_back(program, [np.eye(7)], dy, isa=isa)[1][program.variables[0]]
    expected = dy * formula(name, parameters, z, 1)
    np.testing.assert_allclose(gradient, expected, rtol=4e-6, atol=2e-6)


def test_a_rank_3_sample_is_as_many_lines():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 7)).astype(np.float32)
    program = Program()
    program.output(activation(program, program.input((4, 5, 7)), "tanh"))
    np.testing.assert_allclose(predict(program, [x]), np.tanh(x), rtol=1e-6)
