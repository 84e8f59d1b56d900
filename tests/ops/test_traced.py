"""test_traced.py - what functions of `cdl.ops` give as programs, and that slopes are slopes."""

import numpy as np
import pytest
from ops_table import CALLS, TIES
from oracle import Oracle, central_differences
from programs import dense, pull_back, weight
from traced import of_samples, run, traced

from cdl import ops, tree
from cdl._operation import ROWS
from cdl._program import Program

# Calls in which a shape names the number of samples, which must be known then.
FIXED = ("reshape", "broadcast_to", "slice")
# Differences say nothing: the function jumps, or what is compared is at a corner.
CORNERS = {"digitize", "round", "mod", "floor_divide", "fmod", "trunc", "floor", "ceil", "sign"}


def cases(wanted):
    found = []
    for name, calls in CALLS.items():
        for i, call in enumerate(calls):
            function, arrays = of_samples(getattr(ops, name), call)
            if arrays and wanted(name, call, arrays):
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


def has_slopes(name, call, arrays):
    floats = all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays)
    twice = len(tree.flatten(list(call.args))) > len(arrays) and name in ("maximum", "minimum")
    ties = any(a is TIES.array for a in arrays)
    return floats and not ties and not twice and name not in CORNERS


@pytest.mark.parametrize(("name", "function", "arrays"), cases(has_slopes))
def test_slopes_are_slopes(name, function, arrays):
    if not is_traced(name, function, arrays):
        return
    graph = traced(function, arrays, name in FIXED)
    program, rows = Program(), len(arrays[0])
    eye = program.input((rows,))
    values = [dense(program, eye, weight(a.reshape(rows, -1))) for a in arrays]
    values = [
        program.emit("reshape", [v], a.shape[1:]) for v, a in zip(values, arrays, strict=True)
    ]
    outputs = [program.spread(v) for v in tree.flatten(graph.lower(program, values))]
    flat = [program.emit("reshape", [v], (int(np.prod(v.shape)),)) for v in outputs]
    program.output(flat[0] if len(flat) == 1 else program.emit("concat", flat, _wide(flat), axis=0))
    dy = np.random.default_rng(1).normal(size=(rows, *program.outputs[0].shape))
    oracle = Oracle(program)

    def total():
        return (dy * oracle.forward([np.eye(rows)])[0]).sum()

    total()
    expected = {v: slope.copy() for v, slope in oracle.backward(dy).items()}
    found = pull_back(program.fused(), [np.eye(rows)], dy.astype(np.float32))[1]
    for v, slope in expected.items():
        steps = central_differences(total, oracle.weights[v])
        top = max(1.0, np.abs(steps).max())
        np.testing.assert_allclose(slope, steps, rtol=1e-4, atol=1e-5 * top)
        np.testing.assert_allclose(found[v], slope, rtol=2e-4, atol=2e-5 * top)


def _wide(values):
    return (sum(v.shape[0] for v in values),)


def test_each_function_is_listed_and_has_calls():
    for name in ROWS:
        if not hasattr(ops, name):
            continue
        assert name in CALLS or ROWS[name].untraced, f"{name}: give it a row in ops_table.py"
