"""Geometries of windows, and programs with one, for the tests of the core."""

from __future__ import annotations

import numpy as np
from oracle import Oracle, difference_gradients
from programs import TEAMS, dense, learner, predict, pull_back, train, weight

from cdl._ir.lowering import Lowering


def placed(image, size, stride, dilation, padding):
    """The size of the map along an axis, and zeros before the image, as Keras has them."""
    reach = (size - 1) * dilation + 1
    if padding == "valid":
        return (image - reach) // stride + 1, 0
    out = -(-image // stride)
    if padding == "causal":
        return out, reach - 1
    return out, max((out - 1) * stride + reach - image, 0) // 2


class Window:
    """A window over an image: sizes, strides, dilations of each axis, and what Keras pads.

    Attributes:
        map: the sizes of the map.
        numbers: those of an instruction.
    """

    def __init__(self, image, size, stride=1, dilation=1, padding="valid"):
        axes = len(image)
        self.image = image
        self.size, strides, dilations = (
            (n,) * axes if isinstance(n, int) else n for n in (size, stride, dilation)
        )
        each = list(zip(image, self.size, strides, dilations, strict=True))
        self.map, before = zip(*(placed(*axis, padding) for axis in each), strict=True)
        self.numbers = [n for axis, b in zip(each, before, strict=True) for n in (*axis[1:], b)]


def behind_weights(shape, emit, seed=0):
    """x -> dense -> what `emit(program, x, rng)` gives, so that it hands a gradient on."""
    rng = np.random.default_rng(seed)
    program, columns = Lowering(), shape[-1]
    x = program.input((*shape[:-1], 2))
    x = dense(program, x, weight(rng.normal(size=(2, columns))), weight(rng.normal(size=columns)))
    program.output(emit(program, x, rng))
    return program


def close(found, expected):
    top = max(np.abs(expected).max(), 1.0)  # sums of many that cancel
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=top * 1e-5)


def check(program, rows, isa=None, threads=1):
    """Output, every gradient and predictions against float64."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, *program.inputs[0].shape)).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([x], training=True)[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    derivatives = oracle.backward(dy)
    found, gradients = pull_back(program, [x], dy, isa=isa, threads=threads)
    close(found, expected)
    for v in program.variables:
        close(gradients[v], derivatives[v])
    np.testing.assert_array_equal(predict(program, [x], isa=isa), found)


def check_judge(program):
    """Check the oracle's gradients against central differences."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, *program.inputs[0].shape))
    oracle = Oracle(program)
    dy = rng.normal(size=oracle.forward([x], training=True)[0].shape)
    found = oracle.backward(dy)
    expected = difference_gradients(program, [x], dy=dy, training=True)
    for v in program.variables:
        top = np.abs(expected[v]).max()
        np.testing.assert_allclose(found[v], expected[v], rtol=1e-5, atol=1e-6 * top + 1e-9)


def check_bits(make):
    """Equal weights after training on any number of threads, equal predictions in any batch."""
    outcomes = []
    for team in ({"threads": 1}, *TEAMS):
        program = make()
        (y,) = program.outputs
        rng = np.random.default_rng(3)
        x = rng.normal(size=(40, *program.inputs[0].shape)).astype(np.float32)
        target = rng.normal(size=(40, *y.shape)).astype(np.float32)
        once = predict(program, [x])
        for rows in (1, 5, 33):
            np.testing.assert_array_equal(predict(program, [x], rows=rows, **team), once)
        program.loss("mean_squared_error", program.input(y.shape, role="y"), y)
        optimizer = learner("adam", program.variables, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
        train(program, [x, target], optimizer, batch=40, epochs=3, **team)
        outcomes.append([v.numpy() for v in program.variables])
    for outcome in outcomes[1:]:
        for found, expected in zip(outcome, outcomes[0], strict=True):
            np.testing.assert_array_equal(found, expected)
