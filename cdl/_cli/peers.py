"""The nets of `python -m cdl bench`, and how long other libraries take for them.

Each runs in a process of its own, by `python -m cdl._cli.peers NAME SECONDS`, as its own tutorials
write it, and prints microseconds a step of each net as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from cdl._tracing.variable import Array

# Name, widths, batch size, rows: from a toy to handwritten digits of 28 x 28 pixels.
NETS = [
    ("tiny", (4, 16, 3), 16, 16_000),
    ("small", (100, 64, 10), 32, 16_000),
    ("medium", (64, 128, 64, 10), 32, 8_000),
    ("large", (784, 512, 512, 10), 128, 4_096),
]
# Modules that a library needs, by its name. Keras needs a backend too.
PEERS = {"keras": "keras", "torch": "torch", "sklearn": "sklearn"}
_BACKENDS = ("jax", "tensorflow", "torch")
_LONGEST = 600  # seconds that a library may take


def least(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call that is repeated for some seconds, at least three times."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def data_of(widths: tuple[int, ...], rows: int) -> tuple[Array, Array]:
    """Numbers to train a net on, and classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, widths[0]), np.float32), rng.integers(0, widths[-1], rows)


def installed() -> list[str]:
    """The peers that are there."""
    backend = any(find_spec(each) for each in _BACKENDS)
    return [
        name for name, module in PEERS.items() if find_spec(module) and (name != "keras" or backend)
    ]


def steps(name: str, seconds: float) -> list[float] | None:
    """Microseconds a step of each net in a library; None if it cannot be run."""
    command = [sys.executable, "-W", "ignore", "-m", "cdl._cli.peers", name, str(seconds)]
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    if name == "keras" and "KERAS_BACKEND" not in os.environ:
        environment["KERAS_BACKEND"] = next(each for each in _BACKENDS if find_spec(each))
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=_LONGEST
        )
        found: list[float] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError):
        return None
    return found


def _keras(widths: tuple[int, ...], batch: int, x: Any, y: Any) -> Callable[[], object]:
    import keras

    model = keras.Sequential([keras.Input((widths[0],))])
    for width in widths[1:-1]:
        model.add(keras.layers.Dense(width, activation="relu"))
    model.add(keras.layers.Dense(widths[-1], activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(x, y, batch_size=batch, verbose=0)


def _torch(widths: tuple[int, ...], batch: int, x: Any, y: Any) -> Callable[[], object]:
    import torch
    from torch import nn

    layers: list[Any] = []
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [nn.ReLU()] if k else []
        layers.append(nn.Linear(before, after))
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters())
    loss = nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)

    def epoch() -> None:
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), batch):
            chosen = order[start : start + batch]
            optimizer.zero_grad()
            loss(model(rows[chosen]), labels[chosen]).backward()
            optimizer.step()

    return epoch


def _sklearn(widths: tuple[int, ...], batch: int, x: Any, y: Any) -> Callable[[], object]:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(widths[1:-1], batch_size=batch, alpha=0.0)
    classes = np.arange(widths[-1])
    return lambda: model.partial_fit(x, y, classes=classes)


def main(name: str, seconds: str) -> None:
    """Measure one library, and print the results."""
    make = {"keras": _keras, "torch": _torch, "sklearn": _sklearn}[name]
    found = []
    for _, widths, batch, rows in NETS:
        epoch = make(widths, batch, *data_of(widths, rows))
        epoch()
        found.append(1e6 * least(epoch, float(seconds)) * batch / rows)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
