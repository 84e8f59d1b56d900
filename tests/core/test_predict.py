"""Many rows through several threads, each at its own place in the net."""

import ctypes
import mmap

import numpy as np
import pytest
from programs import ISAS, mlp, predict

from cdl import _core

WIDTHS = (300, 200, 100, 10)  # of different widths: rows of a value stand where another's would


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_predict_the_same_bits_as_one(threads):
    rng = np.random.default_rng(0)
    program, _ = mlp(rng, WIDTHS, last="softmax")
    x = rng.standard_normal((20_000, WIDTHS[0]), np.float32)
    alone = predict(program.fused(training=False), [x], rows=256, threads=1)
    together = predict(program.fused(training=False), [x], rows=256, threads=threads)
    np.testing.assert_array_equal(together, alone)


def layouts(x):
    """Equal arrays in the layouts that programs pass: some are read in place, some copied first."""
    rows, width = x.shape
    buffer = np.zeros(4 * rows * width + 1, np.uint8)
    odd = buffer[1:].view()[: 4 * rows * width].view(np.float32).reshape(rows, width)
    odd[:] = x
    wide, far = np.zeros((rows, width + 3), np.float32), np.zeros((2 * rows, 512), np.float32)
    wide[:, 1 : width + 1], far[::2, :width] = x, x
    yield from (x, x.astype(np.float64), np.asfortranarray(x), odd, x[::-1][::-1])
    yield from (wide[:, 1 : width + 1], far[::2, :width], x.astype(">f4"))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("widths", [(37, 64, 3), (7, 1, 5), (1, 20), (100, 130, 1)])
def test_rows_read_in_place_give_the_bits_of_copied_rows(widths, isa):
    rng = np.random.default_rng(0)
    program, _ = mlp(rng, widths)
    x = rng.normal(size=(777, widths[0])).astype(np.float32)
    expected = None
    for threads in (1, 2, 3):
        executor = _core.Executor(program.fused(), 64, isa=isa, threads=threads)
        for given in layouts(x):
            for rows in (15, 16, 65, 777):
                found = executor.predict([given[:rows]])
                expected = found if expected is None or rows > len(expected) else expected
                np.testing.assert_array_equal(found, expected[:rows])


def at_the_end_of_memory(x):
    """A copy of x behind which no byte may be read."""
    pages = -(-x.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    guard = ctypes.c_void_p(whole.ctypes.data + pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    found = whole[: pages * mmap.PAGESIZE][-x.nbytes :].view(x.dtype).reshape(x.shape)
    found[:] = x
    return found


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1, 7])
def test_nothing_behind_the_last_row_is_read(n, isa):
    rng = np.random.default_rng(3)
    for k in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65):
        program, _ = mlp(rng, (k, n))
        executor = _core.Executor(program.fused(), 64, isa=isa)
        for rows in (16, 17, 35):
            for beside in (0, 17):
                wide = rng.normal(size=(rows, beside + k)).astype(np.float32)
                found = executor.predict([at_the_end_of_memory(wide)[:, beside:]])
                np.testing.assert_array_equal(found, executor.predict([wide[:, beside:].copy()]))


def test_an_input_that_is_an_output_too_comes_back():
    program, _ = mlp(np.random.default_rng(1), (20, 8))
    program.output(program.inputs[0])
    x = np.random.default_rng(2).normal(size=(100, 20)).astype(np.float32)
    found = _core.Executor(program.fused(), 32).predict([x])
    np.testing.assert_array_equal(found[1], x)
