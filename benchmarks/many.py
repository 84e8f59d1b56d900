"""Hundreds of small nets, each with its own weights, rows and orders, trained at once.

    python -m benchmarks.many [--peers cdl jax ...] [--threads 1] [--python jax=/bin/python ...]

`cdl.replicate` and `cdl.train_many`, also with a program for each (`cdl alone`), beside JAX's
`jit(vmap(scan))` and PyTorch's `vmap(grad)` over stacked weights. A round trains fresh nets for ten
epochs of ten batches. To make the nets, and what JAX compiles, is outside the clock; all else is
within: orders, programs, what Adam keeps. A peer may be in another Python, which `--python` names.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
from collections.abc import Callable

import numpy as np

from benchmarks.harness import cases, children, command, records
from benchmarks.harness.cases import Case, Data
from benchmarks.harness.worker import Prepared, Sample

EPOCHS, STEPS = 10, 10
NETS = {
    "4-16-3/16/softmax": 512,
    "16-32-1/32/mse": 512,
    "100-64-10/32/softmax": 512,
    "30-128-128-1/256/mse": 64,
}


def stacked(arrays: list[np.ndarray]) -> np.ndarray:
    return np.stack(arrays)


def orders(rng: np.random.Generator, case: Case, count: int) -> np.ndarray:
    """Row numbers (nets, steps, batch) of an epoch."""
    drawn = [rng.permutation(case.rows) for _ in range(count)]
    return stacked(drawn).reshape(count, case.steps, case.batch)


def targets(data: Data) -> np.ndarray:
    return data.y if data.classes is None else data.classes


def compiled(case: Case, classes: bool):
    import cdl

    *hidden, last = case.sizes[1:]
    stack = [cdl.Input((case.sizes[0],))]
    stack += [cdl.layers.Dense(n, case.activation) for n in hidden]
    net = cdl.Sequential([*stack, cdl.layers.Dense(last, "softmax" if classes else None)])
    loss = "sparse_categorical_crossentropy" if classes else "mse"
    net.compile(cdl.optimizers.Adam(cases.RATE), loss)
    return net


class Ours:
    """`train_many` over models that were built and compiled before."""

    def __init__(self, case: Case, datas: list[Data], threads: int, variant: str) -> None:
        self.case, self.datas, self.threads = case, datas, threads
        if variant == "alone":
            from cdl.trainers.many import train_many

            train_many._simple = lambda *jobs: {}

    def reset(self) -> None:
        self.jobs = []
        gc.collect()  # of the models before, which is none of the next round's
        for data in self.datas:
            net = compiled(self.case, data.classes is not None)
            net.set_weights(data.weights)
            self.jobs.append((net, data.x, targets(data)))

    def train(self) -> None:
        import cdl

        options = {"epochs": EPOCHS, "batch_size": self.case.batch, "workers": self.threads}
        cdl.train_many(self.jobs, **options)


class Replicas:
    """All nets as one object of stacked weights."""

    def __init__(self, case: Case, datas: list[Data], threads: int, variant: str) -> None:
        self.case, self.threads = case, threads
        self.net = compiled(case, datas[0].classes is not None)
        self.x = stacked([data.x for data in datas])
        self.y = stacked([targets(data) for data in datas])
        pairs = zip(*(data.weights for data in datas), strict=True)
        self.weights = [stacked(list(each)) for each in pairs]

    def reset(self) -> None:
        import cdl

        self.nets = cdl.replicate(self.net, len(self.x), weights="same")
        self.nets.set_weights(self.weights)

    def train(self) -> None:
        options = {"epochs": EPOCHS, "batch_size": self.case.batch, "workers": self.threads}
        self.nets.fit(self.x, self.y, **options)


class Jax:
    """A scan over the batches of an epoch, mapped over the nets."""

    def __init__(self, case: Case, datas: list[Data], threads: int, variant: str) -> None:
        import jax
        import jax.numpy as jnp

        from benchmarks.peers import jax as peer

        self.case, self.datas, self.rng = case, datas, np.random.default_rng(0)
        self.x = jnp.asarray(stacked([data.x for data in datas]))
        self.y = jnp.asarray(stacked([targets(data) for data in datas]))

        def epoch(state, order, x, y):
            def step(s, rows):
                return peer.step(case, s, x[rows], y[rows]), None

            return jax.lax.scan(step, state, order)[0]

        self.epoch = jax.jit(jax.vmap(epoch), donate_argnums=0)
        self.pairs, self.zeros = peer.pairs, jnp.zeros
        self.wait = jax.block_until_ready

    def reset(self) -> None:
        weights = [
            stacked(list(each)) for each in zip(*(d.weights for d in self.datas), strict=True)
        ]
        zeros = [np.zeros_like(each) for each in weights]
        made = self.pairs(weights), self.pairs(zeros), self.pairs(zeros)
        self.state = *made, self.zeros(len(self.datas))

    def train(self) -> None:
        for _ in range(EPOCHS):
            order = orders(self.rng, self.case, len(self.datas)).astype(np.int32)
            self.state = self.epoch(self.state, order, self.x, self.y)
        self.wait(self.state)


class Torch:
    """Gradients by `vmap(grad)` over stacked weights, and Adam by torch's own, fused."""

    def __init__(self, case: Case, datas: list[Data], threads: int, variant: str) -> None:
        import torch
        from torch.func import grad, vmap

        torch.set_num_threads(threads)
        self.torch, self.case, self.datas = torch, case, datas
        self.rng = np.random.default_rng(0)
        self.x = torch.from_numpy(stacked([data.x for data in datas]))
        self.y = torch.from_numpy(stacked([targets(data) for data in datas]))

        def loss(weights, x, y):
            for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                x = getattr(torch, case.activation)(x @ kernel + bias)
            z = x @ weights[-2] + weights[-1]
            if case.loss == "mse":
                return ((z - y) ** 2).mean()
            return torch.nn.functional.cross_entropy(z, y)

        self.gradients = vmap(grad(loss))

    def reset(self) -> None:
        pairs = zip(*(data.weights for data in self.datas), strict=True)
        self.weights = [self.torch.from_numpy(stacked(list(each))) for each in pairs]
        settings = {"lr": cases.RATE, "eps": cases.EPSILON, "fused": True}
        self.adam = self.torch.optim.Adam(self.weights, **settings)

    def train(self) -> None:
        nets = self.torch.arange(len(self.datas))[:, None]
        for _ in range(EPOCHS):
            order = self.torch.from_numpy(orders(self.rng, self.case, len(self.datas)))
            for rows in order.unbind(1):
                x, y = self.x[nets, rows], self.y[nets, rows]
                for weight, gradient in zip(
                    self.weights, self.gradients(self.weights, x, y), strict=True
                ):
                    weight.grad = gradient
                self.adam.step()


