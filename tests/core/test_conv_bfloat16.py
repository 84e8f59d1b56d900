"""Convolutions of bfloat16 in two bytes a number, against float64, on every instruction set."""

import ml_dtypes
import numpy as np
import pytest
from oracle import Oracle
from programs import ISAS, TEAMS, dense, learner, predict, pull_back, train, weight
from windows import Window

from cdl._ir import rounding
from cdl._ir.lowering import Lowering


class Case(Window):
    """A window, and columns of the image and the map."""

    def __init__(self, image, c, f, size, **window):
        super().__init__(image, size, **window)
        self.c, self.f = c, f


CASES = {
    "1d": Case((11,), 3, 5, 3),
    "1d_causal": Case((9,), 2, 4, 3, dilation=2, padding="causal"),
    "1d_one_column": Case((12,), 1, 2, 4, padding="same"),
    "1d_odd_taps": Case((40,), 31, 33, 2),
    "2d": Case((6, 7), 3, 5, 3),
    "2d_even": Case((5, 6), 2, 3, (2, 4), padding="same"),
    "2d_stride": Case((7, 8), 3, 4, 3, stride=2, padding="same"),
    "2d_stride_over_all": Case((8, 9), 2, 3, 1, stride=3),
    "2d_stride_and_dilation": Case((9, 11), 3, 4, 3, stride=(2, 3), dilation=(3, 2)),
    "2d_stride_divides_dilation": Case((9, 11), 2, 4, 3, stride=2, dilation=4, padding="same"),
    "2d_window_over_image": Case((3, 2), 2, 4, 7, padding="same"),
    "2d_lines": Case((9, 8), 32, 64, 3, padding="same"),
    "2d_one_tap": Case((5, 4), 16, 18, 1),
    "2d_wide": Case((3, 4), 65, 130, 3, padding="same"),
    "2d_deep": Case((3, 4), 300, 20, 3, padding="same"),
    "2d_deep_map": Case((3, 4), 21, 600, 3, padding="same"),
    "2d_one_tap_deep": Case((2, 2), 1700, 5, 1),
    "2d_many_places": Case((20, 21), 3, 4, 3, padding="same"),
    "3d": Case((4, 3, 5), 2, 5, 3, padding="same"),
    "3d_stride": Case((5, 6, 4), 3, 4, (3, 2, 1), stride=(2, 3, 1)),
}


def rounded(x):
    return np.asarray(x, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.fixture(autouse=True)
def _in_two_bytes(monkeypatch):
    monkeypatch.setattr(rounding, "HAS_TILES", True)
    monkeypatch.setattr(rounding, "LEAST", 1)
    monkeypatch.setattr(rounding, "LEAST_PRODUCT", 2)
    monkeypatch.setattr(rounding, "LEAST_DENSE", 1)


def low_weight(rng, *shape):
    return weight(rounded(rng.normal(size=shape) / 4))


def program_of(name, *, hidden=False, **attributes):
    """A convolution of rounded numbers: of the input, or behind a layer."""
    case, rng = CASES[name], np.random.default_rng(0)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((*case.image, 2 if hidden else case.c)), "bfloat16")
    if hidden:
        kernel = low_weight(rng, 2, case.c)
        x = dense(program, x, kernel, low_weight(rng, case.c))
    params = low_weight(rng, *case.size, case.c, case.f), low_weight(rng, case.f)
    shape, window = (*case.map, case.f), {"numbers": case.numbers, "groups": 1}
    y = program.emit("conv", [x], shape, params, **window, **attributes)
    program.output(program.cast(y, "float32"))
    return program


def ops_of(program):
    """The ops behind a cast of the input, which is not there where that comes in two bytes."""
    ops = [i.op for i in program.instructions]
    return ops[1:] if ops[0] == "cast" else ops


