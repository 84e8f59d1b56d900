"""Costs of a start: imports, and a whole process that trains a net.

    python -m benchmarks.startup [--rounds 5] [--keep]

Imports are timed beyond NumPy's own. A whole process imports, makes 10,000 rows, trains the
100-64-10 net for one epoch of batches of 32, and ends: wall-clock time and peak memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from benchmarks import peers
from benchmarks.harness import command, machine, records

IMPORTS = {
    "cdl": ("cdl", "import cdl"),
    "cdl, its layers and models": (
        "cdl",
        "from cdl.models import Sequential; from cdl.layers import Dense; "
        "from cdl.optimizers import Adam",
    ),
    "onnxruntime": ("onnxruntime", "import onnxruntime"),
    "jax": ("jax scan", "import jax, jax.numpy"),
    "torch": ("torch", "import torch"),
    "sklearn": ("sklearn", "from sklearn.neural_network import MLPClassifier"),
    "keras jax": ("keras jax", "import keras"),
    "keras torch": ("keras torch", "import keras"),
    "keras tensorflow": ("keras tensorflow", "import keras"),
}

DATA = """
import numpy as np
rng = np.random.default_rng(0)
x = rng.standard_normal((10_000, 100), np.float32)
classes = rng.integers(0, 10, 10_000)
y = np.eye(10, dtype=np.float32)[classes]
"""
KERAS = """
from {api}.layers import Dense, Input
from {api}.models import Sequential
model = Sequential([Input((100,)), Dense(64, activation="relu"), Dense(10, activation="softmax")])
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=1, verbose=0)
"""
TORCH = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer, loss = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
xs, ys = torch.from_numpy(x), torch.from_numpy(classes)
for rows in torch.randperm(len(xs)).split(32):
    optimizer.zero_grad()
    loss(model(xs[rows]), ys[rows]).backward()
    optimizer.step()
"""
SKLEARN = """
from sklearn.neural_network import MLPClassifier
model = MLPClassifier((64,), batch_size=32, max_iter=1)
import warnings; warnings.simplefilter("ignore")
model.fit(x, classes)
"""
PROCESSES = {
    "numpy, the data alone": ("numpy", ""),
    "cdl": ("cdl", KERAS.format(api="cdl")),
    "torch": ("torch", TORCH),
    "sklearn": ("sklearn", SKLEARN),
    "keras jax": ("keras jax", KERAS.format(api="keras")),
    "keras torch": ("keras torch", KERAS.format(api="keras")),
    "keras tensorflow": ("keras tensorflow", KERAS.format(api="keras")),
}


def environment(peer: str) -> dict[str, str]:
    env = machine.environment(len(machine.cores()))
    if peer.startswith("keras"):
        env["KERAS_BACKEND"] = peers.PEERS[peer].variant
    return env


def import_seconds(peer: str, statement: str) -> float:
    """Seconds of an import after NumPy's."""
    code = (
        f"import numpy, time; start = time.perf_counter(); {statement}; "
        "print(time.perf_counter() - start, file=__import__('sys').stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment(peer),
        cwd=machine.ROOT,
    )
    return float(done.stderr.split()[-1])


def process(peer: str, code: str) -> tuple[float, float]:
    """Seconds and megabytes from start to end."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", DATA + code],
        env=environment(peer),
        cwd=machine.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the script for {peer} failed")
    return seconds, usage.ru_maxrss / 1024


def measure(rounds: int) -> list[dict]:
    """Rounds in turn; a record a library."""
    imports = {k: v for k, v in IMPORTS.items() if not peers.PEERS[v[0]].missing()}
    scripts = {k: v for k, v in PROCESSES.items() if not peers.PEERS[v[0]].missing()}
    took: dict[str, list[float]] = {name: [] for name in imports}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in scripts}
    for _ in range(rounds):
        for name, (peer, statement) in imports.items():
            took[name].append(import_seconds(peer, statement))
        for name, (peer, code) in scripts.items():
            runs[name].append(process(peer, code))
    found = [
        {"kind": "import", "library": name, "ms": min(t) * 1e3, "median_ms": median(t) * 1e3}
        for name, t in took.items()
    ]
    for name, pairs in runs.items():
        seconds = [s for s, _ in pairs]
        record = {"seconds": min(seconds), "median_seconds": median(seconds)}
        record |= {"megabytes": min(m for _, m in pairs)}
        found.append({"kind": "process", "library": name, **record})
    return found


def tables(found: list[dict]) -> str:
    imports = [
        [r["library"], records.number(r["ms"]), records.number(r["median_ms"])]
        for r in found
        if r["kind"] == "import"
    ]
    processes = [
        [r["library"], records.number(r["seconds"]), records.number(r["megabytes"])]
        for r in found
        if r["kind"] == "process"
    ]
    return "\n".join(
        [
            "### Imports beyond NumPy, milliseconds\n",
            records.table(["import", "minimum", "median"], imports),
            "\n### A process that trains 100-64-10 for an epoch of 10,000 rows\n",
            records.table(["library", "seconds", "peak MB"], processes),
            "",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    command.add_options(parser, rounds=5, threads=False)
    options = parser.parse_args(arguments)
    left_out = {k: "not installed" for k, v in IMPORTS.items() if peers.PEERS[v[0]].missing()}
    command.run("startup", lambda: measure(options.rounds), tables, options, left_out)


if __name__ == "__main__":
    main()
