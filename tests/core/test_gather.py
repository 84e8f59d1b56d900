"""Any dtype, byte order and layout gives the very bits of the plain array."""

import array
import itertools

import numpy as np
import pytest
from programs import ISAS

from cdl import _core
from cdl._ir.program import Program

INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
FLOATS = ["f2", "f4", "f8"]
DTYPES = ["?", *INTEGERS, *FLOATS, *(f">{d}" for d in (*INTEGERS, *FLOATS) if d[1] != "1"), "g"]


def copying(shape, dtype="float32"):
    program = Program()
    program.input(shape, dtype)
    return program


def gathered(x, shape=None, *, dtype="float32", order=None, isa=None, batch=None):
    """The rows that a pass over x brings into the program, batch by batch."""
    executor = _core.Executor(copying(x.shape[1:] if shape is None else shape, dtype), 16, isa=isa)
    executor.begin([x], batch or 16, order)
    parts = []
    while rows := executor.forward(False):
        parts.append(executor.batch(0, rows))
        executor.skip()
    return np.concatenate(parts)


def same_bits(a, b):
    assert a.shape == b.shape
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def plain(x):
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.asarray(x), np.float32)


def numbers(dtype, shape):
    """Numbers of all sizes of a dtype, its ends first."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(0)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype.newbyteorder("="))
        x = rng.integers(info.min, info.max, shape, dtype=info.dtype, endpoint=True)
        ends = [info.min, info.max, 0, 1, info.max // 3]
    else:
        x = (rng.normal(size=shape) * 10 ** rng.uniform(-4, 4, shape)).astype(dtype)
        ends = [np.inf, -np.inf, np.nan, -0.0, 1, 65504]
        if dtype.itemsize > 2:
            ends += [1e38, -1e-37]
        if dtype.itemsize > 4:
            ends += [1e300, 1 + 2**-25]
    x = x.astype(dtype)
    x.flat[: len(ends)] = ends
    return x


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 2, 17, 64, 65, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_byte_order(dtype, n, isa):
    x = numbers(dtype, (21, n))
    same_bits(gathered(x, isa=isa), plain(x))


@pytest.mark.parametrize("isa", ISAS)
def test_every_half_precision_number(isa):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024)
    found, expected = gathered(x, isa=isa), plain(x)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    same_bits(found[~nan], expected[~nan])
    same_bits(gathered(x.astype(">f2"), isa=isa)[~nan], expected[~nan])


def test_what_float32_cannot_hold_is_infinite_or_0():
    x = np.array([[1e39, -1e300, 1e-60, -1e-310]])
    same_bits(gathered(x), np.float32([[np.inf, -np.inf, 0.0, -0.0]]))


def layouts(x, folder):
    """Equal arrays in different memory layouts, by name."""
    n, rows = x.shape[-1], len(x)
    wide = np.zeros((2 * rows, *x.shape[1:-1], 3 * n), x.dtype)
    wide[1::2, ..., 1::3] = x
    packed = np.zeros(rows, np.dtype([("pad", "u1"), ("x", x.dtype, x.shape[1:])]))
    packed["x"] = x
    mapped = np.memmap(folder / "x", x.dtype, "w+", shape=x.shape)
    mapped[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "fortran", np.asfortranarray(x)
    yield "rows backwards", x[::-1].copy()[::-1]
    yield "columns backwards", x[..., ::-1].copy()[..., ::-1]
    yield "all backwards", np.flip(np.flip(x).copy())
    yield "every second row and third column", wide[1::2, ..., 1::3]
    yield "unaligned", packed["x"]
    yield "memmap", mapped
    yield "read-only memmap", np.memmap(folder / "x", x.dtype, "r", shape=x.shape)
    yield "read-only", frozen
    yield "memoryview", memoryview(x)


IMAGES = [(19, 12, 9, 1), (19, 12, 9, 3), (19, 99, 2), (19, 300, 1), (19, 9, 31), (19, 9, 64)]


@pytest.mark.parametrize("shape", [(19, 1), (19, 7), (19, 65), (19, 3, 5), (19, 2, 3, 17), *IMAGES])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "?", "i8", ">f4", ">i2", "f2", "g"])
def test_every_layout(dtype, shape, tmp_path):
    x = numbers(dtype, shape)
    order = np.random.default_rng(1).permutation(19)
    for name, view in layouts(x, tmp_path):
        expected = plain(view)
        assert (expected.shape == shape) and name
        same_bits(gathered(view, shape[1:]), expected)
        same_bits(gathered(view, shape[1:], order=order), expected[order])


def test_axes_of_a_sample_in_every_order():
    x = numbers("f4", (11, 2, 3, 5))
    for axes in itertools.permutations(range(4)):
        view = x.transpose(axes)
        same_bits(gathered(view), plain(view))
        same_bits(gathered(view[:, ::-1]), plain(view[:, ::-1]))


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", ">i4"])
def test_broadcast_rows_columns_and_scalars(dtype):
    row, column = numbers(dtype, (1, 20)), numbers(dtype, (20, 1))
    for view in (
        np.broadcast_to(row, (20, 20)),
        np.broadcast_to(column, (20, 20)),
        np.broadcast_to(np.array(3, dtype), (20, 20)),
        np.broadcast_to(numbers(dtype, (3, 1)), (20, 3, 20)),
        np.lib.stride_tricks.sliding_window_view(numbers(dtype, (40,)), 20),
    ):
        same_bits(gathered(view), plain(view))


@pytest.mark.parametrize("shape", [(24,), (4, 6), (6, 4), (2, 3, 4), (24, 1), (1, 24)])
@pytest.mark.parametrize(
    "given", [(24,), (4, 6), (3, 8), (2, 3, 4), (24, 1), (1, 24), (1, 4, 6, 1)]
)
@pytest.mark.parametrize("dtype", ["f4", "i2", ">f8"])
def test_a_sample_of_other_axes_is_read_in_c_order(dtype, given, shape):
    x = numbers(dtype, (9, *given))
    expected = plain(x).reshape(9, *shape)
    same_bits(gathered(x, shape), expected)
    same_bits(gathered(np.asfortranarray(x), shape), expected)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 16, 31, 47, 48, 64])
@pytest.mark.parametrize("dtype", ["f4", "u1", ">f8"])
def test_short_lines_are_dealt_out_of_runs_that_begin_anywhere(dtype, width):
    x = numbers(dtype, (5, 7, 5 * width, 9))
    for view in (x, x[..., ::-1], x[:, ::-1], x[..., ::2], x[..., 1:], x[:, 1:], x[:, :, ::5]):
        lines = (view[0].size // width, width)
        same_bits(gathered(view, lines), plain(view).reshape(5, *lines))


@pytest.mark.parametrize("given", [(9,), (9, 1), (9, 1, 1)])
def test_one_number_a_row_may_have_axes_or_not(given):
    x = numbers("f8", given)
    same_bits(gathered(x, ()), plain(x).reshape(9))
    same_bits(gathered(x, (1,)), plain(x).reshape(9, 1))


@pytest.mark.parametrize("order", [[3], [2, 2, 2], range(18, -1, -1), [0, 18, 5, 5, 0]])
def test_an_order_picks_repeats_and_leaves_out_rows(order):
    x = numbers("f4", (19, 6))
    for batch in (1, 2, 16):
        same_bits(gathered(x, order=list(order), batch=batch), x[list(order)])


@pytest.mark.parametrize("dtype", ["f4", "u1", "f8"])
def test_shuffled_rows_of_every_width_are_those_rows(dtype):
    for n in (*range(1, 40), 64, 100, 5000):  # a row may be longer than what is asked for ahead
        x = numbers(dtype, (19, n))
        order = np.random.default_rng(n).permutation(19)
        same_bits(gathered(x, order=order, batch=7), plain(x)[order])


@pytest.mark.parametrize("typecode", "bBhHiIlLqQfd")
def test_arrays_of_the_standard_library(typecode):
    x = array.array(typecode, range(12))
    same_bits(gathered(np.asarray(x), ()), np.arange(12, dtype=np.float32))
    executor = _core.Executor(copying(()), 12)
    executor.begin([x], 12)
    executor.forward(False)
    same_bits(executor.batch(0, 12), np.arange(12, dtype=np.float32))


def test_subclasses_of_arrays_are_arrays():
    x = np.ma.masked_array(numbers("f4", (5, 3)), mask=False)
    same_bits(gathered(x), plain(x.data))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_numbers_of_every_dtype(dtype, isa):
    top = 2 if dtype == "?" else 100
    x = np.random.default_rng(0).integers(0, top, (30, 7)).astype(dtype)
    for view in (x, np.asfortranarray(x), x[::-1, ::-1]):
        found = gathered(view, dtype="int32", isa=isa)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, view.astype(np.int32))
    np.testing.assert_array_equal(gathered(x[:, 0], (), dtype="int32"), x[:, 0].astype(np.int32))


def test_arrays_may_be_deleted_while_a_pass_goes_on():
    x = np.arange(4e5).reshape(100, 4000)
    executor = _core.Executor(copying((4000,)), 10)
    executor.begin([x[:, ::-1]], 10)
    del x
    np.zeros(4 * 10**5)  # would take the memory
    executor.forward(False)
    np.testing.assert_array_equal(executor.batch(0, 10)[:, -1], np.arange(10) * 4000)


def test_values_that_change_during_a_pass_are_seen_as_they_are_when_their_batch_comes():
    x = np.zeros((4, 2), np.float32)
    executor = _core.Executor(copying((2,)), 2)
    executor.begin([x], 2)
    x[:] = 7
    executor.forward(False)
    np.testing.assert_array_equal(executor.batch(0, 2), np.full((2, 2), 7))


# ---------------------------------------------------------------------------------- check_classes

SIGNED = [d for d in DTYPES if np.dtype(d).kind in "if"]
FRACTIONS = [d for d in DTYPES if np.dtype(d).kind == "f"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_labels_are_minus_1(dtype):
    top = 2 if dtype == "?" else 100
    y = np.random.default_rng(0).integers(0, top, (30, 7)).astype(dtype)
    assert _core.check_classes(y, top) == -1
    assert _core.check_classes(y[::2, ::-1], top) == -1
    assert _core.check_classes(y[:0], top) == -1


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("where", [0, 1, 100, 209])
def test_the_first_label_that_is_too_large_is_found(where, dtype):
    y = np.zeros((30, 7), dtype)
    y.flat[where] = 9
    y.flat[209] = 11
    assert _core.check_classes(y, 9) == where
    assert _core.check_classes(np.asfortranarray(y), 9) == where
    assert _core.check_classes(y, 10) == 209
    assert _core.check_classes(y, 12) == -1


@pytest.mark.parametrize("dtype", SIGNED)
def test_a_negative_label_is_found(dtype):
    y = np.zeros(50, dtype)
    y[31] = -1
    assert _core.check_classes(y, 10) == 31
    assert _core.check_classes(y[::-1], 10) == 18
    assert _core.check_classes(y.reshape(10, 5), 10) == 31


@pytest.mark.parametrize("label", [0.5, 2.999, np.nan, np.inf, -np.inf, -0.25, 1e4])
@pytest.mark.parametrize("dtype", FRACTIONS)
def test_a_label_that_is_no_integer_is_found(dtype, label):
    y = np.ones((6, 4), dtype)
    y[3, 2] = label
    assert _core.check_classes(y, 10) == 14


@pytest.mark.parametrize("label", [1e-40, 1e300, -1e300, 2.0**53])
def test_labels_of_extreme_size_are_found(label):
    assert _core.check_classes(np.array([1.0, label]), 10) == 1


def test_the_ends_of_the_integers_are_found_and_minus_0_is_0():
    for dtype in INTEGERS:
        info = np.iinfo(dtype)
        assert _core.check_classes(np.array([1, info.max], dtype), 10) == 1
    assert _core.check_classes(np.array([2**63], np.uint64), 10) == 0
    assert _core.check_classes(np.array([-0.0]), 1) == -1


@pytest.mark.parametrize("y", [np.array(["1"]), np.array([None]), np.array([1j]), np.float32(1)])
def test_labels_that_are_no_numbers_are_refused(y):
    with pytest.raises((TypeError, ValueError)):
        _core.check_classes(y, 10)
