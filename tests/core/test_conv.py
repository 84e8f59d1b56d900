"""Convolutions, also transposed: values and gradients against float64."""

import numpy as np
import pytest
from programs import ISAS, dense, gradient_keeper, kept, predict, weight
from windows import Window, behind_weights, check, check_bits, check_judge

from cdl import _core
from cdl._ir.program import Program


class Case(Window):
    """A convolution: a window, columns of the image and the map, and groups."""

    def __init__(self, image, c, f, size, *, groups=1, **window):
        super().__init__(image, size, **window)
        self.c, self.f, self.groups = c, f, groups

    def params(self, rng, bias):
        shape = (*self.size, self.c // self.groups, self.f)
        kernel = weight(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])))
        return kernel, weight(rng.normal(size=bias)) if bias else None

    def program(self, bias=True, **attributes):
        def emit(program, x, rng):
            params = self.params(rng, self.f if bias else 0)
            shape, window = (*self.map, self.f), {"numbers": self.numbers, "groups": self.groups}
            return program.emit("conv", [x], shape, params, **window, **attributes)

        return behind_weights((*self.image, self.c), emit)

    def transposed(self, bias=True, **attributes):
        """The transposed one: the map is given."""

        def emit(program, x, rng):
            params = self.params(rng, self.c if bias else 0)
            shape = (*self.image, self.c)
            return program.emit(
                "conv_transpose", [x], shape, params, numbers=self.numbers, **attributes
            )

        return behind_weights((*self.map, self.f), emit)

    @property
    def size_of_kernel(self):
        return np.prod(self.size) * self.c * self.f


CASES = {
    "1d": Case((11,), 3, 5, 3),
    "1d_causal": Case((9,), 2, 4, 3, dilation=2, padding="causal"),
    "1d_one_column": Case((12,), 1, 1, 4, padding="same"),
    "2d": Case((6, 7), 3, 5, 3),
    "2d_same": Case((5, 8), 3, 20, 3, padding="same"),
    "2d_even": Case((5, 6), 2, 3, (2, 4), padding="same"),
    "2d_stride": Case((7, 8), 3, 4, 3, stride=2, padding="same"),
    "2d_stride_valid": Case((9, 11), 2, 3, (3, 2), stride=(3, 4)),
    "2d_stride_over_all": Case((8, 9), 2, 3, 1, stride=3),
    "2d_dilation": Case((9, 8), 2, 17, 3, dilation=(2, 3), padding="same"),
    "2d_stride_and_dilation": Case((9, 11), 3, 4, 3, stride=(2, 3), dilation=(3, 2)),
    "2d_stride_divides_dilation": Case((9, 11), 2, 4, 3, stride=2, dilation=4, padding="same"),
    "2d_window_over_image": Case((3, 2), 2, 4, 7, padding="same"),
    "2d_one_channel": Case((9, 9), 1, 33, 3, padding="same"),
    "2d_one_filter": Case((6, 5), 18, 1, 3, padding="same"),
    "2d_one_of_each": Case((6, 5), 1, 1, 3, padding="same"),
    "2d_read_in_place": Case((14, 31), 3, 16, 3),
    "2d_one_filter_read_in_place": Case((9, 31), 1, 1, (1, 5)),
    "2d_one_tap": Case((5, 4), 16, 18, 1),
    "2d_wide": Case((3, 4), 65, 130, 3, padding="same"),
    "2d_winograd": Case((5, 6), 33, 70, 3, padding="same"),
    "2d_winograd_valid": Case((7, 8), 64, 35, 3),
    "2d_winograd_wide": Case((6, 6), 128, 130, 3, padding="same"),
    "2d_winograd_deep": Case((6, 6), 160, 200, 3, padding="same"),
    "3d_winograd": Case((2, 5, 4), 40, 48, (1, 3, 3), padding="same"),
    "2d_deep": Case((3, 4), 600, 20, 3, padding="same"),
    "2d_deep_map": Case((3, 4), 20, 600, 3, padding="same"),
    "2d_one_tap_deep": Case((2, 2), 1700, 5, 1),
    "2d_chunks": Case((20, 21), 3, 4, 3, padding="same"),
    "2d_groups": Case((5, 6), 6, 9, 3, groups=3, padding="same"),
    "2d_groups_of_lines": Case((5, 6), 32, 64, 3, groups=2, stride=2),
    "2d_groups_over_panels": Case((3, 3), 10, 150, 2, groups=5),
    "2d_each_by_itself": Case((4, 4), 17, 17, 3, groups=17, padding="same"),
    "2d_one_column_groups": Case((4, 4), 4, 2, 2, groups=2),
    "3d": Case((4, 3, 5), 2, 5, 3, padding="same"),
    "3d_stride": Case((5, 6, 4), 3, 4, (3, 2, 1), stride=(2, 3, 1)),
    "3d_dilation": Case((5, 6, 7), 2, 3, 2, dilation=(1, 2, 3), padding="same"),
}


WAYS = [(name, "program") for name in CASES]
WAYS += [(name, "transposed") for name, case in CASES.items() if case.groups == 1]


