"""A worker that measures what the machine can do, in turn with the peers."""

from __future__ import annotations

from benchmarks.harness import native
from benchmarks.harness.cases import Case
from benchmarks.harness.convnets import Net
from benchmarks.harness.worker import Prepared, Sample

TASK = "benchmarks.harness.roofline"
WORTH_THREADS = 20_000  # weights: some 3 us of Adam, as long as waking a thread


def prepare(settings: dict) -> Prepared:
    """Samples: `fma` (a unit: an operation), `adam N` and `read N` (a unit: one of N floats)."""
    import ctypes

    import numpy as np

    library, threads = native.peaks(), int(settings["threads"])
    floats = ctypes.POINTER(ctypes.c_float)

    def fma(n: int) -> None:
        library.peak_fma(ctypes.c_size_t(200_000 * n), threads)

    def array(n: int) -> np.ndarray:
        """An array of n floats on a 64-byte line, whose pages have been touched."""
        block = np.ones(n + 16, np.float32)
        return block[(-block.ctypes.data // 4) % 16 :][:n]

    kept = []

    def pointers(n: int, count: int) -> list:
        arrays = [array(n) for _ in range(count)]
        kept.append(arrays)
        return [a.ctypes.data_as(floats) for a in arrays]

    def adam(n: int):
        w, g, m, v = pointers(n, 4)
        size = ctypes.c_size_t
        team = threads if n >= WORTH_THREADS else 1
        return lambda times: library.peak_adam(size(times), size(n), w, g, m, v, team)

    def read(n: int):
        (x,) = pointers(n, 1)
        return lambda times: library.peak_read(
            ctypes.c_size_t(times), ctypes.c_size_t(n), x, threads
        )

    samples = {"fma": Sample(fma, library.peak_fma(ctypes.c_size_t(200_000), threads))}
    for n in settings.get("adam", []):
        samples[f"adam {n}"] = Sample(adam(n), n)
    for n in settings.get("read", []):
        samples[f"read {n}"] = Sample(read(n), n)
    return Prepared(samples)


def job(threads: int, adam: list[int] = (), read: list[int] = ()) -> dict:  # type: ignore
    """Settings of this worker."""
    return {"task": TASK, "threads": threads, "adam": list(adam), "read": list(read)}


def step_seconds(case: Case | Net, peaks: dict[str, dict[str, float]]) -> float:
    """A training step's arithmetic at the peak, and Adam over all weights at its own speed."""
    update = peaks[f"adam {case.parameters}"]["min"] * case.parameters
    return case.step_flops * peaks["fma"]["min"] + update * (case.optimizer == "adam")


def forward_seconds(case: Case, rows: int, peaks: dict[str, dict[str, float]]) -> float:
    """A prediction: the arithmetic, or one read of the weights, whichever takes longer."""
    weights = sum(k * n for k, n in case.layers)
    reading = peaks[f"read {weights}"]["min"] * weights
    return max(case.row_flops * rows * peaks["fma"]["min"], reading)
