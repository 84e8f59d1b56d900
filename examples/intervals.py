"""Conformal prediction intervals: what range has the price of a diamond in nine of ten cases?

Diamonds with their prices (the table comes with the package plotnine; cut, colour and clarity are
words). `Conformal` goes around any regressor and widens what it says until nine of ten prices lie
inside, whatever the model: by a fourth of the rows that are set apart ("split"), or by five nets
and the rows that each left out ("cv+"). One width for all stones is too much for light ones and
too little for heavy ones. A net with `quantiles` knows where it is less sure, but promises
nothing; with `Conformal` around it nine of ten are inside again. The 4,000 diamonds that tell were
seen by none.

    pip install 'cdl-nn[sklearn]' plotnine
    python examples/intervals.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from cdl.sklearn import Conformal, TabularRegressor

OUTSIDE = 0.1  # the part of prices that may lie outside


def load(rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Diamonds in an order by chance, and their prices."""
    package = importlib.util.find_spec("plotnine")
    if package is None or not package.submodule_search_locations:
        raise ImportError("intervals.py needs the data: pip install plotnine")
    table = pd.read_csv(Path(package.submodule_search_locations[0], "data", "diamonds.csv"))
    table = table.sample(rows, random_state=0)
    return table.drop(columns="price"), table["price"].to_numpy(float)


def intervals(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, epochs: int) -> dict:
    """Lower and upper ends for new diamonds, by four ways."""
    options = {"recipe": "mlp", "max_epochs": epochs, "patience": 10, "random_state": 0}
    mean = TabularRegressor(**options)
    quantiles = TabularRegressor(**options, quantiles=(OUTSIDE / 2, 0.5, 1 - OUTSIDE / 2))
    return {
        "split": Conformal(mean, OUTSIDE, random_state=0).fit(x, y).predict_interval(new),
        "cv+": Conformal(mean, OUTSIDE, "cv+", random_state=0).fit(x, y).predict_interval(new),
        "quantiles alone": quantiles.fit(x, y).predict_quantiles(new)[:, [0, 2]],
        "quantiles, split": Conformal(quantiles, OUTSIDE, random_state=0)
        .fit(x, y)
        .predict_interval(new),
    }


def draw(new: pd.DataFrame, y: np.ndarray, found: dict, inside: pd.DataFrame, file: str) -> None:
    """Draw intervals by weight with the prices, and the part of prices inside by weight."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, layout="constrained")
    some = np.argsort(new["carat"].to_numpy(), kind="stable")[10::40]
    carat, ends = new["carat"].to_numpy()[some], found["quantiles, split"][some] / 1000
    price, outside = y[some] / 1000, (y[some] / 1000 < ends[:, 0]) | (y[some] / 1000 > ends[:, 1])
    axes[0].vlines(carat, *ends.T, color="lightgray", label="interval")
    for part, name in ((~outside, "price inside"), (outside, "outside")):
        axes[0].plot(carat[part], price[part], "o", markersize=3, label=name)
    title = "Quantiles and Conformal"
    axes[0].set(title=title, xlabel="carat", ylabel="price, $ 1,000", xlim=(0.2, 2.3), ylim=(0, 19))
    axes[0].legend(loc="upper left")
    for name, parts in inside.items():
        axes[1].plot(100 * parts.to_numpy(), "o-", label=name)
    axes[1].axhline(100 * (1 - OUTSIDE), color="gray", linewidth=1)
    axes[1].set(title="Inside by weight, %", xlabel="fifths of the stones, light to heavy")
    axes[1].set_xticks(range(5), ["1st", "2nd", "3rd", "4th", "5th"])
    axes[1].legend()
    figure.savefig(file)


def main(rows: int = 12_000, epochs: int = 60, picture: str | None = None) -> float:
    """Train on two thirds, and return the part of the other prices inside, of the last way."""
    x, y = load(rows)
    cut = rows * 2 // 3
    new, price = x[cut:], y[cut:]
    found = intervals(x[:cut], y[:cut], new, epochs)
    fifth = pd.qcut(new["carat"], 5, labels=False, duplicates="drop").to_numpy()
    inside = pd.DataFrame(
        {name: (ends[:, 0] <= price) & (price <= ends[:, 1]) for name, ends in found.items()}
    )
    print(f"{'':<18}inside  mean width  inside by fifths of weight")
    by_weight = inside.groupby(fifth).mean()
    for name, ends in found.items():
        parts = " ".join(f"{part:.2f}" for part in by_weight[name])
        width = (ends[:, 1] - ends[:, 0]).mean()
        print(f"{name:<18}{inside[name].mean():.3f}  $ {width:>8,.0f}  {parts}")
    if picture is not None:
        draw(new, price, found, by_weight, picture)
    return float(inside["quantiles, split"].mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