def made(name, way, **options):
    return getattr(CASES[name], way)(**options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_values_and_gradients(name, way, isa):
    check(made(name, way), 19, isa)
    check(made(name, way, bias=False, activation="tanh"), 3, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["2d", "2d_read_in_place", "2d_one_filter_read_in_place"])
def test_windows_within_the_image_with_relu_in_the_product(name, isa):
    check(made(name, "program", activation="plain_relu"), 19, isa)


@pytest.mark.parametrize(
    ("name", "way"), [way for way in WAYS if CASES[way[0]].size_of_kernel < 2000]
)
def test_the_judge_agrees_with_central_differences(name, way):
    check_judge(made(name, way))


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_the_same_bits_on_any_number_of_threads_and_in_any_batch(name, way):
    check_bits(lambda: made(name, way, activation="tanh"))


def test_an_activation_behind_it_is_fused_and_its_gradient_taken_by_a_product_behind_both():
    program = CASES["2d_same"].program()
    (x,) = program.outputs
    x = program.emit("activation", [x], x.shape, kind="plain_relu")
    rng = np.random.default_rng(4)
    program.outputs[:] = [dense(program, x, weight(rng.normal(size=(x.shape[-1], 3))))]
    assert [i.op for i in program.fused().instructions] == ["dense", "conv", "dense"]
    check(program.fused(), 19)


def test_numbers_of_a_transposed_one_that_no_window_sees_are_its_bias():
    case = Case((12,), 3, 2, 2, stride=5)  # windows see 0 1, 5 6, 10 11
    program = case.transposed(activation="tanh")
    check(program, 3)
    bias = program.variables[-1].numpy()
    y = predict(program, [np.ones((1, 3, 2), np.float32)])
    for unseen in (2, 3, 4, 7, 8, 9):
        np.testing.assert_allclose(y[0, unseen], np.tanh(bias), rtol=1e-6)


WRONG = {
    "a number too few": {"numbers": (2, 1, 1, 0)},
    "numbers of another axis": {"numbers": (2, 1, 1, 0) * 2 + (1,)},
    "a size of 0": {"numbers": (0, 1, 1, 0, 1)},
    "a stride of 0": {"numbers": (2, 0, 1, 0, 1)},
    "a dilation of 0": {"numbers": (2, 1, 0, 0, 1)},
    "half a stride": {"numbers": (2, 1.5, 1, 0, 1)},
    "not a number": {"numbers": (2, 1, 1, np.nan, 1)},
    "a size beyond all memory": {"numbers": (2.0**60, 1, 1, 0, 1)},
    "no group": {"numbers": (2, 1, 1, 0, 0)},
    "groups that do not divide": {"numbers": (2, 1, 1, 0, 3)},
    "half a group": {"numbers": (2, 1, 1, 0, 1.5)},
    "a kernel of other columns": {"kernel": (2, 4, 7)},
    "a kernel of other taps": {"kernel": (3, 4, 6)},
    "a bias of other columns": {"bias": (5,)},
    "a bias that is a matrix": {"bias": (1, 6)},
    "a map of other columns": {"y": (8, 5)},
    "a map of other axes": {"y": (2, 4, 6)},
    "no axis": {"x": (4,), "y": (6,), "numbers": (1,)},
    "four axes": {"x": (1, 1, 1, 9, 4), "y": (1, 1, 1, 8, 6), "numbers": (1, 1, 1, 0) * 4 + (1,)},
}


def executor(x=(9, 4), y=(8, 6), numbers=(2, 1, 1, 0, 1), kernel=(2, 4, 6), bias=(6,), **options):
    program = Program()
    params = weight(np.ones(kernel)), weight(np.ones(bias))
    x = program.input(x)
    *numbers, groups = numbers
    program.output(program.emit("conv", [x], y, params, numbers=numbers, groups=groups, **options))
    return _core.Executor(program, 2)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_convolution_is_refused(what):
    executor()
    with pytest.raises(ValueError):
        executor(**WRONG[what])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("way", ["program", "transposed"])
@pytest.mark.parametrize("activation", ["plain_relu", "tanh"])
@pytest.mark.parametrize("name", ["1d", "2d_wide", "2d_one_of_each", "2d_stride", "2d_groups"])
def test_the_gradient_of_an_activation_before_it_is_taken_with_the_gradient(
    name, activation, way, isa
):
    if way == "transposed" and CASES[name].groups > 1:
        return
    program = made(name, way)
    program.instructions[0].attributes["activation"] = activation
    check(program, 19, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_gradient_is_clipped_by_the_norm_of_what_is_no_pad(name, way, isa):
    rng = np.random.default_rng(5)
    program = made(name, way)
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(
        program, 3, training=True, optimizer=optimizer, isa=isa, rules={"clipnorm": 1e-3}
    )
    executor.begin([rng.normal(size=(3, *program.inputs[0].shape)).astype(np.float32)], 3)
    executor.forward(True)
    executor.backward(rng.normal(size=(3, *program.outputs[0].shape)).astype(np.float32), 1.0, 0)
    for gradient in kept(optimizer).values():
        np.testing.assert_allclose(np.linalg.norm(gradient), 1e-3, rtol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_windows_that_lie_anywhere(seed):
    """Windows include those of no layer: before, behind and beyond the image, of any stride."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    case = Case(tuple(rng.integers(1, 9 - axes, axes)), *rng.choice([1, 2, 3, 5, 17, 33], 2), 1)
    case.size, case.map = (tuple(rng.integers(1, 5, axes)) for _ in range(2))
    stride, dilation = rng.integers(1, 5, axes), rng.integers(1, 4, axes)
    before = rng.integers(-2, 6, axes)
    numbers = np.stack([case.size, stride, dilation, before], 1)
    case.numbers = [int(n) for n in numbers.ravel()]
    check(case.program(), 3)
    check(case.transposed(), 3)
