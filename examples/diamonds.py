"""Tabular regression with categorical columns and sparse one-hot encoding: diamond prices.

53,940 diamonds (the table comes with the package plotnine). Cut, colour and clarity are words;
`OneHotEncoder` makes columns of a sparse matrix of them, which the core reads batch by batch.

    pip install 'cdl-nn[sklearn]' plotnine
    python examples/diamonds.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.metrics import mean_absolute_percentage_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cdl.sklearn import CDLRegressor

WORDS = ["cut", "color", "clarity"]
NUMBERS = ["carat", "depth", "table", "x", "y", "z"]


def load() -> pd.DataFrame:
    """The table, without importing the package that it comes with."""
    package = importlib.util.find_spec("plotnine")
    if package is None or not package.submodule_search_locations:
        raise ImportError("diamonds.py needs the data: pip install plotnine")
    folder = Path(package.submodule_search_locations[0])
    return pd.read_csv(folder / "data" / "diamonds.csv")


def draw(prices: pd.Series, predicted: np.ndarray, clarity: pd.Series, file: str) -> None:
    """Draw prices against predictions, and relative errors by the clarity of the stone."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, width_ratios=(3, 2))
    axes[0].hexbin(predicted, prices, xscale="log", yscale="log", gridsize=45, bins="log", mincnt=1)
    axes[0].axline((1000, 1000), (2000, 2000), color="black", linewidth=1)
    axes[0].set(title="Prices of 13,485 diamonds", xlabel="predicted, dollars", ylabel="paid")
    off = 100 * np.abs(predicted / prices - 1)
    order = ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"]  # from worst to best
    axes[1].boxplot([off[clarity == each] for each in order], showfliers=False)
    axes[1].set_xticks(range(1, 9), order, rotation=90)
    axes[1].set(title="Off by", xlabel="clarity", ylabel="per cent", ylim=(0, None))
    figure.savefig(file)


def main(epochs: int = 10, picture: str | None = None) -> float:
    """Train, and return R2 of the logarithm of the price on diamonds that were held out."""
    diamonds = load()
    x, price = diamonds.drop(columns="price"), diamonds["price"]
    x_train, x_test, price_train, price_test = train_test_split(x, price, random_state=0)
    columns = ColumnTransformer(
        [("words", OneHotEncoder(), WORDS), ("numbers", StandardScaler(), NUMBERS)],
        sparse_threshold=1.0,
    )
    net = CDLRegressor(
        hidden_layer_sizes=(64, 32),
        learning_rate_init=0.005,
        max_iter=epochs,
        early_stopping=True,
        n_iter_no_change=epochs,
        random_state=0,
    )
    model = TransformedTargetRegressor(
        make_pipeline(columns, net), func=np.log, inverse_func=np.exp
    )
    model.fit(x_train, price_train)
    predicted = model.predict(x_test)
    error = mean_absolute_percentage_error(price_test, predicted)
    print(f"the price is missed by {100 * error:.1f} % on average")
    if picture is not None:
        draw(price_test, predicted, x_test["clarity"], picture)
    logarithm = np.log(price_test)
    rest = ((logarithm - np.log(predicted)) ** 2).mean()
    return float(1.0 - rest / logarithm.var())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"R2: {main(**vars(parser.parse_args())):.4f}")
