"""The process of one peer: prepares, then runs a round each time it is asked.

It is started by children.py with its settings as one JSON argument, answers one JSON line a
request on what was its standard output, and sends whatever a library prints to standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.harness import machine


@dataclass
class Sample:
    """Something to time: `run(n)` does it n times; each time is `units` units of work."""

    run: Callable[[int], object]
    units: float = 1.0
    reset: Callable[[], object] | None = None  # before every round, outside the clock
    times: int = 0  # that fill a round; found at the first one


@dataclass
class Prepared:
    """The measurable calls that a task prepares from its settings."""

    samples: dict[str, Sample]
    facts: dict[str, object] = field(default_factory=dict)


def calls(function: Callable[..., object], *arguments: object) -> Callable[[int], None]:
    """The function `run` of a Sample, for a plain call."""

    def run(n: int) -> None:
        for _ in range(n):
            function(*arguments)

    return run


def timed(sample: Sample, n: int) -> tuple[float, float]:
    """Seconds of the wall and of the CPU for n times."""
    if sample.reset is not None:
        sample.reset()
    wall, cpu = time.perf_counter(), time.process_time()
    sample.run(n)
    return time.perf_counter() - wall, time.process_time() - cpu


def calibrate(sample: Sample, seconds: float) -> None:
    """Doubles the times until they fill the seconds; what is compiled at first use, is now."""
    sample.times = 1
    timed(sample, 1)
    while True:
        wall, _ = timed(sample, sample.times)
        if wall > seconds / 2:
            sample.times = max(1, round(sample.times * seconds / wall))
            return
        sample.times *= 2


def run_round(sample: Sample, seconds: float) -> dict[str, float]:
    """Seconds a unit; a round that turns out short makes the next one longer."""
    if not sample.times:
        calibrate(sample, seconds)
    wall, cpu = timed(sample, sample.times)
    units = sample.units * sample.times
    if wall < seconds / 2:  # calibrated while something else had the core
        sample.times = max(sample.times + 1, round(sample.times * min(10, seconds / wall)))
    return {"wall": wall / units, "cpu": cpu / units}


def serve(prepared: Prepared, requests, answers) -> None:
    """Answer requests until the other side closes the pipe."""
    print(json.dumps({"samples": list(prepared.samples), "facts": prepared.facts}), file=answers)
    for line in requests:
        request = json.loads(line)
        took = run_round(prepared.samples[request["sample"]], request["seconds"])
        print(json.dumps(took), file=answers)


def main() -> None:
    """Settings: `task` (a module with `prepare(settings)`), `threads`, and the task's own."""
    settings = json.loads(sys.argv[1])
    if sys.platform == "linux":  # PR_SET_PDEATHSIG: never stay behind, stopped, without a parent
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    machine.pin(settings["threads"])
    try:
        prepared = importlib.import_module(settings["task"]).prepare(settings)
    except Exception as error:  # a peer that fails is left out, with its reason
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(json.dumps({"failed": text[:300]}), file=answers)
        raise
    serve(prepared, sys.stdin, answers)


if __name__ == "__main__":
    main()
