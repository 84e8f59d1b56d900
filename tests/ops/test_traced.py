"""Traced functions of `cdl.ops` have the values of arrays and the right gradients."""

import numpy as np
import pytest
from ops_calls import CALLS, named
from ops_table import TIES
from oracle import Oracle, central_differences
from programs import dense, pull_back, weight
from traced import of_samples, run, traced

from cdl import ops, tree
from cdl._ir.lowering import Lowering
from cdl._tracing.operation import OP_DEFS

# Calls in which a shape names the number of samples, which must be known then.
FIXED = ("reshape", "broadcast_to", "slice")
# Differences say nothing: the function jumps, or no gradient flows although it has a gradient.
JUMPS = {"digitize", "mod", "floor_divide", "fmod", "less", "less_equal", "greater"}
JUMPS |= {"greater_equal", "stop_gradient", "fmax", "fmin", "matrix_rank", "searchsorted"}
# Functions of symmetric matrices, whose gradients are tested in test_array_calls.py.
JUMPS |= {"cholesky", "eigh"}
# Functions with a corner where their two operands are equal: differences say nothing there either.
CORNERS = {"maximum", "minimum"}


def cases(wanted):
    found = []
    for name, calls in CALLS.items():
        for i, call in enumerate(calls):
            function, arrays = of_samples(named(ops, name), call)
            if arrays and wanted(name, call, arrays, function):
                found.append(pytest.param(name, function, arrays, id=f"{name}-{i}"))
    return found


def is_traced(name, function, arrays):
    """Whether the row can be traced with these arguments."""
    try:
        traced(function, arrays, name in FIXED)
    except TypeError as error:
        assert "of a symbolic value: " in str(error)
        return False
    return True


@pytest.mark.parametrize(("name", "function", "arrays"), cases(lambda *_: True))
def test_a_program_gives_what_arrays_give(name, function, arrays):
    if not is_traced(name, function, arrays):
        return
    expected = tree.flatten(function(*arrays))
    found = run(function, arrays, name in FIXED)
    for (spec, y), wanted in zip(found, expected, strict=True):
        assert spec.dtype == np.asarray(wanted).dtype.name
        assert y.shape == np.shape(wanted)
        np.testing.assert_allclose(y, np.asarray(wanted, np.float32), rtol=3e-5, atol=3e-6)


def has_gradients(name, call, arrays, function):
    if name.startswith("image."):  # of small images, in test_image.py
        return False
    floats = all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays)
    twice = name in CORNERS and call.args[0] is call.args[1]
    ties = any(a is TIES.array for a in arrays)
    if not floats or ties or twice or name in JUMPS:
        return False
    return all(np.isfinite(y).all() for y in tree.flatten(function(*arrays)))


@pytest.mark.parametrize(("name", "function", "arrays"), cases(has_gradients))
def test_gradients_are_right(name, function, arrays):
    if not is_traced(name, function, arrays):
        return
    graph = traced(function, arrays, name in FIXED)
    program, rows = Lowering(), len(arrays[0])
    eye = program.input((rows,))
    values = [dense(program, eye, weight(a.reshape(rows, -1))) for a in arrays]
    values = [
        program.emit("reshape", [v], a.shape[1:]) for v, a in zip(values, arrays, strict=True)
    ]
    outputs = [program.broadcast_batch(v) for v in tree.flatten(graph.lower(program, values))]
    flat = [program.emit("reshape", [v], (int(np.prod(v.shape)),)) for v in outputs]
    program.output(flat[0] if len(flat) == 1 else program.emit("concat", flat, _wide(flat), axis=0))
    dy = np.random.default_rng(1).normal(size=(rows, *program.outputs[0].shape))
    oracle = Oracle(program)

    def total():
        return (dy * oracle.forward([np.eye(rows)])[0]).sum()

    total()
    expected = {v: gradient.copy() for v, gradient in oracle.backward(dy).items()}
    found = pull_back(program.fused(), [np.eye(rows)], dy.astype(np.float32))[1]
    for v, gradient in expected.items():
        if v not in found:
            assert not gradient.any()
            continue
        steps = central_differences(total, oracle.weights[v])
        top = max(1.0, np.abs(steps).max())
        np.testing.assert_allclose(gradient, steps, rtol=1e-4, atol=1e-5 * top)
        np.testing.assert_allclose(found[v], gradient, rtol=2e-4, atol=2e-5 * top)


def _wide(values):
    return (sum(v.shape[0] for v in values),)


def test_each_function_is_listed_and_has_calls():
    own = {"mish"}  # not of Keras
    for name, row in OP_DEFS.items():
        inner = name.startswith("_") or row.submodule == "random"  # functions call it, not users
        if row.eager.__module__.startswith("cdl.ops.") and not inner:
            path = f"image.{name}" if row.submodule == "image" else name
            assert named(ops, path).row is row
            assert path in CALLS or row.untraced or name in own, f"{name}: has no calls"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.diagonal(x, 0, 1, 2),
        lambda x: ops.diagonal(x, 1, 2, 1),
        lambda x: ops.trace(x, -1, 1, 2),
        lambda x: ops.digitize(x, [-0.5, 0.5]),
        lambda x: ops.digitize(x, [0.5, 0.0, -0.5]),
    ],
)
def test_what_is_no_finite_number_counts_as_in_arrays(function, value):
    x = np.random.default_rng(2).normal(size=(6, 3, 4)).astype(np.float32)
    x.reshape(-1)[::5] = value
    ((_, found),) = run(function, [x])
    np.testing.assert_allclose(found, np.asarray(function(x), np.float32), rtol=1e-6)


@pytest.mark.parametrize("function", [ops.median, lambda x, axis: ops.quantile(x, 0.2, axis)])
def test_a_quantile_of_numbers_with_a_nan_is_nan(function):
    x = np.random.default_rng(2).normal(size=(6, 5, 4)).astype(np.float32)
    x[1, 3, 2] = x[4, :, 1] = np.nan
    for axis in (1, 2, (1, 2)):
        ((_, found),) = run(lambda a, axis=axis: function(a, axis), [x])
        np.testing.assert_allclose(found, np.asarray(function(x, axis)), rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8"])
def test_relu6_of_integers_is_float32_and_relu_keeps_them(dtype):
    x = np.array([3, 9], dtype)
    assert ops.relu6(x).dtype == "float32" and ops.relu(x).dtype == dtype
    np.testing.assert_array_equal(ops.relu6(x), [3, 6])
