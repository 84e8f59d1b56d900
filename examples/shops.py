"""A net for each of 5,000 shops: daily sales from price, weather and the day of the week.

Each shop has its own week and its own customers. `cdl.replicate` trains a small net for each as one
object; beside them stand one net for all shops, which does not know which shop it sees, and the
same nets trained in a loop, of which a few are timed.

    pip install cdl-nn
    python examples/shops.py [--shops 5000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import cdl
from cdl import layers

DAYS, KNOWN = 140, 112  # of each shop, and those from which the nets learn


def sales(shops: int) -> tuple[np.ndarray, np.ndarray]:
    """Price, weather and day (shops, days, 9) of each shop, and its sales (shops, days, 1)."""
    rng = np.random.default_rng(0)
    price, weather = rng.normal(size=(2, shops, DAYS, 1))
    day = np.eye(7)[np.arange(DAYS) % 7]
    x = np.concatenate([price, weather, np.broadcast_to(day, (shops, DAYS, 7))], axis=2)
    week = rng.normal(size=(shops, 1, 7)) @ day.T
    of_price, of_weather, turn = rng.normal(size=(3, shops, 1, 1))
    y = of_weather * np.tanh(weather - turn) - np.exp(of_price / 2) * price
    y = y + week.transpose(0, 2, 1) + rng.normal(size=y.shape) / 4
    return x.astype(np.float32), y.astype(np.float32)


def net(units: int) -> cdl.Sequential:
    """The net of a shop, or of all."""
    stack = [layers.Input((9,)), layers.Dense(units, "tanh"), layers.Dense(1)]
    model = cdl.Sequential(stack)
    model.compile(cdl.optimizers.Adam(0.02), "mse")
    return model


def draw(own: np.ndarray, of_all: np.ndarray, file: str) -> None:
    """Draw how many shops have which error, by nets of their own and by one for all."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    bins = np.linspace(0, np.quantile(of_all, 0.99), 80)
    ax.hist(own, bins, alpha=0.7, label="a net for each shop")
    ax.hist(of_all, bins, alpha=0.7, label="one net for all")
    ax.axvline(0.25, color="black", linewidth=1, label="noise")
    ax.set(xlabel="root mean squared error in the last four weeks", ylabel="shops")
    ax.legend()
    figure.savefig(file)


def main(shops: int = 5000, picture: str | None = None) -> float:
    """Train, print times and errors, and return the share of shops whose own net is better."""
    cdl.utils.set_random_seed(0)
    x, y = sales(shops)
    known, x_new, y_new = slice(None, KNOWN), x[:, KNOWN:], y[:, KNOWN:]

    start = time.perf_counter()
    many = cdl.replicate(net(8), shops, seeds=range(shops))
    many.fit(x[:, known], y[:, known], epochs=60, batch_size=16)
    seconds = time.perf_counter() - start
    own = np.sqrt(((many.predict(x_new) - y_new) ** 2).mean(axis=(1, 2)))

    some = min(shops, 50)
    start = time.perf_counter()
    for shop in range(some):
        alone = net(8)
        alone.fit(x[shop, known], y[shop, known], epochs=60, batch_size=16, verbose=0)
    loop = (time.perf_counter() - start) / some * shops

    one = net(64)
    one.fit(x[:, known].reshape(-1, 9), y[:, known].reshape(-1, 1), 256, 5, verbose=0)
    found = one.predict(x_new.reshape(-1, 9), verbose=0).reshape(y_new.shape)
    of_all = np.sqrt(((found - y_new) ** 2).mean(axis=(1, 2)))

    if picture is not None:
        draw(own, of_all, picture)
    print(f"{shops} nets: {seconds:.1f} s together, {loop:.1f} s in a loop")
    print(
        f"median error: {np.median(own):.2f} by nets of their own, {np.median(of_all):.2f} by one"
    )
    return float((own < of_all).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--shops", type=int, default=5000)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"better with a net of its own: {main(**vars(parser.parse_args())):.1%} of shops")
