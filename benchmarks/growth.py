"""Time of a training step against the sizes of a net, down to the arithmetic.

    python -m benchmarks.growth [--peers cdl "jax scan"] [--series rows width depth images ...]
                                [--rounds 10] [--keep] [--plot]

One thread. Each series changes one size of a net with ten classes: rows, width or depth of a relu
net; side and channels of images and their number in a batch, of a net of two convolutions, each
with a pooling behind it. The plot goes to build/growth.png.
"""

from __future__ import annotations

import argparse
import dataclasses

from benchmarks import images, peers
from benchmarks.harness import cases, children, command, machine, plots, records, roofline
from benchmarks.harness.cases import Case
from benchmarks.harness.convnets import Net


def series() -> dict[str, dict[int, Case | Net]]:
    """Nets by size, by what grows."""
    nets = {
        "rows": {n: ((256, 256, 256, 10), n) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)},
        "width": {n: ((n, n, n, 10), 64) for n in (8, 16, 32, 64, 100, 128, 256, 512, 1024, 2048)},
        "depth": {n: ((*[128] * (n + 1), 10), 64) for n in (1, 2, 4, 8, 16, 32, 64)},
    }
    convolutions = {
        "side": {n: convnet(n, 32, 32) for n in (8, 12, 16, 24, 32, 48, 64, 96, 128)},
        "channels": {n: convnet(32, n, 32) for n in (1, 2, 4, 8, 16, 32, 48, 64, 128, 256)},
        "images": {n: convnet(32, 32, n) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256)},
    }
    dense = {
        name: {n: case(name, n, *net) for n, net in made.items()} for name, made in nets.items()
    }
    return dense | convolutions


def convnet(side: int, channels: int, batch: int) -> Net:
    """Two convolutions of 3x3 in and out of so many channels."""
    block = (("same", channels, 3), ("pool", 2))
    net = Net("growing", (side, side, channels), (*block, *block, ("dense", 10)), batch, 1)
    return dataclasses.replace(net, steps=max(1, min(64, int(4e8 / net.step_flops))))


def case(name: str, size: int, sizes: tuple[int, ...], batch: int) -> Case:
    made = Case(f"{name}-{size}", sizes, batch, 1)
    return dataclasses.replace(made, steps=cases.steps_for(made))


def measure(chosen: list[peers.Peer], options) -> list[dict]:
    """A record for each size and peer; the processes of one size run in turn."""
    found = []
    for name in options.series:
        for size, made in series()[name].items():
            common = {"threads": 1, **task(made)}
            jobs = {peer.name: {**common, "peer": peer.name} for peer in chosen}
            jobs["roofline"] = roofline.job(1, adam=[made.parameters])
            times, _, failed = children.measure(jobs, options.rounds, options.seconds, "cpu")
            limit = roofline.step_seconds(made, times.pop("roofline"))
            record = {"series": name, "size": size, "net": made.describe()}
            found.append({**record, "peer": "roofline", "us": limit * 1e6})
            found += [
                {**record, "peer": peer, "us": samples["fit"]["min"] * 1e6}
                for peer, samples in times.items()
            ]
            found += [{**record, "peer": peer, "failed": why} for peer, why in failed.items()]
        command.progress(f"{name} done")
    if options.plot:
        timed = [r for r in found if "us" in r]
        groups = {k: [r for r in timed if r["series"] == k] for k in options.series}
        plots.growth(groups, f"Adam, float32, one thread, {machine.cpu()}")
    return found


def task(made: Case | Net) -> dict:
    """The worker that trains it."""
    sizes = dataclasses.asdict(made)
    if isinstance(made, Net):
        return {"task": images.__name__, "net": sizes, "rows": []}
    return {"task": "benchmarks.training", "case": sizes}


def tables(found: list[dict]) -> str:
    text = []
    for name in dict.fromkeys(r["series"] for r in found):
        mine = [r for r in found if r["series"] == name and "us" in r]
        names = list(dict.fromkeys(r["peer"] for r in mine))
        rows = []
        for size, net in dict.fromkeys((r["size"], r["net"]) for r in mine):
            times = {r["peer"]: r["us"] for r in mine if r["size"] == size}
            ours = times.get("cdl")
            share = f"{times['roofline'] / ours:.0%}" if ours else "-"
            rows.append([net, *(records.number(times.get(n)) for n in names), share])
        text.append(f"### Growing {name}, one thread, microseconds a step\n")
        text += [records.table(["net", *names, "of the roofline"], rows), ""]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    command.add_options(parser, rounds=5, threads=False)
    parser.set_defaults(seconds=0.05)
    names = list(series())
    parser.add_argument("--series", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    parser.add_argument("--plot", action="store_true", help="draw docs/growth.png")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, ["cdl", "jax scan", "torch"])
    command.run("growth", lambda: measure(chosen, options), tables, options, left_out)


if __name__ == "__main__":
    main()
