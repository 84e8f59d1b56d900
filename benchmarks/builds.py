"""Time from layers to a loaded file against their number: it must double when that doubles.

    python -m benchmarks.builds [--kinds stack chain ...] [--sizes 100 1000] [--rounds 3] [--keep]

One thread, CPU time. A model is made, built and compiled, learns from one batch of two rows, is
saved as `.keras` and loaded again. The ratio is what one doubling costs, on average since the row
above: 2.0 is proportional, 4.0 is quadratic. Under some thousand layers the fixed cost of each
stage makes it less.
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import children, command, records
from benchmarks.harness.worker import Prepared

SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000)
STAGES = ("construct", "build, compile", "first step", "save", "load")
_REPEATED = 1_000  # layers up to which the rounds are run; more take long enough


def stack(n: int):
    """Layers given to a Sequential."""
    from cdl.layers import Dense
    from cdl.models import Sequential

    return Sequential([Dense(4) for _ in range(n)])


def added(n: int):
    """Layers added to a Sequential that is built, one by one."""
    from cdl.layers import Dense, Input
    from cdl.models import Sequential

    model = Sequential([Input((4,))])
    for _ in range(n):
        model.add(Dense(4))
    return model


def chain(n: int):
    """Layers one after the other, connected by calls."""
    from cdl.layers import Dense, Input
    from cdl.models import Model

    x = first = Input((4,))
    for _ in range(n):
        x = Dense(4)(x)
    return Model(first, x)


def branches(n: int):
    """Layers side by side, added up."""
    from cdl.layers import Add, Dense, Input
    from cdl.models import Model

    first = Input((4,))
    return Model(first, Add()([Dense(4)(first) for _ in range(n)]))


def scan(n: int):
    """Steps of `ops.scan` between two layers."""
    from cdl import ops
    from cdl.layers import Dense, Input
    from cdl.models import Model

    def step(carry, x):
        return 0.5 * carry + ops.tanh(x), None

    first = Input((n, 4))
    steps = ops.transpose(Dense(4)(first), (1, 0, 2))
    carry, _ = ops.scan(step, ops.zeros_like(first[:, 0]), steps)
    return Model(first, Dense(4)(carry))


# Builders of models by kind, the name of their size, and the largest one that takes no minutes.
KINDS: dict[str, tuple[Callable, str, int]] = {
    "stack": (stack, "layers", 30_000),
    "added": (added, "layers", 30_000),
    "chain": (chain, "layers", 30_000),
    "branches": (branches, "layers", 10_000),
    "scan": (scan, "steps", 3_000),
}


def stages(kind: str, n: int, folder: Path) -> Iterator[str]:
    """The stages one after the other; each is over when its name comes."""
    import numpy as np

    from cdl.models import load_model

    path = folder / "model.keras"
    model = KINDS[kind][0](n)
    yield "construct"
    if not model.built:
        model.build((None, 4))
    model.compile("sgd", "mse")
    yield "build, compile"
    x = np.ones((2, *model.input_shape[1:]), np.float32)
    model.train_on_batch(x, np.ones((2, 4), np.float32))
    yield "first step"
    model.save(path)
    yield "save"
    load_model(path)
    yield "load"


def seconds(kind: str, n: int) -> dict[str, float]:
    """CPU time of each stage."""
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        run = stages(kind, n, Path(folder))
        for stage in STAGES:
            gc.collect()
            start = time.process_time()
            assert next(run) == stage
            took[stage] = time.process_time() - start
    return took


def prepare(settings: dict) -> Prepared:
    """Models of one kind in all sizes, in a worker; a first run, which imports, does not count."""
    kind = settings["kind"]
    seconds(kind, 10)
    found = {}
    for n in settings["sizes"]:
        rounds = settings["rounds"] if n <= _REPEATED else 1
        runs = [seconds(kind, n) for _ in range(rounds)]
        found[str(n)] = {stage: min(run[stage] for run in runs) for stage in STAGES}
    return Prepared({}, found)


def measure(options) -> list[dict]:
    """A record for each kind and size."""
    found = []
    for kind in options.kinds:
        sizes = [n for n in options.sizes if n <= KINDS[kind][2]]
        settings = {"task": "benchmarks.builds", "threads": 1, "kind": kind, "sizes": sizes}
        settings["rounds"] = options.rounds
        _, facts, failed = children.measure({kind: settings}, 0, 0, "cpu")
        if kind in failed:
            found.append({"kind": kind, "failed": failed[kind]})
        else:
            found += [{"kind": kind, "size": n, "seconds": facts[kind][str(n)]} for n in sizes]
        command.progress(f"{kind} done")
    return found


def tables(found: list[dict]) -> str:
    text = []
    for kind in dict.fromkeys(r["kind"] for r in found):
        make, unit, _ = KINDS[kind]
        text.append(f"### {make.__doc__ or kind} Milliseconds, and times by a doubling\n")
        mine = [r for r in found if r["kind"] == kind]
        text += [f"- {kind} failed: {r['failed']}" for r in mine if "failed" in r]
        rows = [
            row(record, before)
            for record, before in zip(mine, [None, *mine[:-1]], strict=True)
            if "failed" not in record
        ]
        if rows:
            heads = [head for stage in STAGES for head in (stage, "x")]
            text.append(records.table([unit, *heads], rows))
        text.append("")
    return "\n".join(text)


def row(record: dict, before: dict | None) -> list[str]:
    cells = [f"{record['size']:,}"]
    for stage, took in record["seconds"].items():
        cells.append(records.number(took * 1e3))
        if before is None:
            cells.append("-")
        else:
            doublings = math.log2(record["size"] / before["size"])
            cells.append(f"{(took / before['seconds'][stage]) ** (1 / doublings):.2f}")
    return cells


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=__doc__)
    command.add_options(parser, rounds=3, threads=False)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N")
    options = parser.parse_args(arguments)
    command.run("builds", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
