"""Benchmarks of one net that cdl, Keras and PyTorch build for themselves."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Sequence

from benchmarks.harness import children, command, records
from benchmarks.harness.worker import Prepared, Sample

PEERS = ("cdl", "torch", "keras jax", "keras torch", "keras tensorflow")


@dataclasses.dataclass
class Net:
    """A peer's net: training for n epochs, and the loss on held-out samples, from fresh weights."""

    train: Callable[[int], object]
    loss: Callable[[], float]


def prepare(
    settings: dict,
    keras_like: Callable[..., Net],
    torch_net: Callable[..., Net],
    steps: float,
    *arguments: object,
) -> Prepared:
    """The net of a peer after its first epoch, in a worker.

    Args:
        settings: of the worker: its peer, and how many threads.
        keras_like: makes the net of cdl's or Keras's names: `keras_like(keras, *arguments)`.
        torch_net: makes it in PyTorch: `torch_net(threads, *arguments)`.
        steps: by which the time of an epoch is divided.
        *arguments: the data.
    """
    peer = settings["peer"]
    if peer == "torch":
        net = torch_net(settings["threads"], *arguments)
    elif peer == "cdl":
        import cdl

        net = keras_like(cdl, *arguments)
    else:
        os.environ["KERAS_BACKEND"] = peer.split()[1]
        import keras

        if peer == "keras torch":
            import torch

            torch.set_num_threads(settings["threads"])
        net = keras_like(keras, *arguments)
    net.train(1)
    return Prepared({"fit": Sample(net.train, steps, times=1)}, {"loss": net.loss()})


def measure(task: str, threads: int, options: argparse.Namespace, **settings: object) -> list[dict]:
    """A record a peer of the module that is the task, whose `prepare` gets the settings."""
    jobs = {
        name: {"task": f"benchmarks.{task}", "peer": name, "threads": threads, **settings}
        for name in options.peers
    }
    clock = "cpu" if threads == 1 else "wall"
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, clock)
    found = [
        {"threads": threads, "clock": clock, "peer": n, "s": t["fit"]["min"], **facts[n]}
        for n, t in times.items()
    ]
    return found + [{"threads": threads, "peer": n, "failed": why} for n, why in failed.items()]


def tables(found: list[dict], unit: str, of: str, factor: float = 1.0, digits: int = 2) -> str:
    """The times, how many times cdl's they are, and the loss after the first epoch.

    Args:
        found: records of `measure`.
        unit: in which the times are shown.
        of: what takes so long.
        factor: how many units a second has.
        digits: of the times, behind the point.
    """
    text = []
    for threads in sorted({row["threads"] for row in found}):
        rows = [row for row in found if row["threads"] == threads and "s" in row]
        ours = next((row["s"] for row in rows if row["peer"] == "cdl"), None)
        lines = [
            [
                row["peer"],
                f"{row['s'] * factor:,.{digits}f}",
                records.ratio(row["s"] / ours) if ours else "-",
                f"{row['loss']:.4f}",
            ]
            for row in rows
        ]
        clock = "CPU" if rows and rows[0]["clock"] == "cpu" else "wall clock"
        text.append(f"### {threads} thread{'s' * (threads > 1)}, {clock} {unit} {of}\n")
        head = ["peer", f"{unit} {of}", "of cdl's", "held-out loss after 1 epoch"]
        text += [records.table(head, lines), ""]
        text += [f"{r['peer']}: {r['failed']}" for r in found if "failed" in r]
    return "\n".join(text)


def main(
    name: str,
    description: str | None,
    measured: Callable[[int, argparse.Namespace], list[dict]],
    shown: Callable[[list[dict]], str],
    add_options: Callable[[argparse.ArgumentParser], object] | None = None,
    peers: Sequence[str] = PEERS,
) -> None:
    """The command line of such a benchmark."""
    parser = argparse.ArgumentParser(description=description)
    command.add_options(parser, rounds=5)
    parser.add_argument("--peers", nargs="+", default=list(peers), choices=peers)
    if add_options is not None:
        add_options(parser)
    options = parser.parse_args()
    command.run(
        name, lambda: [row for n in options.threads for row in measured(n, options)], shown, options
    )
