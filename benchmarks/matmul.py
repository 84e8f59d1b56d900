"""Matrix products at the shapes of the nets, on one thread, beside BLAS libraries.

    python -m benchmarks.matmul [--peers numpy torch] [--isas avx512 avx2] [--rounds 20] [--keep]

The core's products are those of `dense`, called from C on its own memory layout; NumPy and PyTorch
multiply row-major matrices, transposed views where a backward pass has them, into an array that is
there already. GFLOP/s, and percent of the FMA peak measured in the same run.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import peers
from benchmarks.harness import children, command, native, records, roofline
from benchmarks.harness.worker import Prepared, Sample, calls

KINDS = ("x W", "dy W^T", "x^T dy")
# rows, inputs, outputs of a layer: all products of the cases, then few rows and few columns
SHAPES = [
    *((16, 4, 16), (16, 16, 3)),
    *((32, 100, 64), (32, 64, 10), (32, 64, 128), (32, 128, 64)),
    *((256, 30, 128), (256, 128, 128), (256, 128, 1)),
    *((128, 784, 512), (128, 512, 512), (128, 512, 10), (64, 256, 256)),
    *((512, 1024, 4096), (512, 4096, 4096), (512, 4096, 1024)),
    *((1, 100, 64), (1, 784, 512), (4, 784, 512), (16, 512, 512)),
    *((32, 3, 64), (37, 37, 37), (100, 1001, 1001)),
]


def operands(kind: str, m: int, k: int, n: int) -> tuple[np.ndarray, ...]:
    """x (m, k), W (k, n), dy (m, n), and the two that are multiplied."""
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s, np.float32) for s in ((m, k), (k, n), (m, n)))
    left, right = {"x W": (x, w), "dy W^T": (dy, w.T), "x^T dy": (x.T, dy)}[kind]
    return x, w, dy, left, right


def prepare(settings: dict) -> Prepared:
    """A sample for each kind and shape in a worker, and the sums of the products."""
    samples, sums = {}, {}
    for kind in KINDS:
        for m, k, n in settings["shapes"]:
            name = f"{kind} {m} {k} {n}"
            x, w, dy, left, right = operands(kind, m, k, n)
            if "isa" in settings:
                run, sums[name] = our_product(settings["isa"], kind, (m, k, n), x, w, dy)
                samples[name] = Sample(run, 2.0 * m * k * n)
            else:
                module = peers.PEERS[settings["peer"]].load()
                multiply = module.products(kind, left, right, settings["threads"])
                sums[name] = float(np.sum(np.asarray(multiply(), np.float64)))
                samples[name] = Sample(calls(multiply), 2.0 * m * k * n)
    return Prepared(samples, {"sums": sums})


def our_product(isa: str, kind: str, shape: tuple[int, int, int], x, w, dy):
    """`run` and the product's sum."""
    import ctypes

    core = native.core()
    core.product_sum.restype = ctypes.c_double
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, w, dy)]
    sizes = [ctypes.c_size_t(size) for size in shape]
    opened = core.product_open(isa.encode(), KINDS.index(kind), *sizes, *pointers)
    handle = ctypes.c_void_p(opened)
    return lambda n: core.product_run(handle, ctypes.c_size_t(n)), core.product_sum(handle)


def measure(chosen: list[peers.Peer], options) -> list[dict]:
    """A record for each product and library."""
    native.core()  # compiled before the processes race for it
    shapes = options.shapes or SHAPES
    common = {"task": "benchmarks.matmul", "threads": 1, "shapes": shapes}
    jobs = {f"cdl {isa}": {**common, "isa": isa} for isa in options.isas}
    jobs |= {peer.name: {**common, "peer": peer.name} for peer in chosen}
    jobs["roofline"] = roofline.job(1)
    times, facts, failed = children.measure(jobs, options.rounds, options.seconds, "cpu")
    peak = 1e-9 / times.pop("roofline")["fma"]["min"]
    found: list[dict] = [{"library": "peak", "gflops": peak}]
    for name, samples in times.items():
        for sample, took in samples.items():
            kind, *sizes = sample.rsplit(" ", 3)
            record = {"library": name, "kind": kind, "shape": [int(s) for s in sizes]}
            record |= {"gflops": 1e-9 / took["min"], "median_gflops": 1e-9 / took["median"]}
            found.append({**record, "sum": facts[name]["sums"][sample]})
    return found + [{"library": name, "failed": why} for name, why in failed.items()]


def tables(found: list[dict]) -> str:
    """A line a product."""
    peak = found[0]["gflops"]
    timed = [r for r in found if "kind" in r]
    libraries = list(dict.fromkeys(r["library"] for r in timed))
    ours = next((name for name in libraries if name.startswith("cdl")), None)
    rows = []
    for kind, shape in dict.fromkeys((r["kind"], tuple(r["shape"])) for r in timed):
        group = {r["library"]: r for r in timed if (r["kind"], tuple(r["shape"])) == (kind, shape)}
        speeds = {name: r["gflops"] for name, r in group.items()}
        others = [speed for name, speed in speeds.items() if not name.startswith("cdl")]
        mine = speeds.get(ours) if ours else None
        sums = sorted(r["sum"] for r in group.values())
        spread = 1e-3 * (shape[0] * shape[1] * shape[2]) ** 0.5 + 1e-3
        rows.append(
            [
                f"{kind}: {', '.join(map(str, shape))}",
                *(records.number(speeds.get(name)) for name in libraries),
                f"{mine / peak:.0%}" if mine else "-",
                records.ratio(mine / max(others) if mine and others else None),
                "yes" if sums[-1] - sums[0] < spread else "NO",
            ]
        )
    head = ["product: rows, inputs, outputs", *libraries, "of peak", "best other", "agree"]
    failed = [f"- {r['library']} left out: {r['failed']}" for r in found if "failed" in r]
    title = f"### GFLOP/s, one thread; FMA peak {peak:.0f}\n"
    return "\n".join([title, records.table(head, rows), "", *failed])


def shape_of(text: str) -> tuple[int, int, int]:
    m, k, n = map(int, text.split(","))
    return m, k, n


def main(arguments: list[str] | None = None) -> None:
    from cdl import _core

    parser = argparse.ArgumentParser(prog="python -m benchmarks.matmul", description=__doc__)
    command.add_options(parser, rounds=10, threads=False)
    parser.set_defaults(seconds=0.02)
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    parser.add_argument("--isas", nargs="+", default=[_core.available_isas()[0]], metavar="ISA")
    parser.add_argument("--shapes", nargs="+", type=shape_of, metavar="ROWS,INPUTS,OUTPUTS")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, ["numpy", "torch"])
    command.run("matmul", lambda: measure(chosen, options), tables, options, left_out)


if __name__ == "__main__":
    main()
