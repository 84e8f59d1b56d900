"""Training from Parquet files larger than memory: taxi fares.

The files are made here, one for each month, as many as the disk has room for. A thread reads them
in windows of 48 MB while the net trains on the window before, so memory stays flat however large
the files are.

    pip install cdl-nn pyarrow
    python examples/taxis.py [--months 12] [--rides 2000000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import cdl
from cdl import layers


def month(number: int, rides: int) -> pa.Table:
    """A month of random rides: distance, hour, place, passengers, and the fare."""
    rng = np.random.default_rng(number)
    km = rng.gamma(2.0, 2.0, rides).astype(np.float32)
    hour = rng.integers(0, 24, rides).astype(np.int8)
    airport = rng.random(rides) < 0.1
    passengers = rng.integers(1, 5, rides).astype(np.int8)
    busy = np.where((hour > 15) & (hour < 20), 1.3, 1.0)
    fare = 3 + 2.2 * km * busy + 25 * airport + rng.normal(0, 1, rides)
    return pa.table(
        {
            "km": km,
            "hour": hour,
            "airport": airport,
            "passengers": passengers,
            "fare": fare.astype(np.float32),
        }
    )


def draw(model: cdl.Model, file: str) -> None:
    """Draw the fare of a ride of 5 km by hour, true and predicted."""
    import matplotlib.pyplot as plt

    hours = np.arange(24)
    figure, ax = plt.subplots()
    for airport, name in ((0, "in town"), (1, "from the airport")):
        rides = np.stack([np.full(24, 5), hours, np.full(24, airport), np.full(24, 2)], axis=1)
        ax.plot(hours, model.predict(rides, verbose=0)[:, 0], "o", label=f"{name}, learned")
        busy = np.where((hours > 15) & (hours < 20), 1.3, 1.0)
        ax.step(hours, 3 + 11 * busy + 25 * airport, where="mid", color="black", linewidth=1)
    ax.set(title="A ride of 5 km", xlabel="hour", ylabel="fare", ylim=(0, 50))
    ax.legend(loc="center left")
    figure.savefig(file)


def main(
    months: int = 4, rides: int = 50_000, epochs: int = 3, picture: str | None = None
) -> float:
    """Write files, train, and return how much of the fares' variance is explained."""
    cdl.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(months):
            path = Path(folder) / f"{number:02}.parquet"
            # Blocks of 50,000 rows: what is read at a time, and mixed with others.
            pq.write_table(month(number, rides), path, row_group_size=50_000)
        table = ds.dataset(folder)
        model = cdl.Sequential(
            [
                layers.Input((4,)),
                layers.BatchNormalization(),
                layers.Dense(64, "relu"),
                layers.Dense(32, "relu"),
                layers.Dense(1),
            ]
        )
        model.compile(cdl.optimizers.Adam(0.003), "mse")
        held_out = month(months, 20_000)
        model.fit(
            table,
            "fare",  # the column that is y; all others are x
            batch_size=256,
            epochs=epochs,
            validation_data=(held_out, "fare"),
            verbose=2,
        )
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{size:.0f} MB of files, {peak:.0f} MB of memory at most")
    if picture is not None:
        draw(model, picture)
    fares = held_out["fare"].to_numpy()
    error = model.predict(held_out.drop_columns("fare"), verbose=0)[:, 0] - fares
    return float(1 - error.var() / fares.var())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--months", type=int, default=4)
    parser.add_argument("--rides", type=int, default=50_000, help="a month")
    parser.add_argument("--picture", help="a file to draw into")
    print(f"explained: {main(**vars(parser.parse_args())):.4f}")
