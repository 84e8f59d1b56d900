"""test_conv.py - convolutions: values and gradients against float64, on every ISA."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import ISAS, dense, learner, predict, pull_back, train, weight

from cdl._program import Program


class Case:
    """A convolution: the image's axes and columns, filters, and the window's numbers."""

    def __init__(self, image, c, f, size, *, stride=1, dilation=1, padding="valid", groups=1):
        axes = len(image)
        self.image, self.c, self.f, self.groups = image, c, f, groups
        self.size, self.stride, self.dilation = (
            (n,) * axes if isinstance(n, int) else n for n in (size, stride, dilation)
        )
        self.map, self.before = zip(*map(self._along, range(axes), (padding,) * axes), strict=True)

    def _along(self, d, padding):
        """The size of the map, and zeros before, as Keras has them."""
        n, stride = self.image[d], self.stride[d]
        reach = (self.size[d] - 1) * self.dilation[d] + 1
        if padding == "valid":
            return (n - reach) // stride + 1, 0
        out = -(-n // stride)
        if padding == "causal":
            return out, reach - 1
        return out, max((out - 1) * stride + reach - n, 0) // 2

    @property
    def numbers(self):
        each = zip(self.size, self.stride, self.dilation, self.before, strict=True)
        return [n for axis in each for n in axis]

    def kernel(self, rng):
        shape = (*self.size, self.c // self.groups, self.f)
        return weight(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])))

    def emit(self, program, x, rng, *, bias=True, **attributes):
        b = weight(rng.normal(size=self.f)) if bias else None
        shape, numbers = (*self.map, self.f), (*self.numbers, self.groups)
        return program.emit(
            "conv", [x], shape, (self.kernel(rng), b), numbers=numbers, **attributes
        )


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
    "2d_one_tap": Case((5, 4), 16, 18, 1),
    "2d_wide": Case((3, 4), 65, 130, 3, padding="same"),
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


def behind_weights(case, seed=0, **options):
    """x -> dense -> the convolution, so that it hands a gradient on."""
    rng = np.random.default_rng(seed)
    program = Program()
    x = program.input((*case.image, 2))
    kernel, bias = weight(rng.normal(size=(2, case.c))), weight(rng.normal(size=case.c))
    x = dense(program, x, kernel, bias)
    program.output(case.emit(program, x, rng, **options))
    return program


def close(found, expected, many):
    top = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=top * 3e-7 * np.sqrt(many + 1))


def check(program, rows, isa=None, threads=1):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, *program.inputs[0].shape)).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([x], training=True)[0]
    dy = rng.normal(size=expected.shape).astype(np.float32)
    slopes = oracle.backward(dy)
    found, gradients = pull_back(program, [x], dy, isa=isa, threads=threads)
    close(found, expected, 100)
    for v in program.variables:
        close(gradients[v], slopes[v], 100)
    np.testing.assert_array_equal(predict(program, [x], isa=isa), found)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, isa):
    check(behind_weights(CASES[name]), 19, isa)
    check(behind_weights(CASES[name], bias=False, activation="tanh"), 3, isa)


@pytest.mark.parametrize("name", CASES)
def test_the_judge_agrees_with_central_differences(name):
    case = CASES[name]
    if np.prod(case.size) * case.c * case.f > 2000:
        return
    program = behind_weights(case)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, *program.inputs[0].shape))
    oracle = Oracle(program)
    dy = rng.normal(size=oracle.forward([x], training=True)[0].shape)
    found = oracle.backward(dy)
    expected = difference_gradients(program, [x], dy=dy, training=True)
    for v in program.variables:
        top = np.abs(expected[v]).max()
        np.testing.assert_allclose(found[v], expected[v], rtol=1e-5, atol=1e-6 * top)


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_any_number_of_threads_and_in_any_batch(name):
    outcomes = []
    for threads in (1, 2, 3):
        program = behind_weights(CASES[name], activation="tanh")
        (y,) = program.outputs
        rng = np.random.default_rng(3)
        x = rng.normal(size=(40, *program.inputs[0].shape)).astype(np.float32)
        target = rng.normal(size=(40, *y.shape)).astype(np.float32)
        once = predict(program, [x])
        for rows in (1, 5, 33):
            np.testing.assert_array_equal(predict(program, [x], rows=rows, threads=threads), once)
        program.loss("mean_squared_error", program.input(y.shape, role="y"), y)
        optimizer = learner("adam", program.variables, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
        train(program, [x, target], optimizer, batch=40, epochs=3, threads=threads)
        outcomes.append([v.numpy() for v in program.variables])
    for outcome in outcomes[1:]:
        for found, expected in zip(outcome, outcomes[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_an_activation_behind_it_is_fused_and_its_slope_taken_by_a_product_behind_both():
    rng = np.random.default_rng(4)
    program, case = Program(), CASES["2d_same"]
    x = case.emit(program, program.input((*case.image, case.c)), rng)
    x = program.emit("activation", [x], x.shape, kind="plain_relu")
    program.output(dense(program, x, weight(rng.normal(size=(case.f, 3)))))
    assert [i.op for i in program.fused().instructions] == ["conv", "dense"]
    check(program.fused(), 19)
