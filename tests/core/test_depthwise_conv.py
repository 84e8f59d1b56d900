"""A kernel for each column: values and gradients against float64."""

import numpy as np
import pytest
from programs import ISAS, weight
from windows import Window, behind_weights, check, check_bits, check_judge

from cdl import _core

CASES = {
    "1d": (Window((11,), 3), 5),
    "1d_causal": (Window((9,), 3, dilation=2, padding="causal"), 16),
    "2d": (Window((6, 7), 3, padding="same"), 20),
    "2d_one_column": (Window((6, 5), 3, padding="same"), 1),
    "2d_one_row": (Window((1, 9), (1, 2), stride=(1, 2)), 1),
    "2d_two_panels": (Window((4, 5), 3, padding="same"), 130),
    "2d_stride": (Window((7, 8), 3, stride=2, padding="same"), 33),
    "2d_stride_one_column": (Window((7, 8), 3, stride=2, padding="same"), 1),
    "2d_stride_and_dilation": (Window((11, 9), 3, stride=(3, 2), dilation=(2, 3)), 17),
    "2d_window_over_image": (Window((3, 2), 5, padding="same"), 3),
    "2d_boxes": (Window((20, 21), 3, padding="same"), 7),
    "3d": (Window((4, 6, 5), (2, 3, 2), stride=(1, 2, 1), padding="same"), 7),
}


def made(name, bias=True, **attributes):
    window, columns = CASES[name]

    def emit(program, x, rng):
        kernel = weight(rng.normal(size=(*window.size, columns)), matrix=False)
        params = kernel, weight(rng.normal(size=columns)) if bias else None
        shape = (*window.map, columns)
        return program.emit(
            "depthwise_conv", [x], shape, params, numbers=window.numbers, **attributes
        )

    return behind_weights((*window.image, columns), emit)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, isa):
    check(made(name), 19, isa)
    check(made(name, bias=False, activation="tanh"), 3, isa)


@pytest.mark.parametrize("name", CASES)
def test_the_judge_agrees_with_central_differences(name):
    check_judge(made(name))


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_any_number_of_threads_and_in_any_batch(name):
    check_bits(lambda: made(name, activation="tanh"))


def test_a_kernel_that_is_a_factor_of_products_or_has_other_columns_is_refused():
    window, columns = CASES["2d"]
    for shape, matrix in [((3, 3, columns), True), ((3, 3, columns + 1), False), ((0,), False)]:

        def emit(program, x, rng, shape=shape, matrix=matrix):
            params = weight(np.ones(shape), matrix=matrix), None
            numbers = window.numbers
            return program.emit(
                "depthwise_conv", [x], (*window.map, columns), params, numbers=numbers
            )

        with pytest.raises(ValueError, match="instruction 1"):
            _core.Executor(behind_weights((*window.image, columns), emit), 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ["plain_relu", "tanh"])
@pytest.mark.parametrize("name", ["1d", "2d_two_panels", "2d_stride_one_column"])
def test_the_gradient_of_an_activation_before_it_is_taken_with_the_gradient(name, activation, isa):
    program = made(name)
    program.instructions[0].attributes["activation"] = activation
    check(program, 19, isa)
