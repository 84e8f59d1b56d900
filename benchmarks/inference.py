"""Time of a prediction, from one row to 65,536, beside every peer.

    python -m benchmarks.inference [--threads 1 2] [--cases seed mnist] [--rows 1 32 8192 65536]
                                   [--peers cdl onnxruntime ...] [--rounds 20] [--keep]

Rows are float32 in, probabilities out as a NumPy array. Where a library has several ways in, each
is measured by itself. All peers' outputs must agree.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import peers
from benchmarks.harness import cases, children, command, records, roofline
from benchmarks.harness.cases import Case
from benchmarks.harness.worker import Prepared, Sample, calls

DEFAULT_PEERS = [
    *("cdl", "onnxruntime", "jax step", "torch", "torch compile"),
    *("keras jax", "keras torch", "keras tensorflow", "numpy", "sklearn"),
]
SLOW = ("keras", "sklearn")  # their many rows are measured in 8,192 alone, to keep runs short


def prepare(settings: dict) -> Prepared:
    """A sample for each way to predict and each number of rows, in a worker."""
    (case,) = cases.find([settings["case"]])
    peer = peers.PEERS[settings["peer"]]
    rng = np.random.default_rng(0)
    weights = cases.weights(case, rng)
    ways = peer.load().predictors(case, weights, settings["threads"], peer.variant)
    samples, means = {}, {}
    for rows in settings["rows"]:
        x = rng.standard_normal((rows, case.sizes[0]), np.float32)
        for way, predict in ways.items():
            samples[f"{way} {rows}"] = Sample(calls(predict, x), 1)
            # The mean alone is 1 / classes for every softmax: weigh the columns.
            y = np.asarray(predict(x), np.float64)
            means[f"{way} {rows}"] = float(np.mean(y.reshape(rows, -1) @ np.arange(y[0].size)))
    return Prepared(samples, {"means": means})


def measure(case: Case, threads: int, chosen: list[peers.Peer], options) -> list[dict]:
    """A record for each peer, way in and number of rows."""
    jobs = {}
    for peer in chosen:
        jobs[peer.name] = {
            "task": "benchmarks.inference",
            "peer": peer.name,
            "threads": threads,
            "case": case.name,
            "rows": [n for n in options.rows if n <= 8192 or not peer.name.startswith(SLOW)],
        }
    floats = sum(k * n for k, n in case.layers)
    jobs["roofline"] = roofline.job(threads, read=[floats])
    clock = "cpu" if threads == 1 else "wall"
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, clock)
    peaks = times.pop("roofline")
    common = {"case": case.name, "net": case.describe(), "threads": threads, "clock": clock}
    found = []
    for rows in options.rows:
        limit = roofline.forward_seconds(case, rows, peaks)
        found.append({**common, "peer": "roofline", "rows": rows, "way": "", "us": limit * 1e6})
    for name, samples in times.items():
        for sample, took in samples.items():
            way, rows = sample.rsplit(" ", 1)
            record = {"peer": name, "way": way, "rows": int(rows), "us": took["min"] * 1e6}
            record |= {"median_us": took["median"] * 1e6}
            found.append({**common, **record, "mean": facts[name]["means"][sample]})
    return found + [{**common, "peer": name, "failed": why} for name, why in failed.items()]


def tables(found: list[dict]) -> str:
    """A table for each number of threads and net: microseconds a call, cdl and the best peer."""
    text = []
    for threads, case in sorted({(r["threads"], r["case"]) for r in found}):
        mine = [r for r in found if r["threads"] == threads and r["case"] == case]
        clock = "CPU" if mine[0]["clock"] == "cpu" else "wall clock"
        title = f"### {mine[0]['net']}, {threads} thread{'s' * (threads > 1)}"
        text += [f"{title}, {clock} microseconds a call\n", one_table(mine), ""]
        text += [f"- {r['peer']} left out: {r['failed']}" for r in mine if "failed" in r]
        text += disagreeing(mine)
    return "\n".join(text)


def one_table(mine: list[dict]) -> str:
    timed = [r for r in mine if "us" in r]
    sizes = sorted({r["rows"] for r in timed})
    ways = list(dict.fromkeys((r["peer"], r["way"]) for r in timed))
    times = {(r["peer"], r["way"], r["rows"]): r["us"] for r in timed}
    rows = [
        [f"{peer} {way}".strip(), *(records.number(times.get((peer, way, n))) for n in sizes)]
        for peer, way in ways
    ]
    names = [(peer, way) for peer, way in ways if peer not in (*peers.OURS, "roofline")]
    for way in (way for peer, way in ways if peer == "cdl"):
        ratios = []
        for n in sizes:
            others = [times[peer, w, n] for peer, w in names if (peer, w, n) in times]
            ratios.append(records.ratio(min(others) / times["cdl", way, n] if others else None))
        rows.append([f"best peer / cdl {way}", *ratios])
    return records.table(["", *(f"{n:,} row{'s' * (n > 1)}" for n in sizes)], rows)


def disagreeing(mine: list[dict]) -> list[str]:
    found = []
    for n in sorted({r["rows"] for r in mine if "mean" in r}):
        group = [r for r in mine if r.get("rows") == n and "mean" in r]
        middle = sorted(r["mean"] for r in group)[len(group) // 2]
        found += [
            f"- {r['peer']} {r['way']}, {n} rows: outputs differ from the others'"
            for r in group
            if not np.isclose(r["mean"], middle, rtol=1e-4, atol=1e-4)
        ]
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    command.add_options(parser, rounds=20)
    parser.add_argument("--cases", nargs="+", default=["seed", "mnist"], metavar="CASE")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32, 8192, 65536], metavar="N")
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, DEFAULT_PEERS)

    def run() -> list[dict]:
        found = []
        for threads in options.threads:
            for case in cases.find(options.cases):
                found += measure(case, threads, chosen, options)
                command.progress(f"{case.name}, {threads} thread(s) done")
        return found

    command.run("inference", run, tables, options, left_out)


if __name__ == "__main__":
    main()
