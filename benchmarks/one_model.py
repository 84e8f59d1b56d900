"""Threads that predict on one model: calls a second, all together.

    python -m benchmarks.one_model [--rounds 4] [--seconds 0.5] [--keep]

A server calls `predict` for each request, in as many threads as it has. Calls of a few microseconds
cannot be faster together than alone, since Python runs one thread at a time; they must not be
slower, and longer ones must use all cores.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness import cases, command, records

THREADS = (1, 2, 16, 64)
CASES = (("seed", 1), ("seed", 32), ("seed", 128), ("mnist", 1), ("mnist", 32))


def calls_a_second(call: Callable[[], object], threads: int, seconds: float) -> float:
    """Calls a second of all threads together."""
    begin, over, counts = threading.Barrier(threads + 1), threading.Event(), [0] * threads

    def work(i: int) -> None:
        call()
        begin.wait()
        while not over.is_set():
            call()
            counts[i] += 1

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    over.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)


def measure(rounds: int, seconds: float) -> list[dict]:
    """Rounds in turn; a record a net, number of rows and number of threads."""
    import cdl
    from benchmarks.peers import keras

    found = []
    for name, rows in CASES:
        (case,) = cases.find([name])
        rng = np.random.default_rng(0)
        model = keras.build(cdl, case, cases.weights(case, rng))
        x = rng.standard_normal((rows, case.sizes[0]), np.float32)
        predict = partial(model.predict, x, verbose=0)
        best = dict.fromkeys(THREADS, 0.0)
        for _ in range(rounds):
            for threads in THREADS:
                best[threads] = max(best[threads], calls_a_second(predict, threads, seconds))
        net = "-".join(map(str, case.sizes))
        found += [
            {"case": f"{net}, {rows}", "net": net, "rows": rows, "threads": n, "calls": calls}
            for n, calls in best.items()
        ]
    return found


def tables(found: list[dict]) -> str:
    calls: dict[tuple, dict[int, float]] = {}
    for r in found:
        calls.setdefault((r["net"], r["rows"]), {})[r["threads"]] = r["calls"]
    rows = [
        [net, n, records.number(1e6 / by[1]), f"{by[1]:,.0f}"]
        + [f"{by[t]:,.0f}, {by[t] / by[1]:.2f}x" for t in THREADS[1:]]
        for (net, n), by in calls.items()
    ]
    head = ["net", "rows", "us a call", "1 thread", *(f"{t} threads" for t in THREADS[1:])]
    return f"### Calls of predict a second, by all threads\n\n{records.table(head, rows)}\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_model", description=__doc__)
    command.add_options(parser, rounds=4, threads=False)
    options = parser.parse_args(arguments)
    run = partial(measure, options.rounds, max(options.seconds, 0.2))
    command.run("one_model", run, tables, options)


if __name__ == "__main__":
    main()