def pulled(program, rows, **options):
    """Output and gradients, and both in float64."""
    rng = np.random.default_rng(1)
    x = rounded(rng.normal(size=(rows, *program.inputs[0].shape)))
    oracle = Oracle(program)
    y = oracle.forward([x], training=True)[0]
    dy = rounded(rng.normal(size=y.shape))
    exact = oracle.backward(dy)
    return *pull_back(program.fused(), [x], dy, **options), y, exact


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_rounded_numbers(name, isa):
    program = program_of(name)
    assert ops_of(program.fused()) == ["conv", "cast"]
    found, gradients, y, exact = pulled(program, 7, isa=isa)
    np.testing.assert_allclose(found, y, rtol=2**-8, atol=1e-5 * np.abs(y).max())
    for v in program.variables:
        top = np.abs(exact[v]).max()
        np.testing.assert_allclose(gradients[v], exact[v], rtol=1e-5, atol=1e-5 * top)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.c > 1])
def test_a_layer_before_has_the_gradient_of_what_its_numbers_give(name, isa):
    program = program_of(name, hidden=True)
    assert ops_of(program.fused()) == ["dense", "conv", "cast"]
    found, gradients, y, exact = pulled(program, 5, isa=isa)
    np.testing.assert_allclose(found, y, rtol=0.02, atol=0.02 * np.abs(y).max())
    for v in program.variables:
        top = np.abs(exact[v]).max()
        np.testing.assert_allclose(gradients[v], exact[v], rtol=0.01, atol=0.01 * top)


BITS = ["2d", "2d_stride", "2d_lines", "2d_wide", "2d_many_places", "1d", "3d"]


def bits_of(program, isa):
    """Output and gradients by every team, which must be the same; predictions as well."""
    rng, fused, found = np.random.default_rng(3), program.fused(), []
    x = rng.normal(size=(40, *program.inputs[0].shape)).astype(np.float32)
    dy = rng.normal(size=(40, *program.outputs[0].shape)).astype(np.float32)
    for team in ({"threads": 1}, *TEAMS):
        y, gradients = pull_back(fused, [x], dy, isa=isa, **team)
        found.append([y, *(gradients[v] for v in program.variables)])
        for rows in (1, 5, 33):
            again = predict(fused, [x], rows=rows, isa=isa, **team)
            np.testing.assert_array_equal(again, found[0][0])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    return found[0]


@pytest.mark.parametrize("name", BITS)
def test_every_isa_and_team_gives_the_same_bits(name):
    first, *others = (bits_of(program_of(name, activation="plain_relu"), isa) for isa in ISAS)
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", BITS)
def test_any_team_gives_a_layer_before_the_same_bits(name, isa):
    bits_of(program_of(name, hidden=True, activation="plain_relu"), isa)


@pytest.mark.parametrize("name", ["2d_lines", "2d_many_places"])
def test_a_net_learns_the_same_by_any_team(name):
    found = []
    for team in ({"threads": 1}, *TEAMS):
        program = program_of(name, hidden=True, activation="tanh")
        (y,), rng = program.outputs, np.random.default_rng(3)
        x = rng.normal(size=(40, *program.inputs[0].shape)).astype(np.float32)
        t = np.tanh(rng.normal(size=(40, *y.shape)).astype(np.float32))
        program.loss("mean_squared_error", program.input(y.shape, role="y"), y)
        optimizer = learner("adam", program.variables, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
        logs = train(program.fused(), [x, t], optimizer, batch=40, epochs=8, **team)
        assert logs[-1][0] < logs[0][0]
        found.append([v.numpy() for v in program.variables])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_convolutions_in_groups_and_of_few_columns_stay_in_floats(monkeypatch):
    monkeypatch.setattr(rounding, "LEAST", 16)
    program = Lowering()
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((4, 32)), "bfloat16")
    rng, attributes = np.random.default_rng(0), {"numbers": [1, 1, 1, 0]}
    x = program.emit(
        "conv", [x], (4, 32), (low_weight(rng, 1, 16, 32), None), groups=2, **attributes
    )
    x = program.emit(
        "conv", [x], (4, 15), (low_weight(rng, 1, 32, 15), None), groups=1, **attributes
    )
    program.output(program.cast(x, "float32"))
    ops = [i.op for i in program.fused(training=False).instructions]
    assert ops == ["cast", "conv", "cast", "conv", "cast"]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("stride", "ops"), [(2, []), (1, ["cast"])])
