"""A program that runs after each batch of training, on the weights as they have become."""

import numpy as np
import pytest
from programs import ISAS, dense, learner, mlp, weight

from cdl import _core
from cdl._ir import elementwise, emit
from cdl._ir.lowering import Lowering

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 5)).astype(np.float32)
Y = RNG.normal(size=(40, 3)).astype(np.float32)


def net():
    kernel, bias = weight(np.ones((5, 3))), weight(np.zeros(3))
    program = Lowering()
    x, y = program.input((5,)), program.input((3,))
    p = dense(program, x, kernel, bias)
    program.objective(program.map(elementwise.argument(0) * elementwise.argument(0), [p]))
    del y
    program.output(p)
    return program, [kernel, bias]


def halves(*weights):
    """A program that halves the first weight, and assigns the minima of the others to them."""
    program = Lowering()
    first, *others = weights
    half = program.map(elementwise.argument(0) * 0.5, [program.param(first)])
    program.assign(first, half)
    for each in others:
        least = emit.reduce(program, "min", program.param(each), range(len(each.shape)))
        program.assign(each, emit.broadcast(program, least, each.shape))
    return program.fused(training=False)


def stepped(run, threads=1, isa=None, after=True):
    """The weights after `run`, and those of the same steps with the program in Python's hands."""
    program, weights = net()
    other = _core.Executor(halves(*weights), 1, isa=isa) if after else None
    options = {"training": True, "threads": threads, "isa": isa, "after": other}
    executor = _core.Executor(program, 16, optimizer=learner("sgd", weights), **options)
    del other  # the executor keeps it
    executor.begin([X, Y], 16)
    run(executor, weights)
    return [each.numpy() for each in weights]


def by_hand(executor, weights):
    for i in range(3):
        executor.train(1, 100.0, [0.01], i, 0)
        weights[0].assign(0.5 * weights[0].numpy())
        weights[1].assign(np.full(3, weights[1].numpy().min()))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_runs_once_after_each_batch(threads, isa):
    expected = stepped(by_hand, threads, isa, after=False)
    found = stepped(lambda e, _: e.train(3, 100.0, [0.01], 0, 0), threads, isa)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_so_it_does_behind_a_batch_in_two_halves():
    expected = stepped(by_hand, after=False)

    def in_halves(executor, _):
        for i in range(3):
            executor.forward(True, i, 0)
            executor.backward([], 0.01, i)

    for a, b in zip(stepped(in_halves), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def scaled(w, bias):
    """A program that replaces a weight, whose rows stand for samples, by (w - bias) / 2."""
    program = Lowering()
    four = weight(np.full(3, 4.0))
    x = program.emit("feature_norm", [program.param(w)], (5, 3), (bias, four), invert=0)
    program.assign(w, x)
    return program.fused(training=False)


def scaled_steps(run, after):
    program, weights = net()
    weights[1].assign([0.5, -1.0, 2.0])
    other = _core.Executor(scaled(*weights), 1) if after else None
    options = {"training": True, "threads": 1, "after": other}
    executor = _core.Executor(program, 16, optimizer=learner("sgd", weights), **options)
    executor.begin([X, Y], 16)
    run(executor, weights)
    return [each.numpy() for each in weights]


def test_what_it_has_made_of_a_weight_follows_the_batch_that_has_just_learned():
    def by_hand(executor, weights):
        for i in range(3):
            executor.train(1, 100.0, [0.01], i, 0)
            weights[0].assign((weights[0].numpy() - weights[1].numpy()) * np.float32(0.5))

    expected = scaled_steps(by_hand, after=False)
    found = scaled_steps(lambda e, _: e.train(3, 100.0, [0.01], 0, 0), after=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)


def test_an_evaluation_leaves_the_weights():
    found = stepped(lambda e, _: e.test(3, 100.0))
    np.testing.assert_array_equal(found[0], np.ones((5, 3)))


@pytest.mark.parametrize(
    ("make", "training"),
    [
        (lambda: (mlp(RNG, [5, 3])[0], False), True),  # it has an input
        (lambda: (halves(weight(np.ones(3))), True), True),  # made for training
        (lambda: (halves(weight(np.ones(3))), False), False),  # after predictions
    ],
)
def test_what_cannot_run_after_batches_is_refused(make, training):
    after, trains = make()
    other = _core.Executor(after, 1, training=trains)
    program, weights = net()
    optimizer = learner("sgd", weights) if training else None
    with pytest.raises(ValueError, match="program"):
        _core.Executor(program, 16, training=training, optimizer=optimizer, after=other)
