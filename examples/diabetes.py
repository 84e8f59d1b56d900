"""Regression on a small data set with L-BFGS: progression of diabetes.

442 patients with ten measurements each (scikit-learn has the table), and how far the disease has
gone a year later. R2 in cross-validation stands beside that of a linear model.

    pip install 'cdl-nn[sklearn]'
    python examples/diabetes.py
"""

from __future__ import annotations

import argparse

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import CDLRegressor


def draw(models: dict, x, y, file: str) -> None:
    """Draw the progression against its predictions in cross-validation, for both models."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(7.2, 3.8))
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        ax.scatter(cross_val_predict(model, x, y, cv=5), y, s=12, alpha=0.6)
        ax.axline((150, 150), slope=1, color="black", linewidth=1)
        ax.set(title=name, xlabel="predicted")
    axes[0].set_ylabel("progression after a year")
    figure.savefig(file)


def main(picture: str | None = None) -> float:
    """Return R2 in cross-validation, and print that of a linear model."""
    x, y = load_diabetes(return_X_y=True)
    net = CDLRegressor(
        hidden_layer_sizes=(8,), activation="tanh", solver="lbfgs", alpha=10.0, random_state=0
    )
    scaled = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), net), transformer=StandardScaler()
    )
    linear = cross_val_score(LinearRegression(), x, y, cv=5).mean()
    r2 = cross_val_score(scaled, x, y, cv=5).mean()
    print(f"R2 of a linear model: {linear:.4f}")
    if picture is not None:
        draw({"a linear model": LinearRegression(), "the net": scaled}, x, y, picture)
    return float(r2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"R2: {main(**vars(parser.parse_args())):.4f}")
