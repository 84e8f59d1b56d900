"""A batch of images that goes through a few samples at a time learns as one that goes at once."""

import numpy as np
import pytest
from programs import ISAS, TEAMS, learner, random_weight, weight
from windows import Window

from cdl import _core
from cdl._ir import emit
from cdl._ir.program import Program

SIDE, BATCH, ROWS = 24, 21, 37  # values of a sample: some 70,000 numbers, so micro-batches of 3


def net(seed=0):
    """Every op with weights or random numbers whose batches may be split, and data for it."""
    rng = np.random.default_rng(seed)
    program = Program()
    x = program.input((SIDE, SIDE, 16))
    kernels = [
        random_weight(rng, 9 * 20, 16),
        weight(rng.normal(size=(3, 3, 16)) / 3, matrix=False),
        random_weight(rng, 9 * 20, 16),
        random_weight(rng, 20 * (SIDE // 2) ** 2, 4),
    ]
    biases = [weight(rng.normal(size=n) * 0.1) for n in (16, 16, 20, 4)]
    same = Window((SIDE, SIDE), 3, padding="same").numbers
    half = Window((SIDE, SIDE), 2, stride=2).numbers
    drawn = emit.draw(program, "normal", (SIDE, SIDE, 4), seed=7, user_draw=0, fixed=0)
    h = program.emit("concat", [x, drawn], (SIDE, SIDE, 20), axis=2)
    h = program.emit(
        "conv",
        [h],
        x.shape,
        (kernels[0], biases[0]),
        numbers=same,
        groups=1,
        activation="plain_relu",
    )
    h = program.emit("dropout", [h], h.shape, rate=0.2, seed=1, user_draw=0)
    h = program.emit("noise", [h], h.shape, stddev=0.3, multiplies=1, seed=2, user_draw=0)
    pattern = {"common": 6, "rate": 0.2, "scale": 1.25, "shift": 0.0, "dropped": 0.0}
    h = program.emit("patterned_dropout", [h], h.shape, seed=3, user_draw=0, **pattern)
    h = program.emit("depthwise_conv", [h], h.shape, (kernels[1], biases[1]), numbers=same)
    h = program.emit("conv_transpose", [h], (SIDE, SIDE, 20), (kernels[2], biases[2]), numbers=same)
    h = program.emit("pool", [h], (SIDE // 2, SIDE // 2, 20), numbers=half, kind="max")
    h = program.emit("reshape", [h], (20 * (SIDE // 2) ** 2,))
    y = program.emit("dense", [h], (4,), (kernels[3], biases[3]))
    program.output(y)
    target, w = program.input((), "int32", "y"), program.input((), role="weight")
    program.loss("softmax_sparse_categorical_crossentropy", target, y, w)
    program.metric("sparse_categorical_accuracy", target, y, w)
    arrays = [
        rng.normal(size=(ROWS, *x.shape)).astype(np.float32),
        rng.integers(0, 4, ROWS),
        rng.uniform(0, 2, ROWS),
    ]
    return program, kernels + biases, arrays


def run(*, splits=True, steps=4, rules=None, **options):
    """The results of a training: totals, the output of the last batch, weights; and its memory."""
    program, weights, arrays = net()
    executor = _core.Executor(
        program.fused(),
        BATCH,
        training=True,
        splits=splits,
        optimizer=learner("sgd", weights),
        rules=rules or {},
        **options,
    )
    order = np.random.default_rng(5).permutation(ROWS)
    for first in range(0, steps, 2):
        executor.begin(arrays, BATCH, order)
        executor.train(2, 1e9, [0.05], first, 3)
    left = [np.array(executor.totals()), executor.output(), *[v.numpy() for v in weights]]
    return left, executor.memory()[0]


def test_is_the_step_of_a_whole_batch_in_less_memory():
    parts, memory = run(threads=1)
    whole, more = run(splits=False, threads=1)
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert memory < more / 3


@pytest.mark.parametrize("isa", ISAS)
def test_the_same_bits_at_any_number_of_threads(isa):
    alone, _ = run(isa=isa, threads=1)
    for team in TEAMS:
        for a, b in zip(run(isa=isa, **team)[0], alone, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "rules", [{"clip_norm": 0.1}, {"clip_value": 1e-3}, {"finite_only": True}], ids=str
)
@pytest.mark.parametrize("team", [{"threads": 1}, *TEAMS])
def test_what_stands_around_a_step_sees_the_gradient_of_all(rules, team):
    parts, _ = run(rules=rules, **team)
    whole, _ = run(rules=rules, splits=False)
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_kernel_of_two_layers_learns_from_both():
    def step(splits):
        rng = np.random.default_rng(0)
        program, kernel = Program(), random_weight(rng, 9 * 16, 16)
        h = program.input((SIDE, SIDE, 16))
        for _ in range(4):
            numbers = Window((SIDE, SIDE), 3, padding="same").numbers
            h = program.emit("conv", [h], h.shape, (kernel, None), numbers=numbers, groups=1)
        program.loss("mean_squared_error", program.input(h.shape, role="y"), h)
        executor = _core.Executor(
            program.fused(), 15, training=True, splits=splits, optimizer=learner("sgd", [kernel])
        )
        executor.begin([rng.normal(size=(15, *h.shape)), np.ones((15, *h.shape))], 15)
        executor.train(1, 1e9, [0.1], 0, 0)
        return kernel.numpy()

    np.testing.assert_allclose(step(True), step(False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("team", [{"threads": 1}, *TEAMS])
def test_an_evaluation_counts_each_sample_once(team):
    program, _, arrays = net()
    found = []
    for splits in (False, True):
        executor = _core.Executor(program.fused(training=False), BATCH, splits=splits, **team)
        executor.begin(arrays, BATCH)
        executor.test(2, 1e9)
        found.append((executor.totals(), executor.output()))
        predicted = executor.predict(arrays)
        np.testing.assert_allclose(predicted[BATCH:], found[-1][1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("team", [{"threads": 1}, *TEAMS])
def test_a_batch_that_ends_within_leaves_nothing_behind(team):
    class StopError(Exception):
        pass

    seen, at = 0, None

    def looks():
        nonlocal seen
        seen += 1
        if seen == at:
            raise StopError

    program, weights, arrays = net()
    executor = _core.Executor(
        program.fused(),
        ROWS,
        training=True,
        splits=True,
        optimizer=learner("sgd", weights),
        **team,
    )
    _core.answer_signals(looks, 0.0)
    try:
        executor.begin(arrays, ROWS)
        executor.train(1, 1e9, [0.05], 0, 3)
        before = [executor.totals(), *[v.numpy() for v in weights]]
        looked, cut = seen, 0
        for last in {1, 2, 3, *range(1, looked, max(1, looked // 9))}:
            seen, at = 0, last
            executor.begin(arrays, ROWS)
            with pytest.raises(StopError):
                executor.train(1, 1e9, [0.05], 1, 3)
            if executor.done:  # it was too late: the step has been made
                break
            cut += 1
            after = [executor.totals(), *[v.numpy() for v in weights]]
            for a, b in zip(after, before, strict=True):
                np.testing.assert_array_equal(a, b)
        assert cut >= 3
    finally:
        _core.answer_signals()


def test_passes_that_need_the_whole_batch_are_refused():
    program, weights, arrays = net()
    executor = _core.Executor(
        program.fused(), BATCH, training=True, splits=True, optimizer=learner("sgd", weights)
    )
    executor.begin(arrays, BATCH)
    with pytest.raises(ValueError, match="made to split"):
        executor.forward(True)
    with pytest.raises(IndexError):
        executor.batch(0)
