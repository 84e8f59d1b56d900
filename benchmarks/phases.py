"""Shares of a training step's time: gather, products, loss, update, the rest.

    python -m benchmarks.phases [--cases tiny seed 100-64-10/32/tanh] [--seconds 3] [--keep]

`fit` runs on one thread as it is, without a probe in it, and a timer looks some thousand times a
second where it stands: the innermost function and those that called it tell the phase. Shares
are of the time inside `fit`; a case's microseconds are those of the fastest epoch. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import cases, command, machine, native, records

DEPTH = 16  # as sampler.c
EVERY = 101_000  # nanoseconds; no divisor of anything that repeats
MOST = 200_000

# The first row that fits a frame, from the innermost one outwards, names the phase: a source
# file and a function, either of which may be a part of the name or empty.
PHASES = (
    ("optimizer", "", "_loop_update"),
    ("backward products", "", "cdl_matmul_transposed"),  # behind it: what it calls to transpose
    ("transposing weights", "", "transpose"),
    ("gradients", "", "_gradient_loop"),
    ("activations", "", "_loop"),
    ("gather", "", "cdl_feed"),
    ("forward products", "dense.c", "forward"),
    ("backward products", "dense.c", "backward"),
    ("weight gradients", "dense.c", "update"),
    ("loss", "loss.c", ""),
    ("metric", "metric.c", ""),
    ("metric", "", "cdl_report_mean"),
    ("between", "run.c", ""),
    ("between", "", "cdl_region"),
)
NAMES = tuple(dict.fromkeys([name for name, _, _ in PHASES] + ["Python"]))


def phase_of(frames: list[tuple[str, str] | None]) -> str:
    """The phase of a stack of (file, function), innermost first; Python outside the core."""
    for frame in frames:
        for name, file, function in PHASES if frame else ():
            if file in frame[0] and function in frame[1]:
                return name
    return "Python"


def inside(name: str, seconds: float) -> dict[str, object]:
    """The share of each phase and the time of a step, in a process of its own."""
    from benchmarks.harness.symbols import Symbols
    from benchmarks.peers import cdl as ours
    from cdl import _core

    (case,) = cases.find([name])
    trainer = ours.Trainer(case, cases.data(case), 1, "")
    trainer.reset()
    trainer.train(2)
    sampler = native.sampler()
    memory = (ctypes.c_size_t * (MOST * DEPTH))()
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:  # without the timer, which costs a few per cent
        best = min(best, epoch(trainer))
    if sampler.sampler_start(memory, ctypes.c_size_t(MOST), ctypes.c_long(EVERY)):
        raise SystemExit("no timer to be had on this system")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        trainer.train(1)
    taken = sampler.sampler_stop()
    symbols = Symbols(Path(_core.__file__))
    counts = dict.fromkeys(NAMES, 0)
    seen: dict[int, tuple[str, str] | None] = {}
    for row in range(taken):
        stack = [a for a in memory[row * DEPTH : (row + 1) * DEPTH] if a]
        frames = [seen.setdefault(a, symbols.at(a)) for a in stack]
        counts[phase_of(frames)] += 1
    shares = {name: count / max(taken, 1) for name, count in counts.items()}
    return {"us": best / case.steps * 1e6, "samples": taken, "shares": shares}


def epoch(trainer) -> float:
    start = time.process_time()
    trainer.train(1)
    return time.process_time() - start


def measure(options: argparse.Namespace) -> list[dict]:
    """A record a case."""
    native.sampler()
    found = []
    for case in cases.find(options.cases):
        words = ["--inside", case.name, "--seconds", str(options.seconds)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.phases", *words],
            env=machine.environment(1),
            cwd=machine.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        record = {"case": case.name, "net": case.describe(), "threads": 1}
        if done.returncode:
            found.append({**record, "failed": done.stderr.strip().splitlines()[-1][:300]})
        else:
            found.append({**record, **json.loads(done.stdout)})
        command.progress(f"{case.name} done")
    return found


def tables(found: list[dict]) -> str:
    """A column a case, a line a phase: share, and microseconds a step."""
    done = [r for r in found if "shares" in r]
    rows = [["a step, us", *(records.number(r["us"]) for r in done)]]
    for name in NAMES:
        rows.append([name, *(f"{r['shares'][name]:.0%}" for r in done)])
    text = ["### Where a step's time goes: one thread, shares of the time inside `fit`\n"]
    text += [records.table(["phase", *(r["case"] for r in done)], rows), ""]
    text += [f"- {r['case']}: failed: {r['failed']}" for r in found if "failed" in r]
    return "\n".join([*text, ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phases", description=__doc__)
    command.add_options(parser, rounds=1, threads=False)
    parser.set_defaults(seconds=3.0)  # of each case, twice
    parser.add_argument("--cases", nargs="+", default=["all"], metavar="CASE")
    parser.add_argument("--inside", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        print(json.dumps(inside(options.inside, options.seconds)))
    else:
        command.run("phases", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
