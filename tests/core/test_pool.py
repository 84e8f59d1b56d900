"""The largest, sum and mean of windows against float64, on every ISA."""

import numpy as np
import pytest
from programs import ISAS, predict, pull_back, weight
from windows import Window, behind_weights, check, check_bits, check_judge

from cdl import _core
from cdl._ir.program import Program


def shares(image, map):
    """Places that share the image evenly."""
    window = Window(image, 1)
    window.map, window.numbers = map, [0, 1, 1, 0] * len(map)
    return window


CASES = {
    "1d": (Window((11,), 3, stride=2), 5),
    "1d_same": (Window((12,), 4, stride=3, padding="same"), 1),
    "1d_one_number": (Window((9,), 3, padding="same"), 1),
    "2d": (Window((6, 8), 2, stride=2), 33),
    "2d_left_over": (Window((7, 5), 2, stride=2), 16),
    "2d_same": (Window((7, 5), 3, stride=2, padding="same"), 3),
    "2d_overlaps": (Window((5, 6), 3, padding="same"), 17),
    "2d_one_column": (Window((6, 7), 2, stride=2), 1),
    "2d_gaps_before": (Window((5, 7), 3, stride=3, padding="same"), 18),
    "2d_gaps": (Window((9, 9), (2, 1), stride=(4, 3)), 20),
    "2d_dilation": (Window((9, 8), 2, dilation=3), 4),
    "2d_window_over_image": (Window((3, 2), 5, padding="same"), 3),
    "3d": (Window((4, 6, 5), (2, 3, 2), stride=2, padding="same"), 7),
    "1d_shares": (shares((10,), (4,)), 5),
    "2d_shares": (shares((7, 6), (3, 3)), 18),
    "2d_shares_of_one": (shares((3, 4), (5, 7)), 2),
    "3d_shares": (shares((4, 5, 6), (2, 2, 4)), 1),
}


def made(name, kind):
    window, columns = CASES[name]

    def emit(program, x, rng):
        shape = (*window.map, columns)
        return program.emit("pool", [x], shape, numbers=window.numbers, kind=kind)

    return behind_weights((*window.image, columns), emit)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, kind, isa):
    check(made(name, kind), 19, isa)


@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
@pytest.mark.parametrize("name", CASES)
def test_the_judge_agrees_with_central_differences(name, kind):
    check_judge(made(name, kind))


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_any_number_of_threads_and_in_any_batch(name, kind):
    check_bits(lambda: made(name, kind))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("columns", [1, 3, 20])
def test_the_first_of_equal_numbers_gets_the_gradient_and_nan_is_the_largest(columns, isa):
    values = np.array([[1, 1], [1, 0], [2, np.nan], [np.nan, 3], [0, 0]], np.float32)
    wanted = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    program = Program()
    eye = program.input((5,))
    x = program.emit("dense", [eye], (2 * columns,), (weight(np.repeat(values, columns, 1)), None))
    x = program.emit("reshape", [x], (2, columns))
    program.output(program.emit("pool", [x], (1, columns), numbers=[2, 2, 1, 0], kind="max"))
    arrays = [np.eye(5, dtype=np.float32)]
    kernel = program.variables[0]
    kernel.assign(np.where(np.isnan(values), 0, values).repeat(columns, 1))
    _, gradients = pull_back(program, arrays, np.float32(1), isa=isa)
    clean = ~np.isnan(values).any(1)
    expected = np.repeat(wanted, columns, 1)
    np.testing.assert_array_equal(gradients[kernel][clean], expected[clean])
    program = Program()
    x = program.input((2, columns))
    program.output(program.emit("pool", [x], (1, columns), numbers=[2, 2, 1, 0], kind="max"))
    y = predict(program, [np.repeat(values[:, :, None], columns, 2)], isa=isa)
    np.testing.assert_array_equal(y[:, 0, 0], [1, 1, np.nan, np.nan, 0])


@pytest.mark.parametrize("kind", ["min", "prod"])
def test_kinds_that_no_pool_is_of_are_refused(kind):
    program = Program()
    x = program.input((2, 3))
    program.output(program.emit("pool", [x], (1, 3), numbers=[2, 2, 1, 0], kind=kind))
    with pytest.raises(ValueError, match="instruction 0"):
        _core.Executor(program, 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("columns", [1, 20])
@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("activation", ["plain_relu", "tanh"])
def test_behind_an_activation_of_a_product(activation, kind, columns, isa):
    """The gradient is taken by the pool of largest numbers, before it spreads the gradient."""
    window = Window((6, 7), 3, stride=2, padding="same")

    def emit(program, x, rng):
        kernel = weight(rng.normal(size=(x.shape[-1], columns)))
        shape = (*x.shape[:-1], columns)
        x = program.emit("dense", [x], shape, (kernel, None), activation=activation)
        shape = (*window.map, columns)
        return program.emit("pool", [x], shape, numbers=window.numbers, kind=kind)

    check(behind_weights((*window.image, 3), emit), 19, isa)
