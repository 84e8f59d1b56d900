"""`python -m cdl bench`: training and prediction speed of a few nets on this machine."""

import os
from collections.abc import Sequence

from cdl._cli import bench_page, info
from cdl._cli import peers as other_libraries
from cdl._cli.bench_page import shown
from cdl._cli.peers import NETS, data_of, least
from cdl.layers import Dense, Input
from cdl.models import Sequential

# Microseconds a step of each net with two threads on two cores that had nothing else to do, of cdl
# and of Keras on JAX: benchmarks/README.md has the whole table (2026-11-26, commit 13dbc96).
REFERENCE = {
    "tiny": (1.02, 209),
    "small": (10.4, 189),
    "medium": (24.5, 241),
    "large": (1722, 2742),
}
# Reference times of other instruction sets, on one thread of the same machine.
BEFORE = """
Adam, float32, with accuracy; the shortest of many runs. Other processes spoil
the figures: the load of this machine was {load:.1f} before, on {cores} cores.

us/step: one step of training    trained/s, predicted/s: rows a second
us for 1: predict of one row     reference: us/step on another machine
"""
AFTER = """
The reference is an Intel Xeon (family 6, model 167) with avx512 and 2 threads.
Keras on JAX takes {keras} us a step there.
With avx2 a step takes up to 3 times as long, with baseline up to 12 times."""


def build(widths: tuple[int, ...]) -> Sequential:
    """Build and compile a classifier."""
    model = Sequential([Input((widths[0],))])
    for width in widths[1:-1]:
        model.add(Dense(width, activation="relu"))
    model.add(Dense(widths[-1], activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measure(widths: tuple[int, ...], batch: int, rows: int, seconds: float) -> list[float]:
    """Microseconds a step, rows a second in training; microseconds a row, rows a second after."""
    x, y = data_of(widths, rows)
    model = build(widths)
    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
    epoch = least(lambda: model.fit(x, y, batch_size=batch, verbose=0), seconds)
    one = least(lambda: model.predict(x[:1], verbose=0), seconds / 4)
    every = least(lambda: model.predict(x, verbose=0), seconds / 4)
    return [1e6 * epoch * batch / rows, rows / epoch, 1e6 * one, rows / every]


def run(seconds: float = 1.0, beside: Sequence[str] | None = None, page: str | None = None) -> int:
    """Print a line per net: measured and reference times, in 80 columns.

    Args:
        seconds: to measure each net.
        beside: other libraries; None takes all that are installed.
        page: a file of HTML to write with the same figures as plots.
    """
    machine, load = info.report(), os.getloadavg()[0]
    print(machine)
    print(BEFORE.format(load=load, cores=os.cpu_count()))
    print(
        f"{'net':<20}{'batch':>6}{'us/step':>10}{'reference':>10}{'trained/s':>12}{'us for 1':>9}"
        f"{'predicted/s':>12}"
    )
    cdl_steps, rows = [], []
    for name, widths, batch, count in NETS:
        step, trained, one, predicted = measure(widths, batch, count, seconds)
        cdl_steps.append(step)
        cells = [shown(step), shown(REFERENCE[name][0]), f"{trained:,.0f}", shown(one)]
        rows.append([_label(name, widths), str(batch), *cells, f"{predicted:,.0f}"])
        print("".join(map(format, rows[-1], ("<20", ">6", ">10", ">10", ">12", ">9", ">12"))))
    print(AFTER.format(keras=", ".join(f"{keras:,}" for _, keras in REFERENCE.values())))
    peers = other_libraries.installed() if beside is None else list(beside)
    columns: dict[str, list[float] | None] = {}
    if peers:
        print("\nus/step beside what is installed, and how many times as long it takes", flush=True)
        columns = {peer: other_libraries.steps(peer, seconds) for peer in peers}
        print(f"{'net':<20}{'cdl':>10}" + "".join(f"{peer:>16}" for peer in columns))
        for k, (name, widths, _, _) in enumerate(NETS):
            cells = [
                "failed" if found is None else f"{shown(found[k])} ({found[k] / cdl_steps[k]:.1f}x)"
                for found in columns.values()
            ]
            print(
                f"{_label(name, widths):<20}{shown(cdl_steps[k]):>10}"
                + "".join(f"{c:>16}" for c in cells)
            )
    if page is not None:
        steps = {
            row[0]: [
                ("cdl, here", cdl_steps[k]),
                *((f"{peer}, here", found[k]) for peer, found in columns.items() if found),
                *zip(("cdl, reference", "Keras on JAX, reference"), REFERENCE[name], strict=True),
            ]
            for k, (row, (name, *_)) in enumerate(zip(rows, NETS, strict=True))
        }
        before, _ = BEFORE.format(load=load, cores=os.cpu_count()).strip().split("\n\n")
        about = "The reference is an Intel Xeon (family 6, model 167) with avx512 and 2 threads."
        units = "trained/s, predicted/s: rows a second. us for 1: predict of one row."
        heads = ["net", "batch", "us/step", "reference", "trained/s", "us for 1", "predicted/s"]
        bench_page.write(page, machine, [f"{before} {about}", units], steps, heads, rows)
        print(f"\n{page} has these figures as plots")
    return 0


def _label(name: str, widths: tuple[int, ...]) -> str:
    return f"{name} {'-'.join(map(str, widths))}"
