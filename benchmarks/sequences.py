"""Time of a training step and of predictions of four recurrent nets and a transformer.

    python -m benchmarks.sequences [--threads 1 2] [--nets lstm ...] [--peers cdl torch ...]
                                   [--rows 1 256] [--rounds 7] [--keep]

As `benchmarks.images`: the same weights and data, first an epoch in the given order, after which
predictions must agree. The limit of a step is its products at the FMA peak and Adam over all
weights; sigmoid and tanh come on top of it.
"""

from __future__ import annotations

import numpy as np

from benchmarks import images
from benchmarks.harness.sequences import NETS, Net, data
from benchmarks.harness.worker import Prepared
from benchmarks.peers import sequences

tables = images.tables


def prepare(settings: dict) -> Prepared:
    """The net after its first epoch in a worker; a sample for steps and for each batch."""
    net = Net(**settings["net"])
    x = data(net)[0]
    rows = {n: np.resize(x, (n, *x.shape[1:])) for n in settings["rows"]}
    return images.prepared(sequences, net, settings, x[:64], rows)


def main(arguments: list[str] | None = None) -> None:
    images.run("sequences", __doc__, NETS, arguments)


if __name__ == "__main__":
    main()
