"""NumPy's results at infinities, NaN, zeros of both signs, the largest and the smallest numbers.

Every function of `cdl.ops` that is a ufunc of NumPy, on arrays and compiled. Denormal numbers are
left out: the core takes them for zero.
"""

import inspect

import numpy as np
import pytest

import cdl
from cdl import ops

EXTREMES = np.array(
    [
        *(np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 7.0, -3.0),
        *(1e-30, -1e-30, 3e38, -3e38, 1e10, -1e10, 88.0, -88.0, 104.0, -104.0, 0.99999, 1.00001),
    ],
    np.float32,
)
PAIRS = tuple(each.ravel() for each in np.meshgrid(EXTREMES, EXTREMES))
# Functions of whole numbers alone, or with two results.
LEFT_OUT = {
    "invert",
    "gcd",
    "lcm",
    "divmod",
    "modf",
    "frexp",
    "ldexp",
    "matmul",
    "vecdot",
    "nextafter",
}
UFUNCS = [
    name
    for name in dir(ops)
    if isinstance(getattr(np, name, None), np.ufunc)
    and not name.startswith(("bitwise", "left", "right"))
    and name not in LEFT_OUT
    and inspect.isroutine(getattr(ops, name))
]


def _compiled(function, arrays):
    inputs = [cdl.Input((a.size,)) for a in arrays]
    model = cdl.Model(inputs, function(*inputs))
    return model.predict([a[None] for a in arrays], verbose=0)[0]


def _assert_as_numpy(found, wanted):
    found = np.asarray(found).astype(wanted.dtype)
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(found[np.isinf(wanted)], wanted[np.isinf(wanted)])
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=2e-5, atol=2e-8)


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_function_is_numpys_at_extremes(name):
    arrays = PAIRS if getattr(np, name).nin == 2 else (EXTREMES,)
    wanted = getattr(np, name)(*arrays)
    _assert_as_numpy(getattr(ops, name)(*arrays), wanted)
    try:
        compiled = _compiled(getattr(ops, name), arrays)
    except ValueError as error:
        assert "it has no instruction" in str(error)
        return
    _assert_as_numpy(compiled, wanted)


def test_ufuncs_are_found():
    assert {"logaddexp", "logaddexp2", "hypot", "floor_divide", "power", "signbit"} < set(UFUNCS)


LINES = np.array(
    [
        *([-np.inf] * 3, [np.inf] * 3, [np.inf, -np.inf, 0], [np.nan, 0, 1], [-np.inf, 0, 1]),
        *([-np.inf, -np.inf, 2], [1e8, 1e8 + 8, 1e8 + 16], [1e-10] * 3),
    ],
    np.float32,
)


def _logsumexp(x, axis):
    return np.logaddexp.reduce(x, axis=axis)


def _median(x, axis):  # NumPy's finds NaN between equal infinities
    return np.where(np.isnan(x).any(axis), np.nan, np.sort(x, axis)[:, x.shape[axis] // 2])


@pytest.mark.parametrize("name", ["logsumexp", "mean", "median", "var", "std", "max", "min"])
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_reduction_is_that_of_doubles_at_extremes(name):
    reference = {"logsumexp": _logsumexp, "median": _median}.get(name) or getattr(np, name)
    wanted = reference(LINES.astype(np.float64), axis=1).astype(np.float32)
    x = cdl.Input((3,))
    model = cdl.Model(x, getattr(ops, name)(x, axis=-1))
    for found in (getattr(ops, name)(LINES, axis=-1), model.predict(LINES, verbose=0)):
        _assert_as_numpy(np.asarray(found).reshape(-1), wanted)


def test_gradients_where_two_numbers_are_equal_share_it():
    for function in (ops.logaddexp, ops.logaddexp2, ops.hypot):
        gradient = cdl.grad(lambda a, b, f=function: ops.sum(f(a, b)))
        ones = np.ones((1, 2), np.float32)
        share = 0.5**0.5 if function is ops.hypot else 0.5
        np.testing.assert_allclose(gradient(ones, ones), share, rtol=1e-6)


def test_a_lost_gradient_is_no_nan_at_minus_infinity():
    gradient = cdl.grad(lambda a, b: ops.sum(ops.logaddexp(a, b)))
    a, b = np.array([[-np.inf, -np.inf, 0.0]], "f4"), np.array([[-np.inf, 0.0, 0.0]], "f4")
    np.testing.assert_allclose(gradient(a, b), [[0.5, 0.0, 0.5]])
