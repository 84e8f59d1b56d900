"""Two fits in two threads, many small models, and a busy neighbour.

    python -m benchmarks.concurrency [--peers cdl torch ...] [--rounds 4] [--keep]

Two Python threads train a seed net each, beside one that trains one: 1.00x is perfect on two
cores, 2.00x is taking turns. `cdl.train_many` trains hundreds of them, in turns with `fit`.
At last the mnist net trains on two threads while another process keeps one core busy.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks import peers
from benchmarks.harness import cases, children, command, machine, records
from benchmarks.harness.worker import Prepared, Sample

DEFAULT_PEERS = ["cdl", "jax scan", "torch", "numpy", "sklearn"]


def prepare(settings: dict) -> Prepared:
    """One fit, two at once, or the mnist net, in a worker with both cores."""
    peer = peers.PEERS[settings["peer"]]
    module = peer.load()
    (case,) = cases.find([settings["case"]])
    case = dataclasses.replace(case, steps=case.steps * settings["longer"])
    data = cases.data(case)
    made = [module.Trainer(case, data, settings["inner"], peer.variant) for _ in range(2)]
    for trainer in made:
        trainer.reset()
        trainer.train(1)
    pool = ThreadPoolExecutor(2)

    def both(n: int) -> None:
        for done in [pool.submit(trainer.train, n) for trainer in made]:
            done.result()

    samples = {"one": Sample(made[0].train)}
    if settings["two"]:
        samples["two"] = Sample(both)
    return Prepared(samples)


def settings(peer: str, case: str, inner: int, two: bool) -> dict:
    return {
        "task": "benchmarks.concurrency",
        "threads": 2,
        "peer": peer,
        "case": case,
        "inner": inner,
        "longer": 2 if two else 1,
        "two": two,
        "env": dict.fromkeys(machine.THREAD_VARIABLES, inner),
    }


def two_fits(chosen: list[peers.Peer], options) -> list[dict]:
    jobs = {peer.name: settings(peer.name, "seed", 1, two=True) for peer in chosen}
    times, _, failed = children.measure(jobs, options.rounds, options.seconds, "wall")
    found = [
        {
            "question": "two fits",
            "peer": name,
            "one_ms": samples["one"]["min"] * 1e3,
            "two_ms": samples["two"]["min"] * 1e3,
        }
        for name, samples in times.items()
    ]
    return found + [
        {"question": "two fits", "peer": name, "failed": why} for name, why in failed.items()
    ]


def many_models(count: int = 250, rounds: int = 3) -> list[dict]:
    """`cdl.train_many` against the same fits one after the other, in turns."""
    import cdl

    if not hasattr(cdl, "train_many"):
        return []
    (case,) = cases.find(["seed"])
    case = dataclasses.replace(case, steps=32)
    data = cases.data(case)

    def jobs() -> list[dict]:
        from benchmarks.peers import cdl as ours

        trainers = [ours.Trainer(case, data, 1, "") for _ in range(count)]
        return [
            {"model": t.model, "x": data.x, "y": data.y, "epochs": 10, "verbose": 0}
            for t in trainers
        ]

    def one_by_one(jobs: list[dict]) -> None:
        for job in jobs:
            job["model"].fit(**{k: v for k, v in job.items() if k != "model"})

    def seconds(run: Callable[[list[dict]], object]) -> float:
        made = jobs()
        start = time.perf_counter()
        run(made)
        return time.perf_counter() - start

    taken = [(seconds(cdl.train_many), seconds(one_by_one)) for _ in range(rounds)]
    many, single = map(min, zip(*taken, strict=True))
    record = {"question": "many", "models": count, "cores": len(machine.cores())}
    return [{**record, "many_s": many, "one_by_one_s": single}]


def busy_neighbour(chosen: list[peers.Peer], options) -> list[dict]:
    """Median step of two threads alone, and beside a process that spins on one core."""
    found = []
    for peer in chosen:
        jobs = {peer.name: settings(peer.name, "mnist", 2, two=False)}
        alone, _, failed = children.measure(jobs, options.rounds, options.seconds, "wall")
        spin = f"import os\nos.sched_setaffinity(0, [{machine.cores()[-1]}])\nwhile True: pass"
        neighbour = subprocess.Popen([sys.executable, "-c", spin])
        try:
            beside, _, failed = children.measure(jobs, options.rounds, options.seconds, "wall")
        finally:
            neighbour.kill()
            neighbour.wait()
        record = {"question": "neighbour", "peer": peer.name}
        if failed:
            found.append({**record, "failed": failed[peer.name]})
        else:
            times = [run[peer.name]["one"]["median"] * 1e3 for run in (alone, beside)]
            found.append({**record, "alone_ms": times[0], "beside_ms": times[1]})
    return found


def compare(record: dict, this: str, that: str) -> str:
    return records.ratio(record[f"{this}_ms"] / record[f"{that}_ms"])


def tables(found: list[dict]) -> str:
    groups: dict[str, list[dict]] = {}
    for record in found:
        groups.setdefault(record["question"], []).append(record)
    text = ["### Two fits of the seed net in two Python threads, milliseconds\n"]
    rows = [
        [r["peer"], *map(records.number, (r["one_ms"], r["two_ms"])), compare(r, "two", "one")]
        for r in groups.get("two fits", [])
        if "failed" not in r
    ]
    text += [records.table(["library", "one fit", "two at once", "longer by"], rows), ""]
    text += ["### The mnist net on two threads, median milliseconds an epoch\n"]
    rows = [
        [
            r["peer"],
            *map(records.number, (r["alone_ms"], r["beside_ms"])),
            compare(r, "beside", "alone"),
        ]
        for r in groups.get("neighbour", [])
        if "failed" not in r
    ]
    text += [records.table(["library", "alone", "beside a busy core", "longer by"], rows), ""]
    for r in groups.get("many", []):
        share = r["one_by_one_s"] / r["many_s"] / r["cores"]
        text.append(
            f"- {r['models']:,} seed nets, 10 epochs of 1,024 rows each: one fit after the other "
            f"{r['one_by_one_s']:.2f} s, `train_many` {r['many_s']:.2f} s: {share:.0%} of what "
            f"{r['cores']} cores could do."
        )
    text += [
        f"- {r['question']}: {r['peer']} left out: {r['failed']}" for r in found if "failed" in r
    ]
    return "\n".join([*text, ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=__doc__)
    command.add_options(parser, rounds=4, threads=False)
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, DEFAULT_PEERS)
    if len(machine.cores()) < 2:
        raise SystemExit("this needs two cores")

    def run() -> list[dict]:
        return [
            *two_fits(chosen, options),
            *many_models(),
            *busy_neighbour([p for p in chosen if p.name in {"cdl", "torch", "jax scan"}], options),
        ]

    command.run("concurrency", run, tables, options, left_out)


if __name__ == "__main__":
    main()
