"""Predictions by int8 and int4 weights: time, size of the file and error, beside ONNX Runtime's.

    python -m benchmarks.quantized [--rows 1 8192] [--rounds 40] [--sizes 784 512 512 10]

All in one process and on one thread, in turns; the least time of each counts. ONNX Runtime has the
same net, and what its `quantize_dynamic` makes of it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def made(sizes: list[int]):
    """The net in float32, with ReLU between its layers."""
    import cdl

    cdl.utils.set_random_seed(0)
    layers = [cdl.layers.Dense(n, "relu") for n in sizes[1:-1]]
    return cdl.Sequential([cdl.Input((sizes[0],)), *layers, cdl.layers.Dense(sizes[-1])])


def of_cdl(sizes: list[int], folder: Path) -> dict[str, tuple[Predict, int]]:
    """Each way of cdl, with the size of its file."""
    from cdl import quantizers

    configs = {
        "float32": None,
        "int8": quantizers.Int8QuantizationConfig(),
        "int8 weights": quantizers.Int8QuantizationConfig(activation_quantizer=None),
        "int4": quantizers.Int4QuantizationConfig(),
        "int4 columns": quantizers.Int4QuantizationConfig(block_size=None),
    }
    found = {}
    for name, config in configs.items():
        net = made(sizes)
        if config is not None:
            net.quantize(config=config, filters="dense")
        net.save(folder / "net.keras")
        size = (folder / "net.keras").stat().st_size
        net.predict(np.zeros((1, sizes[0]), np.float32), verbose=0)
        found[f"cdl {name}"] = (net.predict_on_batch, size)
    return found


def of_onnxruntime(sizes: list[int], folder: Path) -> dict[str, tuple[Predict, int]]:
    """The predictions and file sizes of ONNX Runtime, float32 and int8, if it is there."""
    try:
        import onnxruntime
        from onnxruntime.quantization import quantize_dynamic
    except ImportError as error:
        print(f"without onnxruntime: {error}")
        return {}
    plain, small = folder / "net.onnx", folder / "int8.onnx"
    made(sizes).export(plain, format="onnx", verbose=False)
    quantize_dynamic(plain, small)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    found = {}
    for name, path in (("float32", plain), ("int8", small)):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()

        def predict(x, session=session, name=given.name):
            return session.run(None, {name: x})[0]

        found[f"onnxruntime {name}"] = (predict, path.stat().st_size)
    return found


def main() -> None:
    """Print a table for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8192])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 512, 512, 10])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        ways = of_cdl(options.sizes, Path(folder)) | of_onnxruntime(options.sizes, Path(folder))
    for rows in options.rows:
        x = np.random.default_rng(1).normal(size=(rows, options.sizes[0])).astype(np.float32)
        exact = np.asarray(ways["cdl float32"][0](x))
        best = dict.fromkeys(ways, float("inf"))
        calls = 200 if rows < 64 else 1  # the first finds the weights of others in the caches
        for _ in range(options.rounds if rows < 64 else max(3, options.rounds // 10)):
            for name, (predict, _) in ways.items():
                start = time.perf_counter()
                for _ in range(calls):
                    predict(x)
                best[name] = min(best[name], (time.perf_counter() - start) / calls)
        print(f"\n| {rows} rows | us | of float32 | file, KB | error |\n|---|---|---|---|---|")
        for name, (predict, size) in ways.items():
            error = np.abs(np.asarray(predict(x)) - exact).max() / np.abs(exact).max()
            share = best[name] / best["cdl float32"]
            cells = f"{best[name] * 1e6:.1f} | {share:.2f} | {size // 1000} | {error:.1e}"
            print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
