"""Memory in use by training and predicting.

    python -m benchmarks.memory [--peers cdl torch] [--gigabytes 2] [--models 1000] [--keep]

Four questions, each answered in a process of its own: how far memory rises while the mnist net
trains, and while cifar_vgg, a net of convolutions, does; whether it stays flat over many
predictions and many models; and what an epoch over a uint8 file on disk, mapped into memory,
costs beside the same rows in memory.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.harness import cases, children, command, records
from benchmarks.harness.convnets import NETS
from benchmarks.harness.worker import Prepared
from benchmarks.peers import convnets

DEFAULT_PEERS = ["cdl", "jax scan", "torch", "keras jax", "sklearn", "numpy"]
IMAGE_PEERS = ["cdl", "torch", "jax step", "keras jax", "keras torch", "keras tensorflow"]


def status(name: str) -> float:
    """Megabytes, from /proc/self/status: VmRSS, VmHWM, RssAnon."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Watch:
    """The highest anonymous memory (no file pages) while a block runs."""

    def __enter__(self) -> Watch:
        self.start = self.top = status("RssAnon")
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        while not self.done.wait(0.01):
            self.top = max(self.top, status("RssAnon"))

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self.rise = max(self.top, status("RssAnon")) - self.start


def prepare(settings: dict) -> Prepared:
    """The answer to one of the questions, in a worker."""
    question = {"fit": fit, "images": train_images, "flat": flat, "memmap": memmap}[
        settings["question"]
    ]
    return Prepared({}, question(settings))


def fit(settings: dict) -> dict:
    """Memory that the library's import and training add; weights, m and v need 8 MB."""
    (case,) = cases.find(["mnist"])
    data = cases.data(case)
    peer = peers.PEERS[settings["peer"]]
    before = status("RssAnon")
    module = peer.load()
    with Watch() as watch:
        trainer = module.Trainer(case, data, settings["threads"], peer.variant)
        trainer.reset()
        trainer.train(2)
    return {"import_mb": watch.start - before, "fit_mb": watch.rise}


def train_images(settings: dict) -> dict:
    """Memory of training cifar_vgg, batch 64: weights, m and v need 3.5 MB, activations some 40."""
    before = status("RssAnon")
    peers.PEERS[settings["peer"]].load()
    with Watch() as watch:
        convnets.trainer(settings["peer"], NETS["cifar_vgg"], settings["threads"]).train(2)
    return {"import_mb": watch.start - before, "fit_mb": watch.rise}


def seed_model():
    import cdl

    made = cdl.models.Sequential([cdl.layers.Input((100,))])
    made.add(cdl.layers.Dense(64, activation="relu"))
    made.add(cdl.layers.Dense(10, activation="softmax"))
    made.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return made


