"""Images at other places against float64, on every ISA."""

import numpy as np
import pytest
from programs import ISAS, predict, weight
from windows import behind_weights, check, check_bits, check_judge

from cdl import _core
from cdl._ir import resizing
from cdl._ir.lowering import Lowering

CASES = {  # axes of the image and columns, axes of the result
    "1d": ((5, 2), (4,)),
    "1d_one_place": ((1, 3), (3,)),
    "2d": ((4, 3, 2), (2, 3)),
    "2d_one_column": ((3, 5, 1), (6,)),
    "2d_many_columns": ((2, 3, 17), (2, 2)),
    "3d": ((2, 3, 2, 3), (1, 2, 2)),
}


def made(name, fill, linear, seed=0):
    shape, sizes = CASES[name]

    def emit(program, x, rng):
        axes = np.array(shape[:-1])[:, None]
        at = rng.uniform(-1.6, 2.6, (len(axes), int(np.prod(sizes)))) * axes
        places = program.broadcast_batch(program.param(weight(at, matrix=False)))
        return resizing.resample(program, x, places, sizes, linear=linear, fill=fill, value=0.7)

    return behind_weights(shape, emit, seed)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("fill", resizing.FILLS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, fill, linear, isa):
    check(made(name, fill, linear), 5, isa)


@pytest.mark.parametrize("fill", resizing.FILLS)
@pytest.mark.parametrize("name", CASES)
def test_the_judge_agrees_with_central_differences(name, fill):
    check_judge(made(name, fill, True))


@pytest.mark.parametrize("name", ["2d", "3d"])
def test_the_same_bits_on_any_number_of_threads(name):
    check_bits(lambda: made(name, "reflect", True))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("fill", resizing.FILLS)
def test_what_is_no_number_or_far_out_is_beyond_the_ends(fill, linear):
    program = Lowering()
    image, at = program.input((3, 1)), program.input((1, 6))
    program.output(resizing.resample(program, image, at, (6,), linear=linear, fill=fill, value=9.0))
    x = np.float32([[[1], [2], [3]]])
    far = np.float32([[[np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**40]]])
    found = predict(program, [x, far]).ravel()
    known = [9.0] if fill == "constant" else [1.0, 2.0, 3.0]
    assert np.isin(found, known).all()


@pytest.mark.parametrize(
    ("image", "at", "sizes", "fill", "expected"),
    [
        ((3,), (1, 4), (4,), 0, "x: expected one to three axes"),
        ((3, 2), (2, 4), (4,), 0, "at: expected a line for each axis"),
        ((3, 2), (1, 4), (5,), 0, "at: expected a number for each line"),
        ((3, 2), (1, 4), (4,), 5, "fill: expected"),
        ((3, 2), (1, 4), (4,), -1, "fill: expected"),
    ],
)
def test_what_does_not_fit_is_refused(image, at, sizes, fill, expected):
    program = Lowering()
    values = program.input(image), program.input(at)
    attributes = {"linear": 1, "fill": fill, "value": 0.0}
    program.output(program.emit("resample", values, (*sizes, image[-1]), **attributes))
    with pytest.raises(ValueError, match=expected):
        _core.Executor(program, 1)
