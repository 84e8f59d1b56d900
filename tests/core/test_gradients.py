"""Whole small programs: every gradient against central differences."""

import numpy as np
import pytest
import references as reference
from oracle import difference_gradients
from programs import ISAS, activation, dense, gradients, pull_back, random_weight, weight

from cdl import _core
from cdl._ir.program import Program

ROWS = 9


def close(found, expected):
    for v, gradient in expected.items():
        top = max(
            np.abs(gradient).max(), 0.1
        )  # a bias before a normalization: exactly 0 in float64
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=2e-5 * top)


def check_output(program, x, *, threads=1, isa=None):
    """Gradients of sum(dy * output), as the program stands and fused."""
    dy = np.random.default_rng(9).normal(size=(ROWS, *program.outputs[0].shape)).astype(np.float32)
    expected = difference_gradients(program, [x], dy=dy, training=True)
    for form in (program, program.fused()):
        close(pull_back(form, [x], dy, threads=threads, isa=isa)[1], expected)


def between(rng, shape, emit, k=4, n=3):
    """A dense layer, what emit gives, another dense layer: the first learns through the second."""
    program = Program()
    x = program.input((*shape, k))
    x = dense(program, x, random_weight(rng, k, 5), weight(rng.normal(size=5) * 0.3))
    x = emit(program, x)
    x = dense(program, x, random_weight(rng, x.shape[-1], n), weight(rng.normal(size=n)))
    program.output(x)
    return program


def data(rng, *shape):
    return rng.normal(size=(ROWS, *shape)).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_through_every_activation(name, isa):
    for parameters in reference.activation_parameters(name):
        rng = np.random.default_rng(1)

        def emit(program, x, parameters=parameters):
            return activation(program, x, name, **parameters)

        check_output(between(rng, (), emit), data(rng, 4), isa=isa)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_through_softmax_on_the_last_axis(shape, threads):
    rng = np.random.default_rng(2)
    program = between(rng, shape, lambda p, x: p.emit("softmax", [x], x.shape))
    check_output(program, data(rng, *shape, 4), threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(10,), (5, 2), (10, 1), (1, 10)])
def test_through_reshape(shape, threads):
    rng = np.random.default_rng(3)
    program = between(rng, (2,), lambda p, x: p.emit("reshape", [x], shape))
    check_output(program, data(rng, 2, 4), threads=threads)


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_through_batch_normalization(shape, scaled, frozen):
    rng = np.random.default_rng(4)
    moving = [weight(rng.normal(size=5)), weight(rng.uniform(0.5, 2, 5))]
    affine = [weight(rng.uniform(0.5, 2, 5)), weight(rng.normal(size=5))] if scaled else [None] * 2
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": frozen}

    def emit(program, x):
        x = program.emit("batch_norm", [x], x.shape, affine + moving, **attributes)
        return activation(program, x, "tanh")

    program = between(rng, shape, emit)
    x, dy = data(rng, *shape, 4), data(rng, *shape, 3)
    learn = [v for v in program.variables if v not in set(moving)]
    expected = difference_gradients(program, [x], dy=dy, learn=learn, training=True)
    for threads in (1, 3):
        found = pull_back(program, [x], dy, threads=threads)[1]
        close(found, expected)


@pytest.mark.parametrize("scaled", [True, False])
def test_through_batch_renormalization_with_r_and_d_as_constants(scaled):
    """Clipped to one number each, they are constants to the differences too."""
    rng = np.random.default_rng(7)
    moving = [weight(rng.uniform(0.5, 2, 5)) for _ in range(5)]
    moving[3].assign(rng.normal(size=5) + 100)  # so that d is at its bound
    affine = [weight(rng.uniform(0.5, 2, 5)), weight(rng.normal(size=5))] if scaled else [None] * 2
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    numbers = (0.8, 1.3, 1.3, 0.4)

    def emit(program, x):
        params = affine + moving
        x = program.emit("batch_norm", [x], x.shape, params, data=numbers, **attributes)
        return activation(program, x, "tanh")

    program = between(rng, (3,), emit)
    x, dy = data(rng, 3, 4), data(rng, 3, 3)
    learn = [v for v in program.variables if v not in set(moving)]
    expected = difference_gradients(program, [x], dy=dy, learn=learn, training=True)
    for threads in (1, 3):
        close(pull_back(program, [x], dy, threads=threads)[1], expected)


@pytest.mark.parametrize("widths", [(4, 1, 3), (4, 5, 1), (1, 5, 3), (1, 1, 1), (4, 65, 17)])
def test_through_layers_of_one_and_of_many_units(widths):
    rng = np.random.default_rng(5)
    program = Program()
    k, m, n = widths
    x = program.input((k,))
    h = activation(program, dense(program, x, random_weight(rng, k, m), weight(np.ones(m))), "tanh")
    y = dense(program, h, random_weight(rng, m, n), weight(np.zeros(n)))
    program.output(activation(program, y, "sigmoid"))
    check_output(program, data(rng, k))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5,), (1,), (2, 4)])
@pytest.mark.parametrize("name", _core.LOSSES)
def test_of_every_loss_with_weights(name, shape, isa):
    rng = np.random.default_rng(6)
    for parameters in reference.loss_parameters(name):
        program = Program()
        x = program.input((*shape[:-1], 3))
        h = dense(program, x, random_weight(rng, 3, 4), weight(rng.normal(size=4)))
        h = activation(program, h, "tanh")
        y = dense(program, h, random_weight(rng, 4, shape[-1]), weight(np.zeros(shape[-1])))
        if reference.takes_probabilities(name):
            y = activation(program, y, "sigmoid")
        sparse = reference.takes_classes(name)
        target = program.input(
            shape[:-1] if sparse else shape, "int32" if sparse else "float32", "y"
        )
        program.loss(name, target, y, program.input((), role="weight"), scale=3.0, **parameters)
        lines = ROWS * int(np.prod(shape[:-1]))
        t = reference.loss_arguments(name, lines, shape[-1], rng)[0]
        arrays = [
            data(rng, *shape[:-1], 3),
            t.reshape(ROWS, *target.shape),
            rng.uniform(0, 2, ROWS),
        ]
        expected = difference_gradients(program, arrays)
        for form in (program, program.fused()):
            for threads in (1, 3):
                close(gradients(form, arrays, isa=isa, threads=threads), expected)
