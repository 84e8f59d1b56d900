"""Monotone predictions: a price list in which a better diamond never costs less.

300 diamonds (the table comes with the package plotnine) with their weight, and grades of clarity,
colour and cut as numbers, the best one highest. So few leave a net free to say that of two stones
that differ in one grade alone the better one is cheaper. With `monotone={"carat": 1, ...}` it is
built such that no price can fall, wherever. Scikit-learn's boosted trees, which take such a rule
too, stand beside it.

    pip install 'cdl-nn[sklearn]' plotnine
    python examples/monotone.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from cdl.sklearn import TabularRegressor

GRADES = {
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    "color": ["J", "I", "H", "G", "F", "E", "D"],
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
}
RULE = dict.fromkeys(["carat", *GRADES], 1)


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Diamonds in an order by chance, with grades as numbers, and their prices."""
    package = importlib.util.find_spec("plotnine")
    if package is None or not package.submodule_search_locations:
        raise ImportError("monotone.py needs the data: pip install plotnine")
    table = pd.read_csv(Path(package.submodule_search_locations[0], "data", "diamonds.csv"))
    table = table.sample(frac=1.0, random_state=0).reset_index(drop=True)
    x = pd.DataFrame({name: table[name].map(each.index) for name, each in GRADES.items()})
    return x.assign(carat=table["carat"]), table["price"].to_numpy(float)


def price_lists(model, stones: pd.DataFrame, grade: str) -> np.ndarray:
    """Prices of each stone with all values of a grade, a row a stone."""
    n = len(GRADES[grade])
    lists = stones.loc[stones.index.repeat(n)].assign(**{grade: np.tile(np.arange(n), len(stones))})
    return model.predict(lists).reshape(len(stones), n)


def draw(lists: dict[str, np.ndarray], file: str) -> None:
    """Draw price lists of ten stones by their clarity, with and without the rule."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(lists), layout="constrained", sharey=True)
    for axis, (name, prices) in zip(axes, lists.items(), strict=True):
        ten = prices[np.argsort(prices.mean(1))[10::20]]
        axis.plot((ten / ten[:, :1]).T, "o-", markersize=3, linewidth=1)
        axis.set(title=name, xlabel="clarity")
        axis.set_xticks(range(8), GRADES["clarity"], rotation=60)
    axes[0].set_ylabel("price, parts of that of I1")
    figure.savefig(file)


def main(rows: int = 300, epochs: int = 256, picture: str | None = None) -> float:
    """Train with and without the rule; return R2 on 4,000 other stones with it."""
    x, y = load()
    new, price = x[rows : rows + 4000], y[rows : rows + 4000]
    options = {"max_epochs": epochs, "random_state": 0}
    models = {
        "net": TabularRegressor(**options),
        "monotone net": TabularRegressor(**options, monotone=RULE),
        "trees": HistGradientBoostingRegressor(random_state=0),
        "monotone trees": HistGradientBoostingRegressor(random_state=0, monotonic_cst=RULE),
    }
    scores, lists = {}, {}
    print(f"{'':<16}R2     stones of 200 that are cheaper with a better clarity, colour, cut")
    for name, model in models.items():
        model.fit(x[:rows], y[:rows])
        scores[name] = r2_score(price, model.predict(new))
        each = {grade: price_lists(model, new[:200], grade) for grade in GRADES}
        falls = [(np.diff(prices) < -0.01).any(1).sum() for prices in each.values()]
        print(f"{name:<16}{scores[name]:.3f}  {', '.join(map(str, falls))}")
        lists[name] = each["clarity"]
    if picture is not None:
        draw({name: lists[name] for name in list(models)[:3]}, picture)
    return scores["monotone net"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=256)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
