"""Multi-step time series forecasting with a stateful LSTM: yearly sunspots.

Yearly counts from 1700 to 2008 (the table comes with the package statsmodels). The net is trained
to predict the next year at every step of a window. To forecast, a stateful copy of it reads some
years, then its own predictions, a year a call.

    pip install statsmodels pandas
    python examples/sunspots_lstm.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

import cdl
from cdl import layers

WINDOW, AHEAD = 44, 3  # years of a window of training, of a forecast
CUT = 1920 - 1700


def load() -> np.ndarray:
    """The counts, year by year."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise ImportError("sunspots_lstm.py needs the data: pip install statsmodels")
    folder = Path(package.submodule_search_locations[0], "datasets", "sunspots")
    return pd.read_csv(folder / "sunspots.csv")["SUNACTIVITY"].to_numpy(np.float32)


def build(batch_size: int | None, stateful: bool) -> cdl.Sequential:
    """An LSTM for any number of years; a stateful one keeps its state between calls."""
    return cdl.Sequential(
        [
            layers.Input((None, 1), batch_size=batch_size),
            layers.LSTM(12, return_sequences=True, stateful=stateful),
            layers.Dense(1),
        ]
    )


def forecast(model: cdl.Sequential, read: np.ndarray) -> np.ndarray:
    """Forecasts (series, AHEAD) of the years that follow (series, years)."""
    model.layers[0].reset_state()
    guess = model.predict(read[..., None], batch_size=len(read), verbose=0)[:, -1:]
    years = [guess]
    for _ in range(AHEAD - 1):
        guess = model.predict(guess, batch_size=len(read), verbose=0)
        years.append(guess)
    return np.concatenate(years, axis=1)[..., 0]


def draw(counts: np.ndarray, guesses: np.ndarray, file: str) -> None:
    """Draw the counts, and the forecasts of the next three years from each year on."""
    import matplotlib.pyplot as plt

    years = 1700 + np.arange(len(counts))
    figure, ax = plt.subplots(figsize=(7.2, 3.6))
    ax.plot(years[CUT:], counts[CUT:], color="C4", linewidth=3, label="counted")
    for i, line in enumerate(guesses):
        label = "forecast from there on" if i == 0 else None
        first = CUT + i - 1
        path = np.concatenate([counts[first : first + 1], line])
        ax.plot(1700 + first + np.arange(AHEAD + 1), path, color="C0", linewidth=0.9, label=label)
    ax.set(title="Spots of the sun, three years ahead", xlabel="year", ylim=(0, 240))
    ax.legend(loc="upper left", ncols=2)
    figure.savefig(file)


def main(epochs: int = 60, picture: str | None = None) -> float:
    """Train on the years before 1920; return R2 of forecasts three years ahead for later ones."""
    cdl.utils.set_random_seed(1)
    counts = load()
    series = np.sqrt(counts)  # counts vary the more the larger they are
    mean, scale = series.mean(), series.std()
    series = (series - mean) / scale
    windows = np.lib.stride_tricks.sliding_window_view(series[:CUT], WINDOW + 1)
    model = build(None, stateful=False)
    model.compile(cdl.optimizers.Adam(0.005), "mse")
    model.fit(windows[:, :-1, None], windows[:, 1:, None], epochs=epochs, batch_size=32, verbose=0)

    later = np.lib.stride_tricks.sliding_window_view(series[CUT - WINDOW :], WINDOW + AHEAD)
    teller = build(len(later), stateful=True)
    teller.set_weights(model.get_weights())
    guesses = (forecast(teller, later[:, :WINDOW]) * scale + mean).clip(0) ** 2
    actual = (later[:, WINDOW:] * scale + mean) ** 2
    last = (later[:, WINDOW - 1] * scale + mean) ** 2
    explained = 0.0
    for i in range(AHEAD):
        variance = actual[:, i].var()
        as_now = 1 - np.square(last - actual[:, i]).mean() / variance
        explained = 1 - np.square(guesses[:, i] - actual[:, i]).mean() / variance
        print(f"{i + 1} ahead: {explained:.0%} explained, as many as now: {as_now:.0%}")
    if picture is not None:
        draw(counts, guesses, picture)
    return float(explained)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
