"""Products with integers of eight and four bits, on each ISA."""

import numpy as np
import pytest
from programs import weight

from cdl import _core, quantizers
from cdl._ir.program import Program
from cdl._tracing.integer_variable import IntegerVariable

ISAS = _core.available_isas()
SIZES = [(1, 1), (3, 1), (4, 16), (7, 5), (17, 70), (64, 64), (130, 33), (784, 129)]


def integers(rng, k, n, bits, block=0):
    """A weight of random integers, and the integers as an array."""
    low, high = (-128, 127) if bits == 8 else (-8, 7)
    values = rng.integers(low, high, (k, n), endpoint=True).astype(np.int8)
    if bits == 8:
        kernel = IntegerVariable((k, n), name="kernel", block=block)
        kernel.assign(values)
    else:
        kernel = IntegerVariable((k, (n + 1) // 2), name="kernel", bits=4, size=n, block=block)
        kernel.assign(quantizers.pack_int4(values, axis=-1)[0])
    return kernel, values


def run(x, params, isa, n, rows=None, threads=1, **numbers):
    """The output of `dense_int` for an array, by the core."""
    program = Program()
    inputs = program.input(x.shape[1:])
    given = {"low": -127.0, "high": 127.0, "epsilon": 1e-7, "block": 0, **numbers}
    y = program.emit("dense_int", [inputs], (*x.shape[1:-1], n), params, **given)
    program.output(y)
    executor = _core.Executor(program.fused(), rows or len(x), isa=isa, threads=threads)
    out = executor.predict([x])
    return out.reshape(*x.shape[:-1], n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), SIZES)
@pytest.mark.parametrize("rows", [1, 2, 7, 61])
def test_lines_of_integers_give_the_bits_of_the_formula_on_each_isa(isa, k, n, rows):
    rng = np.random.default_rng(0)
    kernel, values = integers(rng, k, n, 8)
    scale = rng.uniform(1, 90, n).astype(np.float32)
    bias = rng.normal(size=n).astype(np.float32)
    x = rng.normal(size=(rows, k)).astype(np.float32)
    x[0, : k // 2] = 0.5  # halves are rounded to the even one
    q, of_x = quantizers.abs_max_quantize(x, -1)
    sums = q.astype(np.int64) @ values.astype(np.int64)
    expected = sums.astype(np.float32) / (scale * of_x) + bias
    params = (kernel, weight(scale), None, weight(bias))
    got = run(x, params, isa, n, bits=8, dynamic=1)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), SIZES)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("block", [0, 5, 64])
def test_floats_by_integers_are_near_the_formula(isa, k, n, bits, block):
    rng = np.random.default_rng(1)
    kernel, values = integers(rng, k, n, bits, block)
    groups = -(-k // block) if block else 1
    scale = rng.uniform(0.5, 2, (groups, n)).astype(np.float32)
    zero = rng.integers(-8, 8, (groups, n)).astype(np.float32)
    at = np.arange(k) // block if block else np.zeros(k, int)
    real = (values - zero[at]) * scale[at] if block else values / scale[at]
    x = rng.normal(size=(9, k)).astype(np.float32)
    of_rows = weight(scale.ravel()), weight(zero.ravel()) if block else None
    for rows in (x[:1], x):
        got = run(rows, (kernel, *of_rows, None), isa, n, bits=bits, dynamic=0, block=block)
        size = np.abs(rows) @ np.abs(real)
        assert np.abs(got - rows.astype(np.float64) @ real).max() <= 1e-6 * size.max() + 1e-6
        again = run(x, (kernel, *of_rows, None), isa, n, bits=bits, dynamic=0, block=block)
        np.testing.assert_array_equal(got, again[: len(rows)])


@pytest.mark.parametrize("isa", ISAS)
def test_numbers_that_are_none_show_and_lines_of_zeros_give_the_bias(isa):
    rng = np.random.default_rng(2)
    kernel, _ = integers(rng, 20, 18, 8)
    params = (kernel, weight(np.ones(18)), None, weight(np.arange(18)))
    x = rng.normal(size=(4, 3, 20)).astype(np.float32)
    x[1, 1, 19], x[2] = np.nan, 0.0
    y = run(x, params, isa, 18, bits=8, dynamic=1)
    assert np.isnan(y[1, 1]).all()
    assert np.isfinite(np.delete(y.reshape(12, 18), 4, axis=0)).all()
    np.testing.assert_array_equal(y[2], np.broadcast_to(np.arange(18), (3, 18)))


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("block", [0, 3])
def test_a_weight_of_integers_gives_back_what_it_was_assigned(table, bits, block):
    rng = np.random.default_rng(3)
    for k, n in ((1, 1), (5, 7), (9, 2), (8, 8)):
        size = n if bits == 8 else (n + 1) // 2
        values = rng.integers(-128, 128, (k, size)).astype(np.int8)
        if bits == 4 and n % 2:
            values[:, -1] &= 15
        options = {"bits": bits, "size": n, "table": table, "block": 0 if table else block}
        kernel = IntegerVariable((k, size), name="kernel", **options)
        kernel.assign(values)
        np.testing.assert_array_equal(kernel.numpy(), values)


@pytest.mark.parametrize("bits", [8, 4])
def test_words_become_floats_again(bits):
    rng = np.random.default_rng(4)
    low = -(2 ** (bits - 1))
    values = rng.integers(low, -low, (6, 16)).astype(np.int8)
    size = 16 if bits == 8 else 8
    kernel = IntegerVariable((6, size), name="table", bits=bits, size=16, table=True)
    kernel.assign(values if bits == 8 else quantizers.pack_int4(values, axis=-1)[0])
    words = kernel.storage.get()
    program = Program()
    x = program.input(words.shape[1:])
    program.output(program.emit("unpack", [x], (16,), bits=bits))
    got = _core.Executor(program.fused(), 6).predict([words])
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_lines_that_are_not_finite_give_nan_and_leave_the_others(isa, value):
    rng = np.random.default_rng(0)
    kernel, _ = integers(rng, 40, 17, 8)
    params = (kernel, weight(rng.uniform(1, 90, 17).astype(np.float32)), None, None)
    x = rng.normal(size=(9, 40)).astype(np.float32)
    expected = run(x, params, isa, 17, bits=8, dynamic=1)
    x[3] = value  # many of them: their sum is beyond 32 bits, if they are numbers
    expected[3] = np.nan
    got = run(x, params, isa, 17, bits=8, dynamic=1)
    np.testing.assert_array_equal(got, expected)
