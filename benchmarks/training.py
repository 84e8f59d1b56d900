"""Time of a training step, beside every peer and the roofline.

    python -m benchmarks.training [--threads 1 2] [--cases all others seed 100-64-10/32/tanh]
                                  [--peers cdl torch ...] [--rounds 20] [--keep] [--plot]

Every peer starts from the same weights and data and first runs one epoch in the given order; the
loss after it must agree. Then a round trains whole epochs, shuffled, for a tenth of a second,
from the first weights again.
"""

from __future__ import annotations

import argparse
import dataclasses
from math import isclose

from benchmarks import peers
from benchmarks.harness import cases, children, command, machine, plots, records, roofline
from benchmarks.harness.cases import Case
from benchmarks.harness.worker import Prepared, Sample

DEFAULT_PEERS = [
    *("cdl", "jax scan", "jax step", "torch", "torch fused", "torch compile"),
    *("keras jax", "keras torch", "keras tensorflow", "numpy", "sklearn"),
]


def prepare(settings: dict) -> Prepared:
    """A trainer in a worker: its losses before and after an epoch, and its one sample."""
    case = Case(**{**settings["case"], "sizes": tuple(settings["case"]["sizes"])})
    peer = peers.PEERS[settings["peer"]]
    data = cases.data(case)
    trainer = peer.load().Trainer(case, data, settings["threads"], peer.variant)
    trainer.reset()
    before = cases.loss(case, trainer.weights(), data)
    trainer.train(1, shuffle=False)
    after = cases.loss(case, trainer.weights(), data)
    sample = Sample(trainer.train, case.steps, trainer.reset)
    return Prepared({"fit": sample}, {"before": before, "after": after})


def agree(facts: dict[str, dict]) -> dict[str, str]:
    """The peers whose losses are not the median's: they do not do the same work."""
    odd: dict[str, str] = {}
    for key, tolerance in (("before", 1e-4), ("after", 0.03)):
        values = sorted(fact[key] for fact in facts.values() if key in fact)
        if not values:
            continue
        middle = values[len(values) // 2]
        for name, fact in facts.items():
            if key in fact and not isclose(fact[key], middle, rel_tol=tolerance, abs_tol=1e-4):
                odd[name] = f"loss {key} an epoch is {fact[key]:.5f}, the others' {middle:.5f}"
    return odd


def measure(case: Case, threads: int, chosen: list[peers.Peer], options) -> list[dict]:
    """A record a peer, and what was left out."""
    jobs = {
        peer.name: {
            "task": "benchmarks.training",
            "peer": peer.name,
            "threads": threads,
            "case": dataclasses.asdict(case),
        }
        for peer in chosen
    }
    jobs["roofline"] = roofline.job(threads, adam=[case.parameters])
    clock = "cpu" if threads == 1 else "wall"
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, clock)
    limit = roofline.step_seconds(case, times.pop("roofline"))
    odd = agree({name: facts[name] for name in times})
    common = {"case": case.name, "net": case.describe(), "threads": threads, "clock": clock}
    found = [{**common, "peer": "roofline", "us": limit * 1e6}]
    for name, samples in times.items():
        took = samples["fit"]
        record = {"peer": name, "us": took["min"] * 1e6, "median_us": took["median"] * 1e6}
        found.append({**common, **record, **facts[name]})
        if name in odd:
            found[-1]["odd"] = odd[name]
    return found + [{**common, "peer": name, "failed": why} for name, why in failed.items()]


def by_peer(rows: list[dict]) -> dict[str, float]:
    return {row["peer"]: row["us"] for row in rows if "us" in row}


def best(times: dict[str, float], names: str = "") -> float | None:
    """The best time of the peers whose name starts so, without cdl's own and the roofline."""
    found = [
        us
        for name, us in times.items()
        if name.startswith(names) and name != "roofline" and name not in peers.OURS
    ]
    return min(found, default=None)


def tables(found: list[dict]) -> str:
    """Two tables for each number of threads: the claim, and the times of all."""
    text = []
    for threads in sorted({row["threads"] for row in found}):
        mine = [row for row in found if row["threads"] == threads]
        groups = {row["case"]: [r for r in mine if r["case"] == row["case"]] for row in mine}
        clock = "CPU" if mine[0]["clock"] == "cpu" else "wall clock"
        text.append(f"### {threads} thread{'s' * (threads > 1)}, {clock} microseconds a step\n")
        text += [claims(groups), "", everybody(groups), "", *remarks(mine)]
    return "\n".join(text + gains(found))


def gains(found: list[dict]) -> list[str]:
    """cdl at one thread beside more."""
    ours = {(r["case"], r["threads"]): r["us"] for r in found if r["peer"] == "cdl" and "us" in r}
    counts = sorted({threads for _, threads in ours})
    if len(counts) < 2:
        return []
    rows = [
        [
            case,
            *(records.number(ours.get((case, n))) for n in counts),
            *(records.ratio(ours[case, 1] / ours[case, n]) for n in counts[1:]),
        ]
        for case in dict.fromkeys(case for case, _ in ours)
        if all((case, n) in ours for n in counts)
    ]
    head = ["case", *(f"{n} thread{'s' * (n > 1)}" for n in counts)]
    head += [f"gain of {n}" for n in counts[1:]]
    return ["### cdl with more threads, microseconds a step\n", records.table(head, rows), ""]


def claims(groups: dict[str, list[dict]]) -> str:
    head = ["case", "net", "cdl", "best peer", "against it", "torch", "keras", "of the roofline"]
    rows = []
    for name, group in groups.items():
        times = by_peer(group)
        ours = times.get("cdl", times.get("cdl core"))
        against = [best(times), times.get("torch"), best(times, "keras")]
        ratios = [t / ours if t and ours else None for t in against]
        others = [n for n in times if n not in (*peers.OURS, "roofline")]
        rows.append(
            [
                name,
                group[0]["net"],
                records.number(ours),
                min(others, key=times.get, default="-"),
                *map(records.ratio, ratios),
                f"{times['roofline'] / ours:.0%}" if ours else "-",
            ]
        )
    return records.table(head, rows)


def everybody(groups: dict[str, list[dict]]) -> str:
    names = list(dict.fromkeys(row["peer"] for group in groups.values() for row in group))
    rows = [
        [case, *(records.number(by_peer(group).get(name)) for name in names)]
        for case, group in groups.items()
    ]
    return records.table(["case", *names], rows)


def remarks(rows: list[dict]) -> list[str]:
    found = [f"- {r['case']}: {r['peer']} left out: {r['failed']}" for r in rows if "failed" in r]
    found += [f"- {r['case']}: {r['peer']}: {r['odd']}" for r in rows if "odd" in r]
    return [*found, ""] if found else []


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    command.add_options(parser, rounds=20)
    parser.add_argument("--cases", nargs="+", default=["all"], metavar="CASE")
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    parser.add_argument("--plot", action="store_true", help="draw build/training.png")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, DEFAULT_PEERS)

    def run() -> list[dict]:
        found = []
        for threads in options.threads:
            for case in cases.find(options.cases):
                found += measure(case, threads, chosen, options)
                command.progress(f"{case.name}, {threads} thread(s) done")
        if options.plot:
            plots.steps(found, f"Adam, float32, one thread, {machine.cpu()}")
        return found

    command.run("training", run, tables, options, left_out)


if __name__ == "__main__":
    main()