def test_maxima_of_floats_are_rounded_behind_windows_that_are_apart(stride, ops, isa, monkeypatch):
    monkeypatch.setattr(rounding, "LEAST", 16)
    program, rng = Lowering(training=True), np.random.default_rng(0)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((8, 7, 3)), "bfloat16")
    image, window = Window((8, 7), 3), Window((6, 5), 2, stride=stride)
    kernel, bias = low_weight(rng, 3, 3, 3, 5), low_weight(rng, 5)
    x = program.emit("conv", [x], (6, 5, 5), (kernel, bias), numbers=image.numbers, groups=1)
    x = program.emit("activation", [x], x.shape, kind="plain_relu")
    x = program.emit("pool", [x], (*window.map, 5), numbers=window.numbers, kind="max")
    program.output(program.cast(x, "float32"))
    fused = program.fused()
    assert ops_of(fused) == ["conv", *ops, "pool", "cast"]
    data = rng.normal(size=(5, 8, 7, 3)).astype(np.float32)
    dy = rng.normal(size=(5, *window.map, 5)).astype(np.float32)
    y, gradients = pull_back(fused, [data], dy, isa=isa)
    seen = np.lib.stride_tricks.sliding_window_view(rounded(data), (3, 3), (1, 2))
    z = np.einsum("nijcuv,uvco->nijo", seen.astype(np.float64), kernel.numpy()) + bias.numpy()
    pools = np.lib.stride_tricks.sliding_window_view(np.maximum(z, 0), (2, 2), (1, 2))
    pools = pools[:, ::stride, ::stride]
    exact = pools.max((-2, -1))
    np.testing.assert_allclose(y, rounded(exact), rtol=2**-7)
    np.testing.assert_array_equal(y, rounded(y))
    expected = (rounded(dy) * (exact > 0)).sum((0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(gradients[bias], expected, rtol=0.01, atol=0.05)


POOLS = [((6, 7), 2, 2, 1), ((9, 8), 3, 4, 1), ((12,), 3, 5, 2), ((4, 6, 5), (1, 2, 2), 2, 1)]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("columns", [3, 40])
@pytest.mark.parametrize(("image", "size", "stride", "dilation"), POOLS)
def test_maxima_stay_in_two_bytes(image, size, stride, dilation, columns, isa):
    window, ones = Window(image, size, stride=stride, dilation=dilation), (1,) * len(image)
    found = []
    for dtype in ("bfloat16", "float32"):
        program, rng = Lowering(training=True), np.random.default_rng(0)
        program.param_dtype = "bfloat16"
        x = program.cast(program.input((*image, 2)), "bfloat16")
        params = low_weight(rng, *ones, 2, columns), None
        numbers = Window(image, 1).numbers
        x = program.emit("conv", [x], (*image, columns), params, numbers=numbers, groups=1)
        x = program.cast(program.emit("activation", [x], x.shape, kind="plain_relu"), dtype)
        x = program.emit("pool", [x], (*window.map, columns), numbers=window.numbers, kind="max")
        program.output(program.cast(x, "float32"))
        fused = program.fused()
        low = dtype == "bfloat16"
        assert ops_of(fused) == (["conv", "pool", "cast"] if low else ["conv", "cast", "pool"])
        x = rng.normal(size=(5, *image, 2)).astype(np.float32)
        y, gradients = pull_back(fused, [x], rng.normal(size=(5, *window.map, columns)), isa=isa)
        found.append((y, gradients[params[0]]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
