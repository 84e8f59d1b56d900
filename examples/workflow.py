"""Tabular classification with a pandas DataFrame: customer churn from 200,000 rows.

The net standardizes its inputs and is regularized; early stopping watches the area under the ROC
curve. The table of 30 columns is synthetic: a third of them matter, some only together, some are
counts or have gaps. Everything else is as one writes it with Keras; benchmarks/workflow.py runs the
same lines on Keras and times them.

    pip install 'cdl-nn[sklearn]' pandas
    python examples/workflow.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

import cdl as keras


def table(rows: int = 200_000, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Customers and whether they leave, as a data frame of 30 columns and a column of 0 and 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 30), np.float32)
    x[:, 20:25] = np.exp(x[:, 20:25])  # amounts
    x[:, 25:30] = rng.poisson(3.0, (rows, 5))  # counts
    score = x[:, 0] - 0.5 * x[:, 1] + x[:, 2] * x[:, 3] + np.sin(2 * x[:, 4])
    score += 0.7 * np.log(x[:, 20]) * (x[:, 25] > 3) + 0.3 * x[:, 26] - 1.5
    leaves = rng.random(rows) < 1 / (1 + np.exp(-score))
    names = [f"measure_{i}" for i in range(20)]
    names += [f"amount_{i}" for i in range(5)] + [f"count_{i}" for i in range(5)]
    return pd.DataFrame(x, columns=names), pd.Series(leaves.astype("int64"), name="leaves")


def build() -> keras.Model:
    """Two hidden layers with batch normalization and dropout, AdamW with clipped gradients."""
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4, clipnorm=1.0),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")],
    )
    return model


def train(model: keras.Model, x: pd.DataFrame, leaves: pd.Series, epochs: int) -> None:
    """Stop when the area under the ROC curve of a tenth of the rows rises no more."""
    stop = keras.callbacks.EarlyStopping(
        "val_auc", mode="max", patience=3, restore_best_weights=True
    )
    model.fit(x, leaves, epochs=epochs, validation_split=0.1, callbacks=[stop], verbose=0)


def draw(leaves: pd.Series, found: np.ndarray, area: float, file: str) -> None:
    """Draw the ROC curve, and the predicted probabilities of those who left and who stayed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    axes[0].plot(*roc_curve(leaves, found)[:2], label=f"area {area:.3f}")
    axes[0].plot([0, 1], [0, 1], ":", color="gray", label="chance")
    axes[0].set(title="ROC", xlabel="false positives", ylabel="true positives")
    axes[0].legend()
    for kind, name in ((1, "left"), (0, "stayed")):
        axes[1].hist(found[leaves == kind], bins=40, range=(0, 1), alpha=0.6, label=name)
    axes[1].set(title="Probability given", xlabel="probability of leaving", ylabel="customers")
    axes[1].legend()
    figure.savefig(file)


def main(rows: int = 200_000, epochs: int = 2, picture: str | None = None) -> float:
    """Train, and return the area under the ROC curve on customers that were held out."""
    keras.utils.set_random_seed(0)
    x, leaves = table(rows)
    cut = len(x) * 9 // 10
    model = build()
    start = time.perf_counter()
    train(model, x[:cut], leaves[:cut], epochs)
    print(f"trained in {time.perf_counter() - start:.2f} s")
    found = model.predict(x[cut:], verbose=0)[:, 0]
    area = float(roc_auc_score(leaves[cut:], found))
    print(f"area under the ROC curve on {len(found):,} customers held out: {area:.3f}")
    if picture is not None:
        draw(leaves[cut:], found, area, picture)
    return area


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
