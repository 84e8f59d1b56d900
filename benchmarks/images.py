"""Time of a training step and of predictions of five nets of convolutions, beside every peer.

    python -m benchmarks.images [--threads 1 2] [--nets mnist_cnn ...] [--peers cdl torch ...]
                                [--rows 1 256] [--rounds 7] [--keep]

All start from the same weights and data, and first run one epoch in the given order; predictions
after it must agree. The limit of a step is its products at the FMA peak and Adam over all
weights, both measured in the same run; writing and reading images comes on top of it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import children, command, records, roofline
from benchmarks.harness.convnets import NETS, Net, data
from benchmarks.harness.worker import Prepared, Sample, calls
from benchmarks.peers import convnets

PEERS = [
    *("cdl", "torch", "torch compile", "jax step", "keras jax", "keras torch"),
    *("keras tensorflow", "onnxruntime"),
]


def prepare(settings: dict) -> Prepared:
    """The net after its first epoch in a worker; a sample for steps and for each batch."""
    net = Net.of(settings["net"])
    rng = np.random.default_rng(2)
    rows = {n: rng.standard_normal((n, *net.shape), np.float32) for n in settings["rows"]}
    return prepared(convnets, net, settings, data(net)[0][:64], rows)


def prepared(
    nets, net: Any, settings: dict, seen: np.ndarray, rows: dict[int, np.ndarray]
) -> Prepared:
    """The peer's net after its first epoch; `nets` makes it, `seen` is what all must agree on."""
    peer, threads, samples = settings["peer"], settings["threads"], {}
    if peer == "onnxruntime":
        predict = nets.onnx_predictor(net, threads)
    else:
        trainer = nets.trainer(peer, net, threads)
        trainer.train(1, shuffle=False)
        predict = trainer.predict
    # Predictions come before more epochs in other orders.
    facts = {"outputs": np.asarray(predict(seen), np.float64).round(5).tolist()}
    if peer != "onnxruntime":
        samples["fit"] = Sample(trainer.train, net.steps)
    samples |= {f"predict {n}": Sample(calls(predict, x)) for n, x in rows.items()}
    return Prepared(samples, facts)


def agree(facts: dict[str, dict]) -> dict[str, str]:
    """The peers whose predictions are not the others': they do not do the same work."""
    outputs = {name: np.array(f["outputs"]) for name, f in facts.items() if "outputs" in f}
    if not outputs:
        return {}
    middle = np.median(list(outputs.values()), axis=0)
    worst = {name: float(np.abs(y - middle).max()) for name, y in outputs.items()}
    return {n: f"predictions differ by {d:.3f} at most" for n, d in worst.items() if d > 0.02}


def measure(
    task: str, net: Any, threads: int, names: list[str], options: argparse.Namespace
) -> list[dict]:
    """A record for each peer and sample."""
    settings = {"task": task, "threads": threads, "net": asdict(net)}
    jobs = {name: {**settings, "peer": name, "rows": options.rows} for name in names}
    jobs["roofline"] = roofline.job(threads, adam=[net.parameters])
    clock = "cpu" if threads == 1 else "wall"
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, clock)
    peaks = times.pop("roofline")
    adam = peaks[f"adam {net.parameters}"]["min"] * net.parameters
    limits = {"fit": net.step_flops * peaks["fma"]["min"] + adam}
    for n in options.rows:
        limits[f"predict {n}"] = n * sum(net.row_flops()) * peaks["fma"]["min"]
    common = {"net": net.name, "threads": threads, "clock": clock, "batch": net.batch}
    found = [
        {**common, "peer": "limit", "sample": sample, "us": limit * 1e6}
        for sample, limit in limits.items()
    ]
    odd = agree(facts)
    for name, samples in times.items():
        for sample, took in samples.items():
            record = {"peer": name, "sample": sample, "us": took["min"] * 1e6}
            record |= {"median_us": took["median"] * 1e6}
            record |= {"odd": odd[name]} if name in odd else {}
            found.append({**common, **record})
    return found + [{**common, "peer": name, "failed": why} for name, why in failed.items()]


def tables(found: list[dict]) -> str:
    """A table for each sample and number of threads: a column a net."""
    text = []
    for threads in sorted({r["threads"] for r in found}):
        mine = [r for r in found if r["threads"] == threads]
        clock = "CPU" if mine[0]["clock"] == "cpu" else "wall clock"
        for sample in dict.fromkeys(r["sample"] for r in mine if "sample" in r):
            rows = sample.removeprefix("predict ")
            what = "a training step" if sample == "fit" else f"a prediction of {rows}"
            title = f"### {threads} thread{'s' * (threads > 1)}, {clock} microseconds, {what}\n"
            text += [title, one_table([r for r in mine if r.get("sample") == sample]), ""]
        notes = {(r["peer"], r["net"], r.get("failed") or r.get("odd")) for r in mine}
        text += [f"- {peer}, {net}: {why}" for peer, net, why in sorted(notes, key=str) if why]
    return "\n".join(text)


def one_table(mine: list[dict]) -> str:
    names = list(dict.fromkeys(r["net"] for r in mine))
    times = {(r["peer"], r["net"]): r["us"] for r in mine}
    lines = [
        [peer, *(records.number(times.get((peer, net))) for net in names)]
        for peer in dict.fromkeys(r["peer"] for r in mine)
    ]
    ratios, shares = [], []
    for net in names:
        others = [us for (p, n), us in times.items() if n == net and p not in ("cdl", "limit")]
        ours = times.get(("cdl", net))
        ratios.append(f"{ours / min(others):.2f}" if ours and others else "-")
        shares.append(f"{times['limit', net] / ours:.0%}" if ours else "-")
    lines += [["cdl / best peer", *ratios], ["cdl's share of the limit", *shares]]
    return records.table(["", *names], lines)


def main(arguments: list[str] | None = None) -> None:
    run("images", __doc__, NETS, arguments)


def run(name: str, text: str | None, nets: dict[str, Any], arguments: list[str] | None) -> None:
    """The command of a benchmark of nets, whose module is `benchmarks.NAME`."""
    task = f"benchmarks.{name}"
    parser = argparse.ArgumentParser(prog=f"python -m {task}", description=text)
    command.add_options(parser, rounds=7)
    parser.add_argument("--nets", nargs="+", default=list(nets), choices=nets, metavar="NET")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 256], metavar="N")
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, PEERS)

    def measured() -> list[dict]:
        found = []
        for threads in options.threads:
            for net in options.nets:
                found += measure(task, nets[net], threads, [p.name for p in chosen], options)
                command.progress(f"{net}, {threads} thread(s) done")
        return found

    command.run(name, measured, tables, options, left_out)


if __name__ == "__main__":
    main()
