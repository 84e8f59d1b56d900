"""Poisson regression of count data: how often does a person see a doctor in a year?

20,190 years of people in the RAND Health Insurance Experiment (the table comes with the package
statsmodels). The loss is Poisson's, and the net predicts the expected number of visits.

    pip install 'cdl-nn[sklearn]' statsmodels
    python examples/doctors.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import CDLRegressor


def load() -> tuple[pd.DataFrame, pd.Series]:
    """The features of each person and year, and the number of visits."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise ImportError("doctors.py needs the data: pip install statsmodels")
    folder = Path(package.submodule_search_locations[0])
    table = pd.read_csv(folder / "datasets" / "randhie" / "randhie.csv")
    return table.drop(columns="mdvis"), table["mdvis"]


def draw(found: dict[str, np.ndarray], visits: pd.Series, file: str) -> None:
    """Draw the mean numbers of visits, observed against predicted, for tenths of the people."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(7.2, 3.8))
    for ax, (name, expected) in zip(axes, found.items(), strict=True):
        tenths = np.array_split(np.argsort(expected), 10)
        means = [(expected[each].mean(), visits.to_numpy()[each].mean()) for each in tenths]
        ax.plot(*np.transpose(means), "o")
        ax.axline((0, 0), slope=1, color="black", linewidth=1)
        ax.set(title=name, xlabel="visits expected")
    axes[0].set_ylabel("visits that came, the mean of a tenth")
    figure.savefig(file)


def main(epochs: int = 30, picture: str | None = None) -> float:
    """Train, and return the part of Poisson's deviance that is explained on held-out years."""
    x, visits = load()
    x_train, x_test, visits_train, visits_test = train_test_split(x, visits, random_state=0)
    net = CDLRegressor(
        "poisson",
        hidden_layer_sizes=(32, 16),
        max_iter=epochs,
        early_stopping=True,
        random_state=0,
    )
    scores, found = {}, {}
    for name, model in (("a linear model", PoissonRegressor()), ("the net", net)):
        pipeline = make_pipeline(StandardScaler(), model).fit(x_train, visits_train)
        found[name] = pipeline.predict(x_test)
        scores[name] = d2_tweedie_score(visits_test, found[name], power=1)
        print(f"explained by {name}: {100 * scores[name]:.1f} % of the deviance")
    if picture is not None:
        draw(found, visits_test, picture)
    return float(scores["the net"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
