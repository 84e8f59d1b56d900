"""Quantile regression with a custom loss and a custom layer: ranges of diamond prices.

The prices of 53,940 diamonds (the table comes with the package plotnine) from weight and
proportions. One output for each quantile; a layer keeps them in order, and the pinball loss,
written with `cdl.ops`, is compiled like any other. (Ready-made they are `cdl.layers.Increasing` and
`cdl.losses.Quantile`.)

    pip install plotnine pandas
    python examples/quantiles.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

import cdl
from cdl import layers, ops

QUANTILES = (0.05, 0.5, 0.95)
COLUMNS = ["carat", "depth", "table", "x", "y", "z"]


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled measurements, the logarithm of the price, and the weight as it is."""
    package = importlib.util.find_spec("plotnine")
    if package is None or not package.submodule_search_locations:
        raise ImportError("quantiles.py needs the data: pip install plotnine")
    table = pd.read_csv(Path(package.submodule_search_locations[0], "data", "diamonds.csv"))
    table = table.sample(frac=1.0, random_state=0)
    x = table[COLUMNS].to_numpy(np.float32)
    prices = table["price"].to_numpy(np.float32)
    return (x - x.mean(0)) / x.std(0), np.log(prices), x[:, 0]


class Ordered(layers.Layer):
    """A layer of increasing outputs: the first as it is, each further one above the one before."""

    def call(self, inputs):
        """The running sum of the first output and of positive steps."""
        first, steps = inputs[:, :1], ops.softplus(inputs[:, 1:])
        return ops.concatenate([first, first + ops.cumsum(steps, axis=1)], axis=1)


def pinball(y_true, y_pred):
    """The pinball loss: of a quantile q, errors upwards cost q and errors downwards 1 - q."""
    quantiles = np.array(QUANTILES, np.float32)
    error = y_true - y_pred
    return ops.mean(ops.maximum(quantiles * error, (quantiles - 1) * error), axis=-1)


def draw(carat: np.ndarray, prices: np.ndarray, ranges: np.ndarray, file: str) -> None:
    """Draw prices and predicted ranges by weight, and the widths of the ranges."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, width_ratios=(3, 2))
    some = np.argsort(carat[:400])
    low, middle, high = np.exp(ranges[:400][some]).T
    axes[0].vlines(carat[some], low, high, color="C0", alpha=0.35, label="90 % range")
    axes[0].plot(carat[some], middle, ".", color="C0", markersize=4, label="median")
    axes[0].plot(carat[some], prices[:400][some], ".", color="C1", markersize=4, label="paid")
    axes[0].set(title="400 diamonds", xlabel="carat", ylabel="dollars", yscale="log")
    axes[0].legend()
    axes[1].hist(np.exp(ranges[:, 2] - ranges[:, 0]), bins=np.linspace(1.8, 3.2, 40))
    axes[1].set(title="How wide are the ranges?", xlabel="highest / lowest", ylabel="diamonds")
    figure.savefig(file)


def main(epochs: int = 6, picture: str | None = None) -> float:
    """Train, and return how near the coverage of the range on held-out prices comes to 90 %."""
    cdl.utils.set_random_seed(0)
    x, y, carats = load()
    targets = np.repeat(y[:, None], len(QUANTILES), axis=1)
    cut = len(x) * 4 // 5
    inputs = cdl.Input((len(COLUMNS),))
    hidden = layers.Dense(64, activation="swish")(inputs)
    hidden = layers.Dense(64, activation="swish")(hidden)
    model = cdl.Model(inputs, Ordered()(layers.Dense(len(QUANTILES))(hidden)))
    model.compile(cdl.optimizers.Adam(0.003), pinball)
    model.fit(x[:cut], targets[:cut], batch_size=128, epochs=epochs)
    ranges = model.predict(x[cut:], verbose=0)
    low, middle, high = ranges.T
    within = np.mean((low <= y[cut:]) & (y[cut:] <= high))
    print(f"within the range: {100 * within:.1f} % of the prices (wanted: 90 %)")
    width, off = np.median(np.exp(high - low)), np.median(np.abs(np.exp(middle - y[cut:]) - 1))
    print(f"it is {width:.2f} to 1 wide; half the prices are off by less than {100 * off:.1f} %")
    if picture is not None:
        draw(carats[cut:], np.exp(y[cut:]), ranges, picture)
    return float(1 - abs(within - 0.9))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
