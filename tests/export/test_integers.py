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


def test_a_net_of_mnist_fits_into_700_kb_of_flash_and_4_kb_of_memory(tmp_path):
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
    compiler = shutil.which("arm-linux-gnueabihf-gcc") or COMPILERS[0]
    built = [compiler, "-std=c99", "-Os", "-c", str(tmp_path / "m.c"), "-o", str(tmp_path / "m.o")]
    subprocess.run(built, check=True)
    listed = subprocess.run(
        ["size", str(tmp_path / "m.o")], capture_output=True, text=True, check=True
    )
    text, data, bss = map(int, listed.stdout.splitlines()[1].split()[:3])
    assert text + data < 700_000
    assert data + bss == 0
    header = (tmp_path / "m.h").read_text()
    assert "It takes some 2832 bytes of stack" in header
    x = np.random.default_rng(0).uniform(size=(5, 784)).astype(np.float32)
    got = predicted(compiled(tmp_path / "m.c", COMPILERS[0]), "m", model, x)
    np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-4, atol=1e-4)


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
