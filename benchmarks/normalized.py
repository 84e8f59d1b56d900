"""A step of 784-512-512-10 with batch normalization and dropout.

    python -m benchmarks.normalized [--threads 1 2] [--peers cdl ...] [--rounds 5] [--keep]

Batch 128, Adam, shuffled rows of noise around ten centers. Every peer trains one epoch first; its
loss on rows that were held out is printed beside its time.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.harness import nets
from benchmarks.harness.nets import Net
from benchmarks.harness.worker import Prepared

INPUTS, WIDTHS, CLASSES, BATCH, STEPS, RATE = 784, (512, 512), 10, 128, 40, 0.2


def keras_like(keras, data) -> Net:
    """cdl and Keras: the same lines."""
    layers = keras.layers
    (x, y), (test, labels) = data
    model = keras.Sequential([keras.Input((INPUTS,))])
    for units in WIDTHS:
        model.add(layers.Dense(units, activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.Dropout(RATE))
    model.add(layers.Dense(CLASSES, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return Net(
        lambda n: model.fit(x, y, batch_size=BATCH, epochs=n, verbose=0),
        lambda: float(model.evaluate(test, labels, batch_size=1024, verbose=0)),
    )


def torch_net(threads: int, data) -> Net:
    """PyTorch, eager; rows are picked batch by batch from tensors."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    x, y, test, labels = (torch.from_numpy(each) for part in data for each in part)
    parts, width = [], INPUTS
    for units in WIDTHS:
        parts += [nn.Linear(width, units), nn.ReLU(), nn.BatchNorm1d(units, 1e-3, 0.01)]
        parts += [nn.Dropout(RATE)]
        width = units
    model = nn.Sequential(*parts, nn.Linear(width, CLASSES))
    for part in model:
        if isinstance(part, nn.Linear):  # as Keras draws weights
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    criterion = nn.CrossEntropyLoss()

    def run(epochs: int) -> None:
        model.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(y)).split(BATCH):
                optimizer.zero_grad()
                criterion(model(x[rows]), y[rows]).backward()
                optimizer.step()

    def loss() -> float:
        model.eval()
        with torch.no_grad():
            return float(criterion(model(test), labels))

    return Net(run, loss)


def prepare(settings: dict) -> Prepared:
    """The net of a peer after its first epoch, in a worker."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(CLASSES, INPUTS)).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH * STEPS * 2)
    x = centers[y] + 10 * rng.standard_normal((len(y), INPUTS), np.float32)
    half = len(y) // 2
    return nets.prepare(
        settings, keras_like, torch_net, STEPS, ((x[:half], y[:half]), (x[half:], y[half:]))
    )


def measure(threads: int, options: argparse.Namespace) -> list[dict]:
    """A record a peer."""
    return nets.measure("normalized", threads, options)


def tables(found: list[dict]) -> str:
    """A table in microseconds a step."""
    return nets.tables(found, "microseconds", "a step", 1e6, 0)


if __name__ == "__main__":
    nets.main("normalized", __doc__, measure, tables)
