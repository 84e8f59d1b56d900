"""A data frame with words in it: what does a diamond cost?

53,940 diamonds (the table comes with the package plotnine). Cut, colour and clarity are words; they
become columns of a sparse matrix, which the core reads batch by batch.

    pip install 'cdl-nn[sklearn]' plotnine
    python examples/diamonds.py
"""

from __future__ import annotations

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


def main(epochs: int = 10) -> float:
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
    logarithm = np.log(price_test)
    rest = ((logarithm - np.log(predicted)) ** 2).mean()
    return float(1.0 - rest / logarithm.var())


if __name__ == "__main__":
    print(f"R2: {main():.4f}")