PEERS: dict[str, tuple[Callable, str]] = {
    "cdl": (Ours, ""),
    "cdl replicas": (Replicas, ""),
    "cdl alone": (Ours, "alone"),
    "jax": (Jax, ""),
    "torch": (Torch, ""),
}


def prepare(settings: dict) -> Prepared:
    """A round of one peer and case."""
    (case,) = cases.find([settings["case"]])
    case = dataclasses.replace(case, steps=STEPS)
    kind, variant = PEERS[settings["peer"]]
    datas = [cases.data(case, seed) for seed in range(settings["nets"])]
    trainer = kind(case, datas, settings["threads"], variant)

    def run(n: int) -> None:
        for _ in range(n):
            trainer.train()

    return Prepared({"many": Sample(run, EPOCHS * STEPS * settings["nets"], trainer.reset)})


def measure(options: argparse.Namespace) -> list[dict]:
    """A record for each case, peer and number of threads."""
    pythons = dict(each.split("=", 1) for each in options.python)
    found = []
    for threads in options.threads:
        for case in options.cases:
            nets = options.nets or NETS.get(case, 512)
            common = {"task": "benchmarks.many", "threads": threads, "case": case, "nets": nets}
            jobs = {
                peer: {**common, "peer": peer, "python": pythons.get(peer)}
                for peer in options.peers
            }
            clock = "cpu" if threads == 1 else "wall"
            times, _, failed = children.measure(jobs, options.rounds, options.seconds, clock)
            for peer in options.peers:
                record = {"case": case, "nets": nets, "threads": threads, "peer": peer}
                if peer in failed:
                    found.append({**record, "failed": failed[peer]})
                else:
                    found.append({**record, "us": times[peer]["many"]["min"] * 1e6})
    return found


def tables(found: list[dict]) -> str:
    text = []
    for threads in sorted({record["threads"] for record in found}):
        these = [record for record in found if record["threads"] == threads]
        names = list(dict.fromkeys(record["peer"] for record in these))
        clock = "CPU" if threads == 1 else "wall clock"
        text.append(f"### Microseconds of {clock} a step and net, {threads} threads\n")
        rows = []
        for case in dict.fromkeys(record["case"] for record in these):
            by_name = {r["peer"]: r for r in these if r["case"] == case}
            nets = next(iter(by_name.values()))["nets"]
            values = [by_name[name].get("us") for name in names]
            shown = ["-" if value is None else records.number(value) for value in values]
            rows.append([f"{nets} of {case}", *shown])
        text += [records.table(["nets", *names], rows), ""]
    text += [f"- {r['peer']} left out: {r['failed']}" for r in found if "failed" in r]
    return "\n".join([*text, ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    command.add_options(parser, rounds=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--cases", nargs="+", default=list(NETS), metavar="CASE")
    parser.add_argument("--nets", type=int, help="how many; default: 512, or 64 large ones")
    parser.add_argument("--python", nargs="+", default=[], metavar="PEER=PYTHON")
    options = parser.parse_args(arguments)
    command.run("many", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