def flat(settings: dict) -> dict:
    """Growth over many calls, after a tenth of them has settled the memory."""
    x, y = np.ones((32, 100), np.float32), np.eye(10, dtype=np.float32)[np.arange(32) % 10]
    model = seed_model()

    def predicts(n: int) -> None:
        for _ in range(n):
            model.predict(x, verbose=0)

    def models(n: int) -> None:
        for _ in range(n):
            seed_model().fit(x, y, verbose=0)

    found = {}
    for name, work, n in (("predicts", predicts, 100_000), ("models", models, settings["models"])):
        work(n // 10)
        before = status("RssAnon")
        work(n)
        found[f"{name}_mb"] = status("RssAnon") - before
        found[name] = n
    return found


def memmap(settings: dict) -> dict:
    """An epoch over the file (784 columns) beside rows in memory; `warm` is without the disk."""
    import cdl

    rows = int(settings["gigabytes"] * 1e9 / 784)
    rng = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile() as file:
        for start in range(0, rows, 50_000):
            count = min(50_000, rows - start)
            file.write(rng.integers(0, 256, (count, 784), np.uint8).tobytes())
        file.flush()
        x = np.memmap(file.name, np.uint8, "r", shape=(rows, 784))
        y = rng.integers(0, 10, rows)
        model = cdl.models.Sequential([cdl.layers.Input((784,))])
        model.add(cdl.layers.Dense(64, activation="relu"))
        model.add(cdl.layers.Dense(10, activation="softmax"))
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")

        def epoch(x, y) -> float:
            start = time.perf_counter()
            model.fit(x, y, batch_size=128, verbose=0)
            return time.perf_counter() - start

        part = rows // 8
        inside = x[:part].astype(np.float32)
        epoch(inside, y[:part])
        in_memory = min(epoch(inside, y[:part]) for _ in range(3)) * rows / part
        del inside
        with Watch() as watch:
            first = epoch(x, y)
        start = time.perf_counter()
        for block in range(0, rows, 50_000):
            x[block : block + 50_000].sum()
        read = time.perf_counter() - start
    found = {"gigabytes": rows * 784 / 1e9, "rows": rows, "epoch_s": first, "read_s": read}
    return {**found, "in_memory_s": in_memory, "rise_mb": watch.rise}


def measure(chosen: list[peers.Peer], of_images: list[peers.Peer], options) -> list[dict]:
    """A record a question and library."""
    common = {"task": "benchmarks.memory", "threads": 1}
    common |= {"gigabytes": options.gigabytes, "models": options.models}
    jobs = {f"fit {p.name}": {**common, "question": "fit", "peer": p.name} for p in chosen}
    jobs |= {
        f"images {p.name}": {**common, "question": "images", "peer": p.name} for p in of_images
    }
    jobs |= {name: {**common, "question": name} for name in ("flat", "memmap")}
    found = []
    for name, settings in jobs.items():
        _, facts, failed = children.measure({name: settings}, 0, 0, "cpu")
        answer = {"failed": failed[name]} if name in failed else facts[name]
        found.append({"question": settings["question"], "peer": settings.get("peer"), **answer})
    return found


def tables(found: list[dict]) -> str:
    text = []
    for question, net in (("fit", "the mnist net"), ("images", "cifar_vgg")):
        rows = [
            [r["peer"], records.number(r["import_mb"]), records.number(r["fit_mb"])]
            for r in found
            if r["question"] == question and "failed" not in r
        ]
        text += [f"### Memory added by the import and by training {net}, MB\n"]
        text += [records.table(["library", "import", "training"], rows), ""]
    text += [
        f"- {r['question']} {r['peer'] or ''} failed: {r['failed']}" for r in found if "failed" in r
    ]
    for r in found:
        if r["question"] == "flat" and "failed" not in r:
            text.append(
                f"- {r['predicts']:,} predictions added {r['predicts_mb']:.1f} MB; "
                f"{r['models']:,} models, each built and trained, {r['models_mb']:.1f} MB."
            )
        if r["question"] == "memmap" and "failed" not in r:
            text.append(
                f"- An epoch of 784-64-10 over {r['rows']:,} rows of a {r['gigabytes']:.2g} GB "
                f"uint8 file took {r['epoch_s']:.2f} s and {r['rise_mb']:.0f} MB; the same rows as "
                f"float32 in memory {r['in_memory_s']:.2f} s; reading the file through "
                f"NumPy {r['read_s']:.2f} s."
            )
    return "\n".join([*text, ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    command.add_options(parser, rounds=1, threads=False)
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="default: %(default)s")
    parser.add_argument("--models", type=int, default=1000, help="default: %(default)s")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, DEFAULT_PEERS)
    names = [p for p in IMAGE_PEERS if options.peers is None or p in options.peers]
    of_images, more_left_out = peers.choose(names, []) if names else ([], {})

    def run() -> list[dict]:
        return measure(chosen, of_images, options)

    command.run("memory", run, tables, options, left_out | more_left_out)


if __name__ == "__main__":
    main()
