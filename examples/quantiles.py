"""A loss and a layer of one's own: not one number, but a range for each price.

The prices of 53,940 diamonds (the table comes with the package plotnine) from weight and
proportions. One output for each quantile; a layer keeps them in order, and the pinball loss,
written with `cdl.ops`, is compiled like any other.

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


def load() -> tuple[np.ndarray, np.ndarray]:
    """Scaled measurements, and the logarithm of the price."""
    package = importlib.util.find_spec("plotnine")
    if package is None or not package.submodule_search_locations:
        raise ImportError("quantiles.py needs the data: pip install plotnine")
    table = pd.read_csv(Path(package.submodule_search_locations[0], "data", "diamonds.csv"))
    table = table.sample(frac=1.0, random_state=0)
    x = table[COLUMNS].to_numpy(np.float32)
    return (x - x.mean(0)) / x.std(0), np.log(table["price"].to_numpy(np.float32))


class Ordered(layers.Layer):
    """The first output as it is, each further one above the one before."""

    def call(self, inputs):
        """Steps become positive, and are added up."""
        first, steps = inputs[:, :1], ops.softplus(inputs[:, 1:])
        return ops.concatenate([first, first + ops.cumsum(steps, axis=1)], axis=1)


def pinball(y_true, y_pred):
    """Of a quantile q, errors upwards cost q and errors downwards 1 - q."""
    quantiles = np.array(QUANTILES, np.float32)
    error = y_true - y_pred
    return ops.mean(ops.maximum(quantiles * error, (quantiles - 1) * error), axis=-1)


def main(epochs: int = 6) -> float:
    """Train, and return how near the part of held-out prices within the range comes to 90 %."""
    cdl.utils.set_random_seed(0)
    x, y = load()
    targets = np.repeat(y[:, None], len(QUANTILES), axis=1)
    cut = len(x) * 4 // 5
    inputs = cdl.Input((len(COLUMNS),))
    hidden = layers.Dense(64, activation="swish")(inputs)
    hidden = layers.Dense(64, activation="swish")(hidden)
    model = cdl.Model(inputs, Ordered()(layers.Dense(len(QUANTILES))(hidden)))
    model.compile(cdl.optimizers.Adam(0.003), pinball)
    model.fit(x[:cut], targets[:cut], batch_size=128, epochs=epochs)
    low, middle, high = model.predict(x[cut:], verbose=0).T
    within = np.mean((low <= y[cut:]) & (y[cut:] <= high))
    print(f"within the range: {100 * within:.1f} % of the prices (wanted: 90 %)")
    width, off = np.median(np.exp(high - low)), np.median(np.abs(np.exp(middle - y[cut:]) - 1))
    print(f"it is {width:.2f} to 1 wide; half the prices are off by less than {100 * off:.1f} %")
    return float(1 - abs(within - 0.9))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    main(**vars(parser.parse_args()))
