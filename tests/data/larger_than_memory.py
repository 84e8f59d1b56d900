"""Sources of rows for the tests of tables and arrays that are read in windows."""

import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import cdl
from cdl.data import chunked, windows

datasets = pytest.importorskip("datasets")
zarr = pytest.importorskip("zarr")

ROWS, COLUMNS = 1000, ("a", "b", "c")


def small_windows(monkeypatch):
    """Windows of 128 rows of three floats, and blocks of a few rows."""
    monkeypatch.setattr(windows, "WINDOW", 128 * 16)
    monkeypatch.setattr("cdl.data.tables.PART", 16 * 16)
    monkeypatch.setattr(chunked, "_BLOCK", 16 * 16)
    monkeypatch.setattr(chunked, "LARGE", 0)


def numbers(rows=ROWS):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((rows, 3)).astype(np.float32)
    return x, (x @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(rows)).astype(np.float32)


def arrow_table(x, y):
    return pa.table({**{name: x[:, j] for j, name in enumerate(COLUMNS)}, "price": y})


def parquet(path, x, y):
    pq.write_table(arrow_table(x, y), path, row_group_size=170)
    return ds.dataset(path)


def h5(path, x, y):
    file = h5py.File(path, "w")
    return (
        file.create_dataset("x", data=x, chunks=(20, 3)),
        file.create_dataset("y", data=y, chunks=(20,)),
    )


def zarrs(path, x, y):
    return (
        zarr.create_array(str(path / "x"), data=x, chunks=(20, 3)),
        zarr.create_array(str(path / "y"), data=y, chunks=(20,)),
    )


SOURCES = {
    "Parquet": lambda path, x, y: (parquet(path / "t.parquet", x, y), "price"),
    "filtered": lambda path, x, y: (
        parquet(path / "t.parquet", x, y).filter(ds.field("a") < 1e9),
        "price",
    ),
    "CSV": lambda path, x, y: (csv(path, x, y), "price"),
    "IPC": lambda path, x, y: (ipc(path, x, y), "price"),
    "in memory": lambda path, x, y: (ds.dataset(arrow_table(x, y)), "price"),
    "lazy": lambda path, x, y: (pl.from_arrow(arrow_table(x, y)).lazy(), "price"),
    "Hugging Face": lambda path, x, y: (datasets.Dataset(arrow_table(x, y)), "price"),
    "Hugging Face stream": lambda path, x, y: (
        datasets.Dataset(arrow_table(x, y)).to_iterable_dataset(),
        "price",
    ),
    "HDF5": lambda path, x, y: h5(path / "t.h5", x, y),
    "HDF5 and array": lambda path, x, y: (h5(path / "t.h5", x, y)[0], y),
    "Zarr": zarrs,
}


def csv(path, x, y):
    pl.from_arrow(arrow_table(x, y)).write_csv(path / "t.csv")
    return ds.dataset(path / "t.csv", format="csv")


def ipc(path, x, y):
    ds.write_dataset(
        arrow_table(x, y), path / "ipc", format="ipc", max_rows_per_file=300, max_rows_per_group=300
    )
    return ds.dataset(path / "ipc", format="ipc")


def net(seed=0):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential([cdl.layers.Dense(4, "relu"), cdl.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model
