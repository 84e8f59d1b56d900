"""Products of floats that were rounded to bfloat16: by tiles where the machine has them.

Their sums have another order than those of float32, and factors that were not rounded are (a state,
a gradient). So results are those of other instruction sets within some steps of bfloat16.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from programs import ISAS, TEAMS, predict, pull_back, weight

import cdl
from cdl._ir import rounding
from cdl._ir.lowering import Lowering

layers = cdl.layers

pytestmark = pytest.mark.skipif("amx" not in ISAS, reason="this machine has no tiles")


def attention(x, **options):
    return layers.MultiHeadAttention(2, 40, value_dim=33, **options)(x, x)


NETS = {
    "simple": ((9, 5), layers.SimpleRNN(24, return_sequences=True)),
    "lstm": ((7, 33), layers.LSTM(40, return_sequences=True)),
    "lstm_narrow": ((5, 1), layers.LSTM(3)),
    "lstm_go_backwards": ((6, 20), layers.LSTM(70, go_backwards=True)),
    "gru": ((7, 33), layers.GRU(40, return_sequences=True)),
    "gru_reset_first": ((7, 33), layers.GRU(40, reset_after=False)),
    "bidirectional": ((6, 20), layers.Bidirectional(layers.LSTM(17))),
    "einsum_dense": ((5, 50), layers.EinsumDense("abc,cde->abde", (None, 3, 60), bias_axes="de")),
    "einsum_dense_deep": ((3, 600), layers.EinsumDense("abc,cd->abd", (None, 70))),
    "products": ((70, 130), lambda x: cdl.ops.matmul(x, cdl.ops.transpose(x, (0, 2, 1)))),
    "products_turned": ((90, 100), lambda x: cdl.ops.einsum("aij,aik->ajk", x, x)),
    "attention": ((70, 20), attention),
    "attention_causal": ((300, 33), lambda x: layers.MultiHeadAttention(3, 32)(
        x, x, use_causal_mask=True)),
}  # fmt: skip


def net(name):
    """The program of a layer of bfloat16 behind a dense one, which needs its gradient."""
    shape, layer = NETS[name]
    x = cdl.Input(shape)
    with np.errstate(all="raise"):
        cdl.utils.set_random_seed(3)
        policy, before = "mixed_bfloat16", cdl.config.dtype_policy()
        cdl.config.set_dtype_policy(policy)
        try:
            h = layers.Dense(shape[-1])(x)
            if isinstance(layer, layers.Layer):
                config = layer.get_config() | {"dtype": policy}
                layer = type(layer).from_config(config)
            y = layer(h)
        finally:
            cdl.config.set_dtype_policy(before)
    return cdl.Model(x, y).program().fused()


@pytest.fixture(autouse=True)
def _in_two_bytes(monkeypatch):
    monkeypatch.setattr(rounding, "LEAST_DENSE", 1)


def ran(program, isa, **team):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(37, *program.inputs[0].shape)).astype(np.float32)
    dy = rng.normal(size=(37, *program.outputs[0].shape)).astype(np.float32)
    y, gradients = pull_back(program, [x], dy, isa=isa, **team)
    return x, [y, *(gradients[v] for v in program.variables)]


@pytest.mark.parametrize("name", NETS)
def test_results_are_those_of_products_of_floats(name):
    program = net(name)
    (_, low), (_, floats) = ran(program, "amx"), ran(program, "avx512")
    assert any((a != b).any() for a, b in zip(low, floats, strict=True))
    size = lambda a: np.sqrt(np.mean(np.square(a, dtype=np.float64)))  # noqa: E731
    most = max(map(size, floats[1:]))  # the gradient of a key's bias is 0, but for rounding
    for a, b in zip(low, floats, strict=True):
        assert size(a - b) < 0.02 * size(b) + 1e-3 * most


@pytest.mark.parametrize("name", NETS)
def test_any_team_gives_the_same_bits(name):
    program = net(name)
    x, one = ran(program, "amx", threads=1)
    for rows in (1, 5, 37):
        np.testing.assert_array_equal(predict(program, [x], rows=rows, isa="amx"), one[0])
    for team in TEAMS:
        for a, b in zip(one, ran(program, "amx", **team)[1], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("a", "b", "by_tiles"),
    [
        ((9, 1, 5), (9, 5, 6), False),  # a row of each member of an ensemble
        ((32, 1, 100), (32, 100, 90), False),
        ((40, 33), (33, 40), False),
        ((12, 300), (300, 30), False),
        ((50, 65), (65, 64), True),
        ((70, 100), (100, 90), True),
    ],
)
def test_tiles_multiply_only_what_fills_them(a, b, by_tiles):
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    w = weight(np.random.default_rng(2).normal(size=b), matrix=False)
    factors = program.cast(program.input(a), "bfloat16"), program.param(w)
    sides = {"transpose_a": 0, "transpose_b": 0, "dtype": "float32"}
    program.output(program.emit("product", factors, (*a[:-1], b[-1]), **sides))
    (_, low), (_, floats) = ran(program.fused(), "amx"), ran(program.fused(), "avx512")
    assert [(x != y).any() for x, y in zip(low, floats, strict=True)] == [by_tiles, by_tiles]


IN_A_THREAD_OF_128_KB = """
import threading
import numpy as np
import cdl
from cdl import layers

x = cdl.Input((64, 64))
y = layers.MultiHeadAttention(2, 64, dtype="mixed_bfloat16")(x, x)
model = cdl.Model(x, layers.Dense(64, dtype="mixed_bfloat16")(y))
model.compile("sgd", "mse")
data = np.ones((32, 64, 64), np.float32)
run = lambda: model.fit(data, data, verbose=0)
run()
threading.stack_size(128 << 10)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.measures  # sanitizers take stack of their own
def test_products_fit_the_stack_that_musl_gives_a_thread():
    """A thread has 128 KB of stack there, and overflow ends the process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IN_A_THREAD_OF_128_KB]
    subprocess.run(command, check=True, env=environment)
