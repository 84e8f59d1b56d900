"""X W + b, its activation and its gradients against float64, on every ISA."""

from itertools import pairwise

import numpy as np
import pytest
import references as reference
from oracle import Oracle
from programs import (
    ISAS,
    WIDTHS,
    dense,
    gradient_keeper,
    kept,
    predict,
    pull_back,
    random_weight,
    weight,
)

from cdl import _core
from cdl._ir.program import Program

# Each width once as input and once as output: the pairs go round the list in two directions.
SHAPES = [(k, n) for i, k in enumerate(WIDTHS) for n in (WIDTHS[-1 - i], WIDTHS[(3 * i + 1) % 13])]
SHAPES += [(1, 1), (1, 65), (65, 1), (16, 16), (64, 64), (1025, 17), (17, 1025), (2060, 1)]
SHAPES += [(700, 200), (1100, 130)]  # large enough to be asked for ahead, in one block of k and two
FUSABLE = [name for name, from_y in _core.ACTIVATIONS_FROM_Y.items() if from_y]


def layer(rng, inner, k, n, *, bias=True, **attributes):
    """Two layers, so that the second hands a gradient to the first: (program, sample's shape)."""
    program = Program()
    x = program.input((*inner, k))
    b = weight(rng.normal(size=n)) if bias else None
    program.output(dense(program, x, random_weight(rng, k, n), b, **attributes))
    return program


def stack(rng, inner, widths, *, bias=True, **attributes):
    program = Program()
    x = program.input((*inner, widths[0]))
    for k, n in pairwise(widths):
        b = weight(rng.normal(size=n) * 0.3) if bias else None
        x = dense(program, x, random_weight(rng, k, n), b, **attributes)
    program.output(x)
    return program


def close(actual, expected, k):
    """Equality within the rounding of a chain of k products of numbers of size 1."""
    top = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=top * 3e-7 * np.sqrt(k + 1))


def check(program, x, isa, seed=0, threads=1, chain=None):
    """Output and every gradient against the oracle; gradients add up `chain` products, or rows."""
    rng = np.random.default_rng(seed)
    oracle = Oracle(program)
    expected = oracle.forward([x])[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    found, gradients = pull_back(program, [x], dy, isa=isa, threads=threads)
    close(found, expected, x.shape[-1])
    derivatives = oracle.backward(dy)
    for v in program.variables:
        close(gradients[v], derivatives[v], chain or len(x))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_products_and_gradients_of_every_width(k, n, isa):
    rng = np.random.default_rng(k * 1000 + n)
    x = rng.normal(size=(19, k)).astype(np.float32)
    check(layer(rng, (), k, n), x, isa)
    check(stack(rng, (), [k, n, 5]), x, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7, 13, 47, 48, 49, 97, 255, 256, 257, 530])
def test_every_number_of_rows_crosses_tiles_groups_and_sample_blocks(rows, isa):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 37)).astype(np.float32)
    check(stack(rng, (), [37, 65, 9]), x, isa)


@pytest.mark.parametrize("isa", ISAS)
def test_blocks_of_k_and_of_samples_are_added_up(isa):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2500)).astype(np.float32)  # three blocks of k, two of samples
    check(stack(rng, (), [2500, 20, 1100, 3]), x, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_gradients_of_few_rows_need_no_transposed_weights(rows, isa):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 9)).astype(np.float32)
    dy = rng.normal(size=(rows, 3)).astype(np.float32)
    for widths in ([65, 129, 3], [100, 201, 37, 3], [33, 64, 3], [1, 130, 3]):
        program = stack(rng, (), [9, *widths], activation="tanh")
        check(program, x, isa, chain=200)
        alone = pull_back(program, [x], dy, isa=isa, threads=1)[1]
        together = pull_back(program, [x], dy, isa=isa, threads=3)[1]
        for v in program.variables:
            np.testing.assert_array_equal(alone[v], together[v])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), [(130, 200), (129, 300), (64, 257), (300, 131)])
