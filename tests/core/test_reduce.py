"""Reductions and broadcasting: every kind, axis and layout."""

import numpy as np
import pytest
from ops_cases import ROWS, check
from oracle_ops import REDUCE

from cdl import _core
from cdl._ir import emit as ir_emit
from cdl._ir.program import Program

SHAPES = [(1,), (17,), (3, 1), (1, 3), (4, 5), (3, 33), (2, 3, 5), (4, 1, 1), (2, 3, 2, 4)]


def axes_of(rank):
    """Every set of axes."""
    return [[a for a in range(rank) if bits >> a & 1] for bits in range(1, 2**rank)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", REDUCE)
def test_reductions_over_every_set_of_axes(kind, shape):
    keepdims = kind in ("sum", "max")
    x = np.random.default_rng(0).normal(size=(ROWS, *shape))
    for axes in axes_of(len(shape)):
        check(
            [x],
            lambda program, v, axes=axes: ir_emit.reduce(program, kind, v, axes, keepdims),
            lambda a, axes=axes: REDUCE[kind](a, tuple(n + 1 for n in axes), keepdims=keepdims),
            rtol=1e-5,
        )


@pytest.mark.parametrize("kind", ["max", "min", "prod"])
def test_equal_ones_share_and_zeros_have_gradients(kind):
    rng = np.random.default_rng(1)
    for shape in [(6,), (3, 4), (40,)]:
        x = rng.integers(0, 3, (ROWS, *shape)).astype(float)
        # at ties central differences are no judge, but the oracle is, which shares
        program_axes = list(range(len(shape)))
        for axes in ([0], program_axes):
            found = gradients_of(kind, x, axes)
            expected = shares(kind, x, tuple(a + 1 for a in axes))
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def gradients_of(kind, x, axes):
    from programs import pull_back, scores_program

    def emit(program, scores):
        value = program.emit("reshape", [scores], x.shape[1:])
        value = ir_emit.reduce(program, kind, value, axes)
        program.output(value)

    program = scores_program(x.reshape(ROWS, -1), emit)
    gradient = pull_back(program, [np.eye(ROWS)], 1.0)[1][program.variables[0]]
    return gradient.reshape(x.shape)


def shares(kind, x, axes):
    if kind == "prod":
        out = np.empty(x.shape)
        for at in np.ndindex(x.shape):
            others = x.copy()
            others[at] = 1
            whole = others.prod(axes, keepdims=True)
            out[at] = np.broadcast_to(whole, x.shape)[at]
        return out
    y = REDUCE[kind](x, axes, keepdims=True)
    return (x == y) / (x == y).sum(axes, keepdims=True)


@pytest.mark.parametrize("kind", REDUCE)
def test_a_nan_is_the_result_and_infinities_are_numbers(kind):
    rng = np.random.default_rng(2)
    for shape, axis in [((37,), 0), ((3, 20), 0), ((3, 20), 1)]:
        x = rng.normal(size=(3, *shape)).astype(np.float32)
        x[0].flat[5], x[1].flat[7] = np.nan, np.inf
        program = Program()
        program.output(ir_emit.reduce(program, kind, program.input(shape), [axis]))
        found = _core.Executor(program, 3).predict([x])
        np.testing.assert_allclose(found, REDUCE[kind](x, axis + 1), rtol=1e-5)


def test_long_sums_keep_their_accuracy():
    x = np.random.default_rng(3).uniform(size=(2, 100_000)).astype(np.float32)
    program = Program()
    program.output(ir_emit.reduce(program, "mean", program.input((100_000,))))
    found = _core.Executor(program, 2).predict([x])
    np.testing.assert_allclose(found, x.mean(1, dtype=np.float64), rtol=1e-5)


CASES = [
    ((), (3,)),
    ((1,), (17,)),
    ((1,), (4, 1)),
    ((5,), (3, 5)),
    ((5,), (2, 3, 5)),
    ((1, 5), (4, 5)),
    ((4, 1), (4, 5)),
    ((4, 1), (4, 33)),
    ((1, 1), (4, 5)),
    ((2, 1, 3), (2, 4, 3)),
    ((2, 1, 1), (2, 4, 3)),
    ((1, 4, 1), (2, 4, 3)),
    ((1, 4, 3), (2, 4, 3)),
    ((2, 1, 3, 1), (2, 5, 3, 4)),
    ((1, 5, 1, 4), (2, 5, 3, 4)),
    ((2, 1, 1, 4), (2, 5, 3, 4)),
    ((3, 1), (2, 3, 70)),
]


@pytest.mark.parametrize(("shape", "to"), CASES, ids=str)
def test_broadcasting_repeats_and_adds_up(shape, to):
    x = np.random.default_rng(4).normal(size=(ROWS, *shape))
    aligned = (ROWS, *(1,) * (len(to) - len(shape)), *shape)
    check(
        [x],
        lambda program, v: ir_emit.broadcast(program, v, to),
        lambda a: np.broadcast_to(a.reshape(aligned), (ROWS, *to)),
    )


def test_shapes_that_do_not_broadcast_are_refused():
    assert ir_emit.broadcast_shapes([(3, 1), (4,), ()]) == (3, 4)
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        ir_emit.broadcast_shapes([(3,), (4,)])
    program = Program()
    program.output(program.emit("broadcast", [program.input((3,))], (6,)))
    with pytest.raises(ValueError, match=r"instruction 0 \(broadcast\): x: expected axes"):
        _core.Executor(program, 1)


@pytest.mark.parametrize(
    "sizes", [(2, 3, 1), (1, 3, 2), (1, 2, 3), (0, 3, 1), (-1, -3, 1), (1, 1, 1), (2**62,) * 3]
)
def test_a_reduction_that_does_not_fit_is_refused(sizes):
    program = Program()
    x = program.input((3,))
    outer, n, inner = sizes
    program.output(program.emit("reduce", [x], (), kind="sum", outer=outer, n=n, inner=inner))
    with pytest.raises(ValueError, match=r"instruction 0 \(reduce\): .*expected"):
        _core.Executor(program, 1)
