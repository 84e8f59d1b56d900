"""Elements a second of every activation, loss, metric and optimizer, on each ISA.

    python -m benchmarks.kernels [--isas avx512 avx2 baseline] [--tables activations losses]
                                 [--rounds 10] [--keep]

The core's kernels are called from C on 32 rows of 128 floats, which stay in the L1 cache. NumPy's
exp, tanh and log on as many floats stand beside them.
"""

from __future__ import annotations

import argparse
import ctypes

import numpy as np

from benchmarks.harness import children, command, native, records
from benchmarks.harness.worker import Prepared, Sample, calls

ROWS, COLUMNS = 32, 128
DERIVED = 16  # at least CDL_MAX_DERIVED
TABLES = (
    "activations",
    "gradients",
    "losses",
    "metrics",
    "optimizers",
    "softmax",
    "softmax_gradient",
)


def names(table: str) -> list[str]:
    from cdl import _core

    rows = {
        "activations": _core.ACTIVATIONS,
        "gradients": _core.ACTIVATIONS,
        "losses": _core.LOSSES,
        "metrics": _core.METRICS,
        "optimizers": _core.OPTIMIZERS,
    }
    return list(rows.get(table, [""]))


def inputs(table: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets that the row can take: probabilities, classes, or plain numbers."""
    from cdl import _core

    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, COLUMNS), np.float32)
    t = rng.standard_normal((ROWS, COLUMNS), np.float32)
    if table not in {"losses", "metrics"}:
        return x, t
    if "crossentropy" in name or "accuracy" in name:
        x = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        t = np.eye(COLUMNS, dtype=np.float32)[rng.integers(0, COLUMNS, ROWS)]
    row = (_core.LOSSES if table == "losses" else _core.METRICS)[name]
    if row.target == "classes":  # int32, one a line, at the start of the memory
        t = np.zeros((ROWS, COLUMNS), np.int32)
        t.reshape(-1)[:ROWS] = rng.integers(0, COLUMNS, ROWS)
        t = t.view(np.float32)
    return x.astype(np.float32), t


def prepare(settings: dict) -> Prepared:
    """A sample for each row of the tables, in a worker; a unit is one element."""
    if settings["isa"] == "numpy":
        x = np.abs(np.random.default_rng(0).standard_normal(ROWS * COLUMNS, np.float32))
        functions = {"exp": np.exp, "tanh": np.tanh, "log": np.log, "sqrt": np.sqrt}
        out = np.empty_like(x)
        return Prepared(
            {f"numpy {k}": Sample(calls(f, x, out), x.size) for k, f in functions.items()}
        )
    core = native.core()
    samples = {}
    kept = []
    for table in settings["tables"]:
        for name in names(table):
            x, t = inputs(table, name)
            params = np.full(DERIVED, 0.1, np.float32)
            kept.append((x, t, params))
            pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, t, params)]
            words = [word.encode() for word in (settings["isa"], table, name)]
            sizes = [ctypes.c_size_t(size) for size in (ROWS, COLUMNS)]
            opened = core.kernel_open(*words, *sizes, *pointers)
            if opened:
                samples[f"{table} {name}".strip()] = Sample(runner(core, opened), ROWS * COLUMNS)
    return Prepared(samples)


def runner(core: ctypes.CDLL, opened: int):
    handle = ctypes.c_void_p(opened)
    return lambda n: core.kernel_run(handle, ctypes.c_size_t(n))


def measure(options) -> list[dict]:
    """A record for each kernel and ISA."""
    native.core()
    jobs = {
        isa: {"task": "benchmarks.kernels", "threads": 1, "isa": isa, "tables": options.tables}
        for isa in [*options.isas, "numpy"]
    }
    times, _, failed = children.measure(jobs, options.rounds, options.seconds, "cpu")
    found = [
        {"isa": isa, "kernel": kernel, "giga": 1e-9 / took["min"]}
        for isa, samples in times.items()
        for kernel, took in samples.items()
    ]
    return found + [{"isa": isa, "failed": why} for isa, why in failed.items()]


def tables(found: list[dict]) -> str:
    timed = [r for r in found if "giga" in r]
    isas = list(dict.fromkeys(r["isa"] for r in timed))
    speeds = {(r["isa"], r["kernel"]): r["giga"] for r in timed}
    rows = [
        [kernel, *(records.number(speeds.get((isa, kernel))) for isa in isas)]
        for kernel in dict.fromkeys(r["kernel"] for r in timed)
    ]
    title = f"### Giga-elements a second, one thread, {ROWS} rows of {COLUMNS} in L1\n"
    return "\n".join([title, records.table(["kernel", *isas], rows), ""])


def main(arguments: list[str] | None = None) -> None:
    from cdl import _core

    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    command.add_options(parser, rounds=10, threads=False)
    parser.set_defaults(seconds=0.01)
    parser.add_argument("--isas", nargs="+", default=list(_core.available_isas()), metavar="ISA")
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES, metavar="TABLE")
    options = parser.parse_args(arguments)
    command.run("kernels", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
