"""A training step with a loss of one's own: in NumPy, in cdl.ops, and one that cannot be traced.

    python -m benchmarks.custom_loss [--cases mnist seed] [--rounds 40] [--keep]

The loss is the crossentropy of one-hot targets, on one thread; the four ways to write it take turns
of an epoch. A loss in NumPy is traced and compiled like one in `cdl.ops`; one that asks for arrays
is called on each batch, and its gradient measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings

import numpy as np

from benchmarks.harness import cases, command, machine, records

WAYS = ("by name", "cdl.ops", "NumPy", "not traced")


def losses() -> dict[str, object]:
    """A cross-entropy of one's own, in each way to write it."""
    from cdl import ops

    def in_ops(y, p):
        return -ops.sum(y * ops.log(ops.clip(p, 1e-7, 1.0)), axis=-1)

    def in_numpy(y, p):
        return -np.sum(y * np.log(np.clip(p, 1e-7, 1.0)), axis=-1)

    def on_arrays(y, p):
        return in_numpy(np.asarray(y), np.asarray(p))

    return dict(zip(WAYS, ["categorical_crossentropy", in_ops, in_numpy, on_arrays], strict=True))


def inside(name: str, rounds: int) -> dict[str, list[float]]:
    """The seconds of each epoch by the way the loss is written, in a process of its own."""
    import cdl
    from benchmarks.peers import keras

    warnings.simplefilter("ignore", cdl.UntracedWarning)
    (case,) = cases.find([name])
    data = cases.data(case)
    models = {}
    for way, loss in losses().items():
        model = models[way] = keras.build(cdl, case, data.weights)
        model.compile(cdl.optimizers.Adam(cases.RATE), loss)

    def epoch(model) -> float:
        start = time.process_time()
        model.fit(data.x, data.y, batch_size=case.batch, verbose=0)
        return time.process_time() - start

    for model in models.values():
        epoch(model)
    found: dict[str, list[float]] = {way: [] for way in models}
    for i in range(rounds):
        for way in WAYS[i % len(WAYS) :] + WAYS[: i % len(WAYS)]:
            found[way].append(epoch(models[way]))
    return found


def measure(options: argparse.Namespace) -> list[dict]:
    """A record a case and way."""
    found = []
    for case in cases.find(options.cases):
        words = ["--inside", case.name, "--rounds", str(options.rounds)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.custom_loss", *words],
            env=machine.environment(1),
            cwd=machine.ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        times = json.loads(done.stdout)
        for way in WAYS:
            ratios = np.divide(times[way], times["cdl.ops"])
            record = {"case": case.name, "net": case.describe(), "threads": 1, "way": way}
            best, median = min(times[way]) / case.steps, np.median(times[way]) / case.steps
            found.append(
                {**record, "best": best, "median": median, "ratio": float(np.median(ratios))}
            )
        command.progress(f"{case.name} done")
    return found


def tables(found: list[dict]) -> str:
    """Microseconds a step, and the median of the ratios to `cdl.ops`, epoch by epoch."""
    by: dict[str, dict[str, dict]] = {}
    for r in found:
        by.setdefault(f"{r['net']}", {})[r["way"]] = r
    rows = [
        [net, *(f"{ways[w]['best'] * 1e6:,.0f}, {ways[w]['ratio']:.3f}x" for w in WAYS)]
        for net, ways in by.items()
    ]
    title = "### A step, microseconds, and beside the same loss in `cdl.ops`: 1 thread, CPU time"
    return f"{title}\n\n{records.table(['net', *WAYS], rows)}\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.custom_loss", description=__doc__)
    command.add_options(parser, rounds=40, threads=False)
    parser.add_argument("--cases", nargs="+", default=["mnist", "seed"], metavar="CASE")
    parser.add_argument("--inside", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        print(json.dumps(inside(options.inside, options.rounds)))
    else:
        command.run("custom_loss", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
