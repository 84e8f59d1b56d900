"""Dropout: share of dropped values, scale of the others, and the draw of masks."""

import numpy as np
import pytest
from programs import ISAS, WIDTHS, predict, pull_back, scores_program

from cdl import _core
from cdl._ir.program import Program


def dropout_program(shape, rate, seed=0, layers=1):
    program = Program()
    x = program.input(shape)
    for _ in range(layers):
        x = program.emit("dropout", [x], shape, rate=rate, seed=seed, user_draw=0)
    program.output(x)
    return program


def drop(x, rate=0.5, seed=0, *, iteration=0, run_seed=0, isa=None, threads=1, batch=None):
    """Dropout in training on the rows of x, as one batch or in several."""
    batch = batch or len(x)
    executor = _core.Executor(
        dropout_program(x.shape[1:], rate, seed), batch, isa=isa, threads=threads
    )
    executor.begin([x], batch)
    parts = []
    while rows := executor.forward(True, iteration, run_seed):
        parts.append(executor.output(0, rows))
        executor.skip()
    return np.concatenate(parts)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(rate):
    kept = drop(np.ones((1000, 100), np.float32), rate) != 0
    sigma = np.sqrt(rate * (1 - rate))
    assert abs(kept.mean() - (1 - rate)) < 4 * sigma / np.sqrt(kept.size)
    # no row and no column is favoured
    assert np.abs(kept.mean(0) - (1 - rate)).max() < 5 * sigma / np.sqrt(len(kept))
    assert np.abs(kept.mean(1) - (1 - rate)).max() < 5 * sigma / np.sqrt(kept.shape[1])


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (0, 16), (16, 0)])
def test_neighbours_are_dropped_independently(shift):
    kept = (drop(np.ones((512, 512), np.float32)) != 0) - 0.5
    other = np.roll(kept, shift, (0, 1))
    assert abs((kept * other).mean()) < 4 * 0.25 / 512


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", WIDTHS)
def test_what_stays_is_divided_by_the_share_that_stays(n, isa):
    x = np.random.default_rng(0).normal(size=(20, n)).astype(np.float32)
    found = drop(x, 0.2, isa=isa)
    np.testing.assert_allclose(found[found != 0], (x / 0.8)[found != 0], rtol=3e-7)


def test_every_isa_draws_the_same_mask():
    x = np.ones((20, 65), np.float32)
    masks = [drop(x, isa=isa) for isa in ISAS]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


@pytest.mark.parametrize("n", [1, 5, 16, 40])
def test_the_gradient_passes_where_the_value_passed(n):
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(50, n)), rng.normal(size=(50, n)).astype(np.float32)

    def emit(program, scores):
        program.output(program.emit("dropout", [scores], (n,), rate=0.4, seed=3, user_draw=0))

    program = scores_program(z, emit)
    output, gradients = pull_back(program, [np.eye(50)], dy, iteration=5, seed=9)
    found = gradients[program.variables[0]]
    np.testing.assert_array_equal(found == 0, output == 0)
    np.testing.assert_allclose(found, np.where(output != 0, dy / 0.6, 0), rtol=1e-6)


def test_the_mask_is_another_in_each_step_run_layer_seed_and_row():
    x = np.ones((64, 64), np.float32)
    masks = [
        drop(x),
        drop(x, iteration=1),
        drop(x, run_seed=1),
        drop(x, seed=1),
        drop(x, iteration=2**40),
        drop(x, run_seed=2**63),
        np.roll(drop(x), 1, 0),
        drop(x).T,
    ]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert 0.45 < (mask == other).mean() < 0.55


def test_the_mask_is_the_same_for_the_same_seed_step_and_layer():
    x = np.ones((64, 64), np.float32)
    first = drop(x, seed=7, iteration=11, run_seed=13)
    for threads in (1, 2, 3):
        found = drop(x, seed=7, iteration=11, run_seed=13, threads=threads)
        np.testing.assert_array_equal(found, first)


def test_two_dropouts_of_one_program_draw_two_masks():
    program = dropout_program((100,), 0.5, layers=2)
    executor = _core.Executor(program, 100)
    executor.begin([np.ones((100, 100))], 100)
    executor.forward(True)
    assert 0.7 < (executor.output(0, 100) == 0).mean() < 0.8


def test_a_training_pass_draws_a_mask_a_step():
    program = dropout_program((40,), 0.5)
    executor = _core.Executor(program, 30, training=True)
    executor.begin([np.ones((60, 40))], 30)
    executor.train(1, 100.0, [0.1], 0, 0)
    first = executor.output()
    executor.train(1, 100.0, [0.1], 1, 0)
    assert (first != executor.output()).mean() > 0.4


@pytest.mark.parametrize("run", ["predict", "test", "forward"])
def test_outside_training_nothing_is_dropped(run):
    x = np.random.default_rng(0).normal(size=(8, 21)).astype(np.float32)
    program = dropout_program((21,), 0.5)
    executor = _core.Executor(program, 8)
    executor.begin([x], 8)
    if run == "predict":
        found = predict(program, [x])
    elif run == "test":
        executor.test(1, 100.0)
        found = executor.output()
    else:
        executor.forward(False)
        found = executor.output(0, 8)
    np.testing.assert_array_equal(found, x)


def test_rate_0_drops_nothing_and_rate_1_everything():
    x = np.random.default_rng(0).normal(size=(8, 21)).astype(np.float32)
    np.testing.assert_array_equal(drop(x, 0.0), x)
    np.testing.assert_array_equal(drop(x, 1.0), np.zeros_like(x))
