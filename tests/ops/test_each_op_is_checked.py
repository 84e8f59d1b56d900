"""Each function of `cdl.ops` has a recording of Keras and, if differentiable, differences."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ops_calls import CALLS

import cdl
from cdl import ops
from cdl._tracing.operation import OP_DEFS

sys.path.insert(0, str(Path(__file__).parent))

import test_array_calls
import test_image
import test_traced

RNG = np.random.default_rng(5)
X = (RNG.normal(size=(4, 3)) + np.float32(0.1)).astype(np.float32)
ODD = np.where(np.arange(12).reshape(4, 3) % 5 == 1, np.nan, X).astype(np.float32)
LABELS = np.array([0, 2, 1, 2], np.int32)


def _with_gaps(function):
    """Function of numbers some of which are missing."""
    return lambda x: function(ops.where(np.isnan(ODD), np.float32(np.nan), x))


# Functions that have no gradient checks beside those of the golden table, of images, and of calls.
MORE = {
    "outer": (lambda x: ops.outer(x[0], x[:, 1]), X),
    "kron": (lambda x: ops.kron(x[:2], x[2:]), X),
    "vdot": (lambda x: ops.vdot(x[:2], x[2:]), X),
    "vstack": (lambda x: ops.vstack([x[0], x * x]), X),
    "vsplit": (lambda x: ops.vsplit(x * x, 2), X),
    "flipud": (lambda x: ops.flipud(x) * x, X),
    "rearrange": (lambda x: ops.rearrange(x, "(a b) c -> c b a", a=2) ** 2, X),
    "psnr": (lambda x: ops.psnr(x, X * 0.5 + 1.0, 2.0), X),
    "diag": (lambda x: [ops.diag(x[0] ** 2), ops.diag(x)], X),
    "diagflat": (lambda x: ops.diagflat(x**2), X),
    "select": (lambda x: ops.select([X > 0.5, X < 0], [x * x, ops.exp(x)], 0.0), X),
    "take_along_axis": (lambda x: ops.take_along_axis(x * x, LABELS[:, None], 1), X),
    "sparse_categorical_crossentropy": (
        lambda x: ops.sparse_categorical_crossentropy(LABELS, x, from_logits=True),
        X,
    ),
    "ctc_loss": (
        lambda x: ops.ctc_loss(
            np.array([[1], [2]], np.int32),
            ops.reshape(x, (2, 2, 3)),
            np.array([1, 1], np.int32),
            np.array([2, 2], np.int32),
        ),
        X,
    ),
    "mish": (ops.mish, X),
    "sparsemax": (lambda x: ops.sparsemax(x) ** 2, X),
    "mod": (lambda x: ops.mod(x, 3.7), X + 1.3),
    "fmod": (lambda x: ops.fmod(x, 3.7), X + 1.3),
    "fmax": (lambda x: ops.fmax(x, X[::-1] + 0.3), X),
    "fmin": (lambda x: ops.fmin(x, X[::-1] + 0.3), X),
    "nancumsum": (_with_gaps(lambda x: ops.nancumsum(x, axis=1) ** 2), X),
    "nancumprod": (_with_gaps(lambda x: ops.nancumprod(x, axis=1)), X),
    "nanpercentile": (_with_gaps(lambda x: ops.nanpercentile(x, 30.0, axis=0)), X),
    **{
        name: (_with_gaps(lambda x, name=name: getattr(ops, name)(x, axis=0)), X)
        for name in ("nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar")
    },
}

NO_RECORDING = {
    "argpartition": "the order within each part is free",
    "eig": "vectors are free up to a complex factor; its values are those of NumPy",
    "mish": "not of Keras's ops",
    "sparsemax": "Keras's rows do not sum to 1; recorded among activations",
}
NO_GRADIENT = {
    "made of sizes": (
        "arange bartlett blackman empty empty_like eye full hamming hanning identity kaiser ones "
        "tri zeros"
    ),
    "integers or truths": (
        "allclose argpartition bincount bitwise_and bitwise_invert bitwise_left_shift bitwise_not "
        "bitwise_or bitwise_right_shift bitwise_xor digitize floor_divide gcd greater "
        "greater_equal in_top_k isin lcm left_shift less less_equal matrix_rank multi_hot "
        "nanargmax nanargmin nonzero one_hot right_shift searchsorted unravel_index ctc_decode"
    ),
    "none flows": "stop_gradient unique view",
    "complex": "eig polar view_as_complex view_as_real",
    "draws": "elastic_transform",
}


@pytest.mark.parametrize("name", MORE)
def test_gradients_are_those_of_differences(name):
    function, x = MORE[name]
    loss = test_array_calls.loss_of(function, x)
    value, found = cdl.value_and_grad(loss)(x)
    np.testing.assert_allclose(value, loss(x), rtol=1e-5, atol=1e-5)
    top = max(1.0, np.abs(found).max())
    expected = test_array_calls.stepped(loss, x)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3 * top)


def test_each_function_is_recorded_from_keras_and_differentiated():
    users = {
        name: f"image.{name}" if row.submodule == "image" else name
        for name, row in OP_DEFS.items()
        if row.eager.__module__.startswith("cdl.ops.")
        and not name.startswith("_")
        and row.submodule != "random"
    }
    assert {name for name, path in users.items() if path not in CALLS} == set(NO_RECORDING)
    tables = (MORE, test_array_calls.CASES, test_array_calls.WHOLE, test_image.GRADIENTS)
    checked = {key.split()[0] for table in tables for key in table}
    for case in test_traced.cases(test_traced.has_gradients):
        name, function, arrays = case.values
        if name not in checked and test_traced.is_traced(name, function, arrays):
            checked.add(name)
    without = [name for names in NO_GRADIENT.values() for name in names.split()]
    assert sorted(users.keys() - checked) == sorted(without)
