"""Integers within programs: those of NumPy, or an error that names the operation."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

LARGE = 2**24 - 1

CALLS = {
    "add": lambda a: a + a[:, ::-1],
    "average": lambda a: ops.cast(ops.average(a, axis=1), "int32"),
    "count_nonzero": lambda a: ops.count_nonzero(a, axis=1) * a[:, 0],
    "cross": lambda a: ops.cross(a[:, :3], a[:, 1:4]),
    "cumprod": lambda a: ops.cumprod(a, axis=1),
    "cumsum": lambda a: ops.cumsum(a, axis=1),
    "diff": lambda a: ops.diff(a, axis=1),
    "dot": lambda a: ops.dot(a, np.array([3, -5, 7, 1])),
    "einsum": lambda a: ops.einsum("bi,bi->b", a, a),
    "floor_divide": lambda a: a // np.array([3, -7, 1, 4095]),
    "inner": lambda a: ops.inner(a, np.array([3, -5, 7, 1])),
    "kron": lambda a: ops.kron(a, np.array([[1, 2], [3, 4]])),
    "left_shift": lambda a: ops.left_shift(a, 3),
    "matmul": lambda a: a @ np.array([[3, 5], [-3, 2], [7, 1], [0, 1]]),
    "matmul of rows": lambda a: ops.matmul(a[:, None], a[:, :, None]),
    "mod": lambda a: a % np.array([3, -7, 1, 4095]),
    "multiply": lambda a: a * a,
    "multiply by a number": lambda a: 3 * a,
    "negative": lambda a: -a,
    "outer": lambda a: ops.einsum("bi,bj->bij", a, a),
    "power": lambda a: ops.power(ops.abs(a), 2),
    "prod": lambda a: ops.prod(a, axis=1),
    "ptp": lambda a: ops.ptp(a, axis=1),
    "repeat": lambda a: ops.repeat(a, 2, axis=1) + 1,
    "scan": lambda a: ops.scan(lambda c, v: (c + v, c), a[:, 0] * 0, ops.transpose(a))[0],
    "square": ops.square,
    "subtract": lambda a: a - 2 * a[:, ::-1],
    "sum": lambda a: ops.sum(a, axis=1),
    "sum of both signs": lambda a: ops.sum(ops.concatenate([a, -a, a[:, :1]], 1), 1),
    "tensordot": lambda a: ops.tensordot(a, np.array([3, -5, 7, 1]), 1),
    "trace": lambda a: ops.trace(a[:, :, None] * np.eye(4, dtype=np.int32), axis1=1, axis2=2),
    "vander": lambda a: ops.vander(a[0], 3),
    "where": lambda a: ops.where(a > 4, a, -a) + a,
}


def _exactly(call, a):
    """The call on integers of Python, which have no largest one."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(call(a.astype(np.float64)), np.float64)
    except TypeError:  # bits
        return np.asarray(call(a), np.float64)


@pytest.mark.parametrize("most", [9, 2000, LARGE])
@pytest.mark.parametrize("name", CALLS)
def test_results_are_exact_or_an_error_names_the_operation(name, most):
    rng = np.random.default_rng(7)
    a = rng.integers(-most, most, (3, 4), endpoint=True, dtype=np.int32)
    a[a == 0] = most
    expected = _exactly(CALLS[name], a)
    x = cdl.Input((4,), dtype="int32")
    try:
        model = cdl.Model(x, CALLS[name](x))
        found = model.predict(a, verbose=0)
    except ValueError as error:
        assert "integers" in str(error)
        assert np.abs(expected).max() >= 2**23, error
        return
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_the_error_says_where_and_changes_no_weight():
    x = cdl.Input((2,), dtype="int32")
    model = cdl.Model(x, layers.Dense(1)(ops.cast(x * x, "float32")))
    model.compile("sgd", "mse")
    before = model.get_weights()
    data = np.array([[1, 2], [1, 4097], [3, 4]])
    with pytest.raises(ValueError, match=r"multiply: the result must have .* in row 1"):
        model.fit(data, np.ones(3), shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="multiply: the result must"):
        model.predict(data, verbose=0)
    model.fit(data[[0, 2]], np.ones(2), verbose=0)


def test_constants_that_float32_does_not_hold_are_refused_by_the_operation():
    x = cdl.Input((2,), dtype="int32")
    with pytest.raises(ValueError, match=r"mod: integers within a program .*got 20000003"):
        cdl.Model(x, x % 20000003).predict(np.ones((1, 2), np.int32), verbose=0)
    clipped = cdl.Model(x, ops.clip(x, 0, 2**31 - 1))
    np.testing.assert_array_equal(clipped.predict(np.array([[-1, 5]]), verbose=0), [[0, 5]])


class _Doubling(layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="ones", trainable=False, name="count"
        )
        super().build(shape)

    def call(self, x):
        twice = self.count * 4096
        assert twice.dtype == "int32"
        self.count.assign(twice)
        return x


