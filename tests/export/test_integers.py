"""Quantized models in C: the same predictions, bytes in flash and little memory."""

import shutil
import subprocess

import numpy as np
import pytest
from export.test_c import COMPILERS, compiled, predicted

from cdl import Sequential, layers, quantizers

CONFIGS = {
    "int8": quantizers.Int8QuantizationConfig(),
    "int8 weights": quantizers.Int8QuantizationConfig(activation_quantizer=None),
    "int4": quantizers.Int4QuantizationConfig(block_size=8),
    "int4 columns": quantizers.Int4QuantizationConfig(block_size=None),
}


@pytest.fixture(params=COMPILERS)
def compiler(request):
    return request.param


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_c_predicts_what_cdl_does_with_integers(config, compiler, tmp_path):
    model = Sequential(
        [
            layers.Input((4,)),
            layers.Embedding(9, 7),
            layers.Dense(12, activation="tanh"),
            layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"),
            layers.Flatten(),
            layers.Dense(11, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.quantize(config=config, filters=lambda layer: hasattr(layer, "quantization_config"))
    x = (np.arange(24).reshape(6, 4) * 5 % 9).astype(np.float32)
    model.export(tmp_path / "m.c", format="c")
    got = predicted(compiled(tmp_path / "m.c", compiler), "m", model, x)
    np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.fixture
def mnist_net(tmp_path):
    """784-512-512-10 with bytes as weights; its C is m.c."""
    model = Sequential(
        [
            layers.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.quantize("int8")
    model.export(tmp_path / "m.c", format="c")
    return model


@pytest.mark.parametrize("compiler", ["arm-linux-gnueabihf-gcc", "arm-none-eabi-gcc", *COMPILERS])
def test_a_net_of_mnist_fits_into_700_kb_of_flash_and_4_kb_of_memory(compiler, mnist_net, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    built = [compiler, "-std=c99", "-Os", "-c", str(tmp_path / "m.c"), "-o", str(tmp_path / "m.o")]
    subprocess.run(built, check=True)
    listed = subprocess.run(
        ["size", str(tmp_path / "m.o")], capture_output=True, text=True, check=True
    )
    text, data, bss = map(int, listed.stdout.splitlines()[1].split()[:3])
    assert text + data < 700_000
    assert data + bss == 0
    assert "It takes some 2832 bytes of stack" in (tmp_path / "m.h").read_text()
    x = np.random.default_rng(0).uniform(size=(5, 784)).astype(np.float32)
    got = predicted(compiled(tmp_path / "m.c", COMPILERS[0]), "m", mnist_net, x)
    np.testing.assert_allclose(got, mnist_net.predict(x, verbose=0), rtol=1e-4, atol=1e-4)


# Predicts rows of a file on a stack of its own, and prints how much of that was written.
ON_A_STACK = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include "m.h"
enum { BYTES = 65536, ROWS = 5 };
static float x[ROWS * 784], y[ROWS * 10];
static unsigned char stack[BYTES];
static ucontext_t here, there;
static void work(void) { m_predict(ROWS, x, y); }
int main(void) {
    FILE *file = fopen("x", "rb");
    int i = 0;
    if (!file || fread(x, sizeof x, 1, file) != 1) return 1;
    memset(stack, 0xa5, BYTES);
    getcontext(&there);
    there.uc_stack.ss_sp = stack, there.uc_stack.ss_size = BYTES, there.uc_link = &here;
    makecontext(&there, work, 0);
    swapcontext(&here, &there);
    while (stack[i] == 0xa5) i++;
    printf("%d\\n", BYTES - i);
    file = fopen("y", "wb");
    return !file || fwrite(y, sizeof y, 1, file) != 1 || fclose(file);
}
"""


def test_a_small_arm_predicts_the_bits_of_cdl_in_less_than_4_kb_of_memory(mnist_net, tmp_path):
    compiler, emulator = shutil.which("arm-linux-gnueabihf-gcc"), shutil.which("qemu-arm")
    if not compiler or not emulator:
        pytest.skip("no arm-linux-gnueabihf-gcc or qemu-arm")
    x = np.random.default_rng(0).uniform(size=(5, 784)).astype(np.float32)
    (tmp_path / "x").write_bytes(x.tobytes())
    (tmp_path / "main.c").write_text(ON_A_STACK)
    built = [compiler, "-Os", "-std=gnu99", "-ffp-contract=off", "-static", "main.c", "m.c", "-lm"]
    subprocess.run(built, cwd=tmp_path, check=True)
    done = subprocess.run(
        [emulator, "a.out"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4096
    got = np.frombuffer((tmp_path / "y").read_bytes(), np.float32).reshape(5, 10)
    np.testing.assert_array_equal(got, mnist_net.predict(x, verbose=0))


def test_a_kernel_of_integers_that_is_read_as_numbers_is_refused(tmp_path):
    model = Sequential([layers.Input((3, 4)), layers.EinsumDense("abc,bd->adc", (5, None))])
    model.quantize("int8")
    with pytest.raises(ValueError, match="'unpack' has no place in C"):
        model.export(tmp_path / "m.c", format="c")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_onnxruntime_predicts_what_cdl_does_with_integers(config, tmp_path):
    pytest.importorskip("onnxruntime")
    from export.test_onnx import onnx, predicted

    model = Sequential(
        [
            layers.Input((5, 30)),
            layers.Dense(12, activation="tanh"),
            layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.quantize(config=config, filters="dense")
    x = np.random.default_rng(0).normal(size=(6, 5, 30)).astype(np.float32)
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    got = predicted(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_table_of_integers_is_refused_by_onnx(tmp_path):
    pytest.importorskip("onnx")
    model = Sequential([layers.Input((4,)), layers.Embedding(9, 7)])
    model.quantize("int8", filters="embedding")
    with pytest.raises(ValueError, match="'unpack' has no place in ONNX"):
        model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