def test_dx_is_the_same_bits_whichever_factor_is_transposed(k, n, isa):
    """Few rows have dy transposed, many have W; the identity gives dx of each row as a gradient."""
    rng = np.random.default_rng(k)
    rows, few = 320, (5, 33, 64, 65)
    seen, dy = rng.normal(size=(rows, k)), rng.normal(size=(rows, n)).astype(np.float32)
    kernel = random_weight(rng, k, n)

    def dx(m):
        program = Program()
        z = weight(seen[:m])
        x = dense(program, program.input((m,)), z, activation="tanh")
        program.output(dense(program, x, kernel))
        return pull_back(program, [np.eye(m)], dy[:m], isa=isa, threads=1)[1][z]

    many = dx(rows)
    exact = (dy.astype(float) @ kernel.numpy().astype(float).T) / np.cosh(seen) ** 2
    np.testing.assert_allclose(many, exact, rtol=1e-4, atol=1e-4)
    for m in few:
        np.testing.assert_array_equal(dx(m), many[:m])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("rows", "widths"),
    [(90, [1000, 586, 330, 5]), (310, [1000, 586, 330, 5]), (2600, [580, 586, 5])],
)
def test_wide_layers_learn_from_copies_of_their_columns(rows, widths, isa):
    """Rows of dy, or of both, so far apart that 64 columns are copied; many rows part by part."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, widths[0])).astype(np.float32)
    program = stack(rng, (), widths)
    check(program, x, isa)
    dy = rng.normal(size=(rows, 5)).astype(np.float32)
    alone = pull_back(program, [x], dy, isa=isa, threads=1)[1]
    for threads in (2, 3):
        together = pull_back(program, [x], dy, isa=isa, threads=threads)[1]
        for v in program.variables:
            np.testing.assert_array_equal(alone[v], together[v])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inner", [(), (1,), (3,), (2, 3)])
def test_all_axes_before_the_last_are_rows(inner, bias, isa):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(11, *inner, 21)).astype(np.float32)
    check(stack(rng, inner, [21, 70, 1], bias=bias), x, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 10, 65])
@pytest.mark.parametrize("name", FUSABLE)
def test_an_activation_inside_and_its_gradient_behind_it(name, n, isa):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 30)).astype(np.float32)
    parameters = reference.activation_parameters(name)[0]
    check(layer(rng, (), 30, n, activation=name, **parameters), x, isa)
    if name != "exponential":  # a tower of them overflows
        check(stack(rng, (), [30, n, 17, 1, 4], activation=name, **parameters), x, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("learning", ["kernel", "bias", "second", "first"])
def test_frozen_weights_pass_the_gradient_on_and_stay(learning, isa):
    rng = np.random.default_rng(3)
    program = stack(rng, (), [9, 20, 4], activation="tanh")
    k1, b1, k2, b2 = program.variables
    chosen = {"kernel": [k1, k2], "bias": [b1, b2], "second": [k2, b2], "first": [k1, b1]}
    chosen = set(chosen[learning])
    x, target = rng.normal(size=(33, 9)), rng.normal(size=(33, 4))
    program.loss("mean_squared_error", program.input((4,), role="y"), program.outputs[0])
    oracle = Oracle(program, learn=chosen)
    oracle.step([x, target], 0.1)
    optimizer = ("sgd", {}, {v: [] for v in chosen})
    executor = _core.Executor(program, 33, training=True, optimizer=optimizer, isa=isa)
    executor.begin([x, target], 33)
    before = {v: v.numpy() for v in program.variables}
    executor.train(1, 100.0, [0.1], 0, 0)
    for v in program.variables:
        close(v.numpy(), oracle.weights[v], 33)
        assert (v in chosen) == (v.numpy() != before[v]).any()


@pytest.mark.parametrize("isa", ISAS)
def test_nan_and_inf_stay_in_their_rows(isa):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 33)).astype(np.float32)
    program = stack(rng, (), [33, 70, 5], activation="plain_relu")
    expected = predict(program, [x], isa=isa)
    x[7, 3], x[20, 32] = np.nan, np.inf
    found = predict(program, [x], isa=isa)
    bad = np.zeros(40, bool)
    bad[[7, 20]] = True
    np.testing.assert_array_equal(found[~bad], expected[~bad])
    assert np.isnan(found[7]).all() and not np.isfinite(found[20]).all()
    np.testing.assert_array_equal(predict(program, [x[:7]], isa=isa), expected[:7])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", WIDTHS)
def test_a_row_of_a_single_output_is_the_same_bits_alone_and_in_any_batch(k, isa):
    """Sums go over four rows at a time, or over as many as a register has lanes."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(37, k)).astype(np.float32)
    x[5] = np.inf
    program = stack(rng, (), [k, 1])
    expected = predict(program, [x], isa=isa)
    w, b = (v.numpy().astype(np.float64) for v in program.variables)
    np.testing.assert_allclose(expected[6:], x[6:] @ w + b, rtol=1e-5, atol=1e-6)
    for rows in (1, 2, 7, 16, 33):
        np.testing.assert_array_equal(predict(program, [x], rows=rows, isa=isa), expected)
    assert not np.isfinite(expected[5]).any() and np.isfinite(np.delete(expected, 5)).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 10, 30, 65, 120])
def test_a_row_is_the_same_bits_alone_and_in_any_batch(n, isa):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(100, 37)).astype(np.float32)
    program = stack(rng, (), [37, n, 10])
    expected = predict(program, [x], isa=isa)
    for rows in (1, 2, 7, 16, 33):
        np.testing.assert_array_equal(predict(program, [x], rows=rows, isa=isa), expected)


@pytest.mark.parametrize("k", WIDTHS)
@pytest.mark.parametrize("n", WIDTHS)
def test_a_matrix_comes_out_of_its_panels_as_it_went_in(k, n):
    values = np.arange(k * n, dtype=np.float32).reshape(k, n)
    kernel = weight(values)
    np.testing.assert_array_equal(kernel.numpy(), values)
    kernel.assign(values.T.copy().reshape(n, k).T)
    np.testing.assert_array_equal(kernel.numpy(), values)


def test_weights_that_are_set_reach_the_backward_pass_too():
    rng = np.random.default_rng(6)
    program = stack(rng, (), [6, 20, 3])
    x = rng.normal(size=(8, 6)).astype(np.float32)
    check(program, x, None)
    for v in program.variables:
        v.assign(rng.normal(size=v.shape))
    check(program, x, None)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
def test_a_gradient_is_clipped_by_the_norm_of_what_is_no_pad(n, isa):
    rng = np.random.default_rng(7)
    program = stack(rng, (), [9, n, 5], bias=False)
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(
        program, 32, training=True, optimizer=optimizer, isa=isa, rules={"clipnorm": 1e-3}
    )
    executor.begin([rng.normal(size=(32, 9)).astype(np.float32)], 32)
    executor.forward(True)
    executor.backward(rng.normal(size=(32, 5)).astype(np.float32), 1.0, 0)
    for gradient in kept(optimizer).values():
        np.testing.assert_allclose(np.linalg.norm(gradient), 1e-3, rtol=1e-5)
