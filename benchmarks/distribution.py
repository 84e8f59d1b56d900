"""Training on two ranks beside one rank with two threads, and torch's DistributedDataParallel.

    python -m benchmarks.distribution [--torch PYTHON] [--seconds S] [--rounds N]

Each figure is the time of a step of so many rows a rank, the quickest of some rounds that take
turns; speed is in rows a second, beside one rank of one thread.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
NETS = {  # widths, rows a rank, steps of an epoch: a few milliseconds
    "small": ((100, 64, 10), 32, 200),
    "mnist": ((784, 512, 512, 10), 128, 4),
    "wide": ((1024, 4096, 4096, 1024), 512, 2),
    "conv": ((28, 28, 1), 64, 3),
    "lstm": ((40, 32), 64, 4),
}
# Ranks, threads of each.
WAYS = {"1 rank": (1, 1), "1 rank, 2 threads": (1, 2), "2 ranks": (2, 1)}
TORCH = {"torch, 1 thread": (1, 1), "torch DDP, 2 ranks": (2, 1)}


def cdl_model(net):
    import cdl
    from cdl import layers

    if net == "conv":
        middle = [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
        middle += [layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
        shape = NETS[net][0]
    elif net == "lstm":
        middle, shape = [layers.LSTM(64)], NETS[net][0]
    else:
        shape, widths = NETS[net][0][:1], NETS[net][0][1:-1]
        middle = [layers.Dense(n, activation="relu") for n in widths]
    classes = NETS[net][0][-1] if net in ("small", "mnist", "wide") else 10
    model = cdl.Sequential([layers.Input(shape), *middle, layers.Dense(classes)])
    loss = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model, shape, classes


def run_cdl(net, seconds):
    """Seconds of a step, of its reduction alone, and of a plain one of its size."""
    import numpy as np

    import cdl
    from cdl.distribution.ranks import current

    cdl.distribution.set_distribution(cdl.distribution.DataParallel())
    ranks = cdl.distribution.get_device_count()
    model, shape, classes = cdl_model(net)
    _, rows, steps = NETS[net]
    batch = rows * ranks
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch * steps, *shape)).astype(np.float32)
    y = rng.integers(0, classes, batch * steps)
    times = []

    class Clock(cdl.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            times.append(time.perf_counter() - self.start)
            self.model.stop_training = sum(times) > seconds

    # On a busy machine the quickest of many short epochs says more than the mean of long ones.
    shared = current() if ranks > 1 else None
    if shared is None:
        model.fit(x, y, batch_size=batch, epochs=100_000, verbose=0, callbacks=[Clock()])
        return min(times[1:] or times) / steps, 0.0, 0.0
    joined, join, reductions = [], shared.join, []

    def timed(view, step, block):
        if step and not reductions:
            reductions.extend(reduction(lambda: join(view, step, block), view))
        joined.append(time.perf_counter())
        return join(view, step, block)

    shared.join = timed
    model.fit(x, y, batch_size=batch, epochs=100_000, verbose=0, callbacks=[Clock()])
    few = min(10, steps - 1)  # steps in a row
    firsts = [i for i in range(len(joined) - few) if i % steps + few < steps]
    spans = [joined[i + few] - joined[i] for i in firsts]
    return min(spans) / few, *reductions


def reduction(join, view):
    """Seconds of the reduction of a step, and of a plain Allreduce of as many floats, in turns."""
    import numpy as np
    from mpi4py import MPI

    mine, plain = bytes(view), np.zeros(len(view) // 4, np.float32)
    ways = join, lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, plain)
    best, many = [1e9, 1e9], max(1, 4_000_000 // len(view))
    for i in range(40):
        start = time.perf_counter()
        for _ in range(many):
            ways[i % 2]()
        best[i % 2] = min(best[i % 2], (time.perf_counter() - start) / many)
    view[:] = mine
    return best


def run_torch(net, seconds):
    """Seconds a step of the same net of dense layers."""
    import torch

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)
    widths, rows, _ = NETS[net]
    parts = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        parts += [torch.nn.ReLU()] * (i > 0) + [torch.nn.Linear(a, b)]
    model = torch.nn.Sequential(*parts)
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(rows, widths[0]), torch.randint(widths[-1], (rows,))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    start = time.perf_counter()
    for _ in range(3):
        step()
    each = (time.perf_counter() - start) / 3
    steps = max(1, int(0.04 / each))
    blocks = max(3, int(seconds / (steps * each)))
    if ranks > 1:
        agreed = torch.tensor([steps, blocks])
        torch.distributed.broadcast(agreed, 0)
        steps, blocks = map(int, agreed)
    best = 1e9
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        best = min(best, (time.perf_counter() - start) / steps)
    if ranks > 1:
        torch.distributed.destroy_process_group()
    return best, 0.0, 0.0


def measure(way, net, seconds, torch_python):
    """The figures of one process, or of rank 0, from a new job."""
    ranks, threads = {**WAYS, **TORCH}[way]
    python = torch_python if way in TORCH else sys.executable
    worker = [python, __file__, "--worker", way, "--nets", net, "--seconds", str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    if way in TORCH and ranks > 1:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "WORLD_SIZE": "2"}
        jobs = [
            subprocess.Popen(worker, env={**environment, "RANK": str(rank)}, stdout=subprocess.PIPE)
            for rank in range(ranks)
        ]
        out, *_ = [job.communicate()[0] for job in jobs]
    else:
        command = [MPIEXEC, "-n", str(ranks), *worker] if ranks > 1 else worker
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return tuple(map(float, out.split()[:3]))


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distribution", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--nets", nargs="*", default=list(NETS), choices=list(NETS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run = run_torch if options.worker in TORCH else run_cdl
        found = run(options.nets[0], options.seconds)
        if os.environ.get("PMI_RANK", "0") == "0":
            print(*found, flush=True)
        return
    print("| net | way | step | rows/s beside 1 rank | reduction, of the step | plain all-reduce |")
    print("|---|---|---|---|---|---|")
    for net in options.nets:
        dense = net in ("small", "mnist", "wide")
        ways = [*WAYS, *(TORCH if options.torch and dense else ())]
        best = {way: (1e9,) * 3 for way in ways}
        for _ in range(options.rounds):
            for way in ways:
                found = measure(way, net, options.seconds, options.torch)
                best[way] = tuple(map(min, best[way], found))
        for way in ways:
            step, reduced, plain = best[way]
            base = best["torch, 1 thread" if way in TORCH else "1 rank"][0]
            speed = base / step * {**WAYS, **TORCH}[way][0]
            share = f"{1e6 * reduced:.1f} us, {100 * reduced / step:.0f} %" if reduced else "-"
            beside = f"{1e6 * plain:.1f} us" if plain else "-"
            row = [net, way, f"{1e6 * step:.1f} us", f"{speed:.2f}", share, beside]
            print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
