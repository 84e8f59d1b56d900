"""Keras-style model in scikit-learn: cross-validation and permutation importance on wines.

Which vineyard is a wine from? `SKLearnClassifier` wraps a function that builds a model, and the
measurements are ranked by the accuracy that is lost if one of them is shuffled.

    pip install 'cdl-nn[sklearn]'
    python examples/wine.py
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_wine
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.layers import BatchNormalization, Dense, Dropout, Input
from cdl.models import Sequential
from cdl.wrappers import SKLearnClassifier


def build(X: np.ndarray, y: np.ndarray, units: int = 32) -> Sequential:
    """A model whose input and output fit the data."""
    model = Sequential([Input((X.shape[1],))])
    model.add(Dense(units, activation="relu"))
    model.add(BatchNormalization())
    model.add(Dropout(0.3))
    model.add(Dense(y.shape[1], activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    return model


def draw(drops: np.ndarray, names: list[str], file: str) -> None:
    """Draw the permutation importance of each measurement, the highest on top."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    order = drops.mean(axis=1).argsort()
    ax.boxplot(100 * drops[order].T, orientation="horizontal")
    ax.set_yticks(range(1, len(order) + 1), [names[j].replace("_", " ") for j in order])
    ax.set(title="What does a measurement matter?", xlabel="accuracy lost if shuffled, per cent")
    ax.grid(axis="y", visible=False)
    figure.savefig(file)


def main(picture: str | None = None) -> float:
    """Return the accuracy in cross-validation; print which measurements tell most."""
    data: Any = load_wine(as_frame=True)
    estimator = SKLearnClassifier(
        build,
        model_kwargs={"units": 32},
        fit_kwargs={"epochs": 60, "batch_size": 16, "verbose": 0},
        random_state=0,
    )
    pipeline = make_pipeline(StandardScaler(), estimator)
    accuracy = cross_val_score(pipeline, data.data, data.target, cv=5).mean()
    pipeline.fit(data.data, data.target)
    found = permutation_importance(pipeline, data.data, data.target, n_repeats=5, random_state=0)
    for j in found.importances_mean.argsort()[:-4:-1]:
        print(f"{data.feature_names[j]:30} {found.importances_mean[j]:.3f}")
    if picture is not None:
        draw(found.importances, data.feature_names, picture)
    return float(accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