def test_weights_of_integers_are_read_as_integers_and_stay_exact():
    layer = _Doubling()
    model = cdl.Sequential([cdl.Input((1,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((2, 1), np.float32)
    model.train_on_batch(x, x)
    assert layer.count.numpy() == 4096
    with pytest.raises(ValueError, match="multiply: the result must have integers below"):
        model.train_on_batch(x, x)
    assert layer.count.numpy() == 4096


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16"])
def test_small_integers_are_not_checked(dtype):
    x = cdl.Input((9,), dtype=dtype)
    counts = ops.sum(ops.cast(x, "int32"), axis=1) * 5 + 3
    assert "exact" not in str(cdl.Model(x, counts).program())
    wide = cdl.Input((9,), dtype="int32")
    assert "exact" not in str(cdl.Model(wide, wide + 1).program())
    assert "exact" in str(cdl.Model(wide, wide * 2).program())


def test_a_loop_over_steps_ends_where_an_integer_is_too_large():
    x = cdl.Input((), dtype="int32")
    model = cdl.Model(x, ops.fori_loop(0, 23, lambda _, v: v * 2, x))
    np.testing.assert_array_equal(model.predict(np.array([0, 1]), verbose=0), [0, 2**23])
    with pytest.raises(ValueError, match=r"multiply: .* in row 1"):
        model.predict(np.array([0, 2]), verbose=0)


SQUARES = {
    "norm": lambda a: ops.norm(a, axis=1),
    "frobenius": lambda a: ops.norm(ops.reshape(a, (-1, 2, 2)), axis=(1, 2)),
    "normalize": lambda a: ops.normalize(a, axis=1),
    "psnr": lambda a: ops.psnr(a, a * 2, 1.0) + ops.cast(a, "float32") * 0,
    "rms_normalization": ops.rms_normalization,
}


@pytest.mark.parametrize("name", SQUARES)
def test_results_of_floats_are_of_squares_of_any_integers(name):
    a = np.array([[2**20, 0, 5, -(2**20)]], np.int32)
    x = cdl.Input((4,), dtype="int32")
    want = SQUARES[name](a.astype(np.float32))
    np.testing.assert_allclose(SQUARES[name](a), want, rtol=1e-5)
    model = cdl.Model(x, SQUARES[name](x))
    np.testing.assert_allclose(model.predict(a, verbose=0), want, rtol=1e-5)


def test_sums_that_cancel_are_refused_by_the_size_of_their_terms():
    x = cdl.Input((2,), dtype="int32")
    model = cdl.Model(x, ops.einsum("ij,jk->ik", x, np.int32([[3000000], [-3000000]])))
    np.testing.assert_array_equal(model.predict(np.int32([[2, 1]]), verbose=0), [[3000000]])
    text = r"matmul \(of which .* einsum are made\): the result, and the sum of the sizes of its"
    with pytest.raises(ValueError, match=text):
        model.predict(np.int32([[5, 5]]), verbose=0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ops.sum(np.array([2**31 - 1, 1])), "sum"),
        (lambda: ops.add(np.array([2**40]), 1), "add"),
        (lambda: ops.prod(np.full(4, 2**10, "int32")), "prod"),
        (lambda: ops.negative(np.array([2**31 + 5])), "negative"),
        (lambda: ops.square(np.array([-(2**35)])), "square"),
    ],
)
def test_integers_on_arrays_that_32_bits_do_not_hold_are_refused(call, name):
    with pytest.raises(OverflowError, match=rf"^{name}: integers must be from -2147483648 to "):
        call()


def test_integers_on_arrays_up_to_32_bits_are_kept():
    held = np.array([2**31 - 1, -(2**31)])
    assert ops.flip(held).tolist() == [-(2**31), 2**31 - 1]
    assert ops.sum(held).dtype == "int32"
    assert ops.sum(np.array([2**31 - 1, 1], "float64")) == 2**31
    assert not ops.sum(np.zeros((0, 2), int), axis=0).any()


def test_a_variable_of_integers_that_32_bits_do_not_hold_is_refused():
    with pytest.raises(OverflowError, match=r"Variable: initializer: .* dtype='int64' keeps them"):
        cdl.Variable(np.array([2**40]))
    assert cdl.Variable(np.array([2**40]), dtype="int64").numpy().tolist() == [2**40]
    assert cdl.Variable(np.array([7])).dtype == "int32"


def test_large_integers_are_cast_to_floats():
    for call in (ops.cast, ops.convert_to_tensor):
        found = call(np.array([2**40, -3]), "float32")
        assert found.dtype == "float32"
        assert found.tolist() == [2**40, -3]


@pytest.mark.parametrize("bounds", [(0, 2**40), (-(2**40), 3), (5, 5)])
def test_bounds_of_randint_that_the_dtype_does_not_hold_are_refused(bounds):
    with pytest.raises(ValueError, match=rf"^randint: minval .* got {bounds[0]} and {bounds[1]}"):
        cdl.random.randint((3,), *bounds)
    assert cdl.random.randint((3,), 2**31 - 1, 2**31).tolist() == [2**31 - 1] * 3
