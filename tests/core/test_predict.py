"""test_predict.py - many rows through several threads, each at its own place in the net."""

import numpy as np
import pytest
from programs import mlp, predict

WIDTHS = (300, 200, 100, 10)  # of different widths: rows of a value stand where another's would


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_predict_the_same_bits_as_one(threads):
    rng = np.random.default_rng(0)
    program, _ = mlp(rng, WIDTHS, last="softmax")
    x = rng.standard_normal((20_000, WIDTHS[0]), np.float32)
    alone = predict(program.fused(training=False), [x], rows=256, threads=1)
    together = predict(program.fused(training=False), [x], rows=256, threads=threads)
    np.testing.assert_array_equal(together, alone)
