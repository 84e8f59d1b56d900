"""Time series forecasting with sliding windows: next year's sunspots.

Yearly counts from 1700 to 2008 (the table comes with the package statsmodels). A net predicts the
next year from the last 22, a magnetic cycle of the sun, and is compared with the persistence
forecast ("as many as this year").

    pip install statsmodels pandas
    python examples/sunspots.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

import cdl
from cdl import layers

YEARS = 22


def load() -> np.ndarray:
    """The counts, year by year."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise ImportError("sunspots.py needs the data: pip install statsmodels")
    folder = Path(package.submodule_search_locations[0], "datasets", "sunspots")
    return pd.read_csv(folder / "sunspots.csv")["SUNACTIVITY"].to_numpy(np.float32)


def windows(series: np.ndarray):
    """Batches of windows and the year that follows each."""
    return cdl.utils.timeseries_dataset_from_array(
        series[:-1, None], series[YEARS:, None], sequence_length=YEARS, batch_size=32
    )


def draw(counts: np.ndarray, predicted: np.ndarray, file: str) -> None:
    """Draw the counts, and the forecasts for the years held out."""
    import matplotlib.pyplot as plt

    years = 1700 + np.arange(len(counts))
    figure, ax = plt.subplots(figsize=(7.2, 3.6))
    ax.plot(years, counts, color="C4", linewidth=1.2, label="counted")
    ax.plot(years[-len(predicted) :], predicted, label="forecast")
    ax.axvline(1920, color="black", linewidth=1)
    ax.annotate("learned until here", (1917, 175), ha="right")
    ax.set(title="Spots of the sun", xlabel="year", xlim=(1820, 2010), ylim=(0, 200))
    ax.legend(loc="upper left")
    figure.savefig(file)


def main(epochs: int = 150, picture: str | None = None) -> float:
    """Train on the years before 1920; return the part of the later years' variance explained."""
    cdl.utils.set_random_seed(1)
    counts = load()
    series = np.sqrt(counts)  # counts vary the more the larger they are
    mean, scale = series.mean(), series.std()
    series = (series - mean) / scale
    cut = 1920 - 1700
    model = cdl.Sequential(
        [
            layers.Input((YEARS, 1)),
            layers.Flatten(),
            layers.Dense(16, activation="tanh", kernel_regularizer="l2"),
            layers.Dense(1),
        ]
    )
    model.compile(cdl.optimizers.Adam(0.003), "mse")
    model.fit(windows(series[:cut]), epochs=epochs, verbose=0)
    later = windows(series[cut - YEARS :])
    predicted = (model.predict(later, verbose=0)[:, 0] * scale + mean).clip(0) ** 2
    actual, before = counts[cut:], counts[cut - 1 : -1]
    variance = np.square(actual - actual.mean()).mean()
    for name, guess in (("as many as this year", before), ("the net", predicted)):
        error = np.square(guess - actual).mean()
        print(f"{name}: off by {error**0.5:.1f}, {100 * (1 - error / variance):.1f} % explained")
    if picture is not None:
        draw(counts, predicted, picture)
    return float(1 - error / variance)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
