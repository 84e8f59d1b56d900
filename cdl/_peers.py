"""_peers.py - the nets of `python -m cdl bench` in other libraries that are installed.

Each runs in a process of its own, by `python -m cdl._peers NAME SECONDS`, as its own tutorials
write it, and prints microseconds a step of each net as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from cdl._bench import NETS, data_of, least

# Of each library: the module that must be there. Keras needs a backend too.
PEERS = {"keras": "keras", "torch": "torch", "sklearn": "sklearn"}
_BACKENDS = ("jax", "tensorflow", "torch")
_LONGEST = 600  # seconds that a library may take


def installed() -> list[str]:
    """The peers that are there."""
    backend = any(find_spec(each) for each in _BACKENDS)
    return [
        name for name, module in PEERS.items() if find_spec(module) and (name != "keras" or backend)
    ]


def steps(name: str, seconds: float) -> list[float] | None:
    """Microseconds a step of each net in a library; None if it cannot be run."""
    command = [sys.executable, "-W", "ignore", "-m", "cdl._peers", name, str(seconds)]
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
    """Measure one library, and print what was found."""
    make = {"keras": _keras, "torch": _torch, "sklearn": _sklearn}[name]
    found = []
    for _, widths, batch, rows in NETS:
        epoch = make(widths, batch, *data_of(widths, rows))
        epoch()
        found.append(1e6 * least(epoch, float(seconds)) * batch / rows)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
