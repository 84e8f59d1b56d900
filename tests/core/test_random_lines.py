"""Fusions of random expressions of lines: values, gradients and bits, fused and as they stand."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import ISAS, activation, gradients, predict
from random_lines import RandomLines

import cdl
from cdl._ir.bytecode import is_of_lines
from cdl._ir.fusion import Rewriter

GROUPS = [range(first, first + 25) for first in range(0, 400, 25)]


def scored(seed):
    """A random program whose unread values are objectives."""
    graph = RandomLines(seed)
    for value in graph.ends:
        graph.program.objective(activation(graph.program, value, "tanh"), reduction="sum")
    return graph.program, graph.arrays


def forked(program):
    rewriter = Rewriter(program)
    rewriter.fork_values()
    return rewriter.result()


def agree(found, expected, plain, what):
    """Error of at most 20 times that of what is not fused, or of rounding."""
    error, unfused = (np.abs(x - expected).max(initial=0.0) for x in (found, plain))
    size = np.abs(expected).max(initial=0.01)
    assert error <= 20 * unfused + 3e-5 * size, (what, error, unfused, size)


@pytest.mark.parametrize("seeds", GROUPS)
def test_predictions_are_those_of_numpy(seeds):
    for seed in seeds:
        graph = RandomLines(seed)
        for value in graph.ends:
            graph.program.output(value)
        expected = Oracle(graph.program).forward(graph.arrays)
        fused = graph.program.fused(training=False)
        plain = predict(graph.program, graph.arrays)
        for isa in ISAS:
            found = predict(fused, graph.arrays, isa=isa)
            one = len(expected) == 1
            for k, values in enumerate(zip([found] if one else found, expected,
                                           [plain] if one else plain, strict=True)):  # fmt: skip
                agree(*values, (seed, isa, k))


@pytest.mark.parametrize("seeds", GROUPS)
def test_gradients_are_those_of_numpy(seeds):
    of_lines = 0
    for seed in seeds:
        program, arrays = scored(seed)
        oracle = Oracle(program)
        oracle.forward(arrays, training=True)
        expected = oracle.backward()
        plain, fused = gradients(forked(program), arrays), program.fused()
        of_lines += sum(i.op == "map" and is_of_lines(i.numbers) for i in fused.instructions)
        for isa in ISAS:
            found = gradients(fused, arrays, isa=isa)
            for v, gradient in expected.items():  # a weight that nothing needs is not there
                nothing = np.zeros(v.shape)
                agree(found.get(v, nothing), gradient, plain.get(v, nothing), (seed, isa))
    assert of_lines > 10


@pytest.mark.parametrize("size", [1e-17, 1e-14, 1.0, 1e13, 1e17])
@pytest.mark.parametrize("form", ["divided", "root", "rsqrt"])
def test_a_line_divided_by_its_norm_has_gradients_at_any_size(form, size):
    def unit(x):
        squares = cdl.ops.sum(x * x, axis=-1, keepdims=True)
        if form == "divided":
            return x / cdl.ops.norm(x, axis=-1, keepdims=True)
        return x / cdl.ops.sqrt(squares) if form == "root" else x * cdl.ops.rsqrt(squares)

    line = np.array([[1, 2, 4]], np.float32)
    found = cdl.grad(lambda x: cdl.ops.sum(unit(x)[:, 0]))(line * np.float32(size))
    u = (line / np.linalg.norm(line))[0]
    wanted = (np.eye(3)[0] - u[0] * u) / np.linalg.norm(line) / size
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_the_judge_agrees_with_central_differences(seed):
    program, arrays = scored(seed)
    oracle = Oracle(program)
    oracle.forward(arrays, training=True)
    found = oracle.backward()
    for v, gradient in difference_gradients(program, arrays, training=True).items():
        size = np.abs(gradient).max(initial=0.01)
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_bits_depend_on_no_isa_and_no_number_of_threads(seed):
    program, arrays = scored(seed)
    fused = program.fused()
    first = gradients(fused, arrays, threads=1)
    for isa in [isa for isa in ISAS if isa != "baseline"]:
        for threads in (1, 3):
            found = gradients(fused, arrays, isa=isa, threads=threads)
            assert all((found[v] == first[v]).all() for v in first)
