"""Training from a file larger than the memory that it may take.

    python -m benchmarks.larger_than_memory [--gigabytes 3] [--limit 512] [--units 64 512]

Each format is trained from in a process of its own. The table tells how long an epoch took, in how
much of that time the core trained, how fast that was beside rows that are in memory, and the peak
of the resident memory; it fails if that is above the limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COLUMNS, ROW_GROUP = 28, 100_000
FORMATS = ("Parquet", "HDF5", "Zarr")


def write(kind: str, path: Path, rows: int) -> None:
    """Rows of 28 inputs and a target, which is the sum of the inputs' sines."""
    rng = np.random.default_rng(0)
    sink = WRITERS[kind](path, rows)
    for at in range(0, rows, ROW_GROUP):
        x = rng.standard_normal((min(ROW_GROUP, rows - at), COLUMNS), np.float32)
        sink(at, x, np.sin(x).sum(axis=1))
    sink(rows, None, None)


def parquet_writer(path: Path, rows: int):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [*(f"x{i}" for i in range(COLUMNS)), "y"]
    schema = pa.schema([(name, pa.float32()) for name in names])
    file = pq.ParquetWriter(path, schema, use_dictionary=False)

    def sink(at, x, y):
        if x is None:
            file.close()
        else:
            file.write_table(pa.table([*x.T, y], schema=schema))

    return sink


def hdf5_writer(path: Path, rows: int):
    import h5py

    file = h5py.File(path, "w")
    x_file = file.create_dataset("x", (rows, COLUMNS), "f4", chunks=(4096, COLUMNS))
    y_file = file.create_dataset("y", (rows,), "f4", chunks=(4096,))
    return slices(x_file, y_file, file.close)


def zarr_writer(path: Path, rows: int):
    import zarr

    group = zarr.open_group(path, mode="w")
    options = {"dtype": "f4", "compressors": None}
    x_file = group.create_array("x", shape=(rows, COLUMNS), chunks=(20_000, COLUMNS), **options)
    y_file = group.create_array("y", shape=(rows,), chunks=(20_000,), **options)
    return slices(x_file, y_file, lambda: None)


def slices(x_file, y_file, close):
    def sink(at, x, y):
        if x is None:
            close()
            return
        x_file[at : at + len(x)] = x
        y_file[at : at + len(x)] = y

    return sink


WRITERS = {"Parquet": parquet_writer, "HDF5": hdf5_writer, "Zarr": zarr_writer}


def opened(kind: str, path: str):
    """x and y as `fit` takes them."""
    if kind == "Parquet":
        import pyarrow.dataset

        return pyarrow.dataset.dataset(path), "y"
    if kind == "HDF5":
        import h5py

        file = h5py.File(path)
        return file["x"], file["y"]
    import zarr

    group = zarr.open_group(path, mode="r")
    return group["x"], group["y"]


def train(kind: str, path: str, units: int) -> dict[str, float]:
    """Train for one epoch in a process of its own."""
    import cdl
    from cdl.trainers.train_function import TrainFunction

    busy = 0.0
    run = TrainFunction.run

    def timed(self, steps, seconds):
        nonlocal busy
        start = time.perf_counter()
        try:
            return run(self, steps, seconds)
        finally:
            busy += time.perf_counter() - start

    model = cdl.Sequential(
        [cdl.Input((COLUMNS,)), *(cdl.layers.Dense(units, "relu") for _ in range(2))]
    )
    model.add(cdl.layers.Dense(1))
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50_000, COLUMNS), np.float32)
    y = np.sin(x).sum(axis=1)
    start = time.perf_counter()
    model.fit(x, y, batch_size=256, epochs=2, verbose=0)
    a_row = (time.perf_counter() - start) / 100_000
    data = opened(kind, path)
    TrainFunction.run = timed
    start, used = time.perf_counter(), time.process_time()
    loss = model.fit(*data, batch_size=256, verbose=0).history["loss"][0]
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - used,
        "busy": busy,
        "in memory": a_row,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "loss": loss,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.larger_than_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--limit", type=int, default=512, help="megabytes of resident memory")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--units", nargs="+", type=int, default=(64, 512))
    parser.add_argument("--folder", help="where the files are made; a temporary folder if left out")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        kind, path, units = given.child
        print(json.dumps(train(kind, path, int(units))))
        return 0
    over = False
    rows = int(given.gigabytes * 1e9 / (4 * (COLUMNS + 1)))
    print("| format | net | epoch, s | MB/s | core trains | of its speed in memory | peak, MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for kind in given.formats:
            path = Path(folder) / kind
            write(kind, path, rows)
            for units in given.units:
                words = [kind, str(path), str(units)]
                command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--child", *words]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found = json.loads(done.stdout)
                print(
                    f"| {kind} | {COLUMNS}-{units}-{units}-1 | {found['seconds']:.1f} "
                    f"| {1e3 * given.gigabytes / found['seconds']:.0f} "
                    f"| {found['busy'] / found['seconds']:.0%} "
                    f"| {found['in memory'] * rows / found['seconds']:.0%} "
                    f"| {found['peak']:.0f} |",
                    flush=True,
                )
                over = over or found["peak"] > given.limit
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
