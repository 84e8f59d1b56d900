"""Time series classification with 1D convolutions: Breiman's waveforms.

Each series is a mixture of two of three waves, and the class says which (Breiman et al.,
Classification and Regression Trees, 1984, section 2.6.2). They are drawn here: 21 steps, with noise
as large as the signal. The Bayes classifier is right in 86 % of the cases.

    python examples/waves.py
"""

from __future__ import annotations

import argparse

import numpy as np

import cdl
from cdl import layers

STEPS = 21


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Series, (n, steps, 1), and which pair of waves each is a mixture of."""
    rng = np.random.default_rng(seed)
    i = np.arange(1, STEPS + 1)
    waves = np.stack([np.maximum(6 - np.abs(i - middle), 0) for middle in (11, 15, 7)])
    kinds = rng.integers(0, 3, n)
    first, second = np.array([[0, 1], [0, 2], [1, 2]])[kinds].T
    share = rng.uniform(size=(n, 1))
    series = share * waves[first] + (1 - share) * waves[second] + rng.normal(size=(n, STEPS))
    return series[..., None].astype(np.float32), kinds


def build() -> cdl.Sequential:
    """The net: convolutions over five steps, then over more by dilation, and max pooling."""
    return cdl.Sequential(
        [
            layers.Input((STEPS, 1)),
            layers.Conv1D(16, 5, padding="same", activation="relu"),
            layers.Conv1D(16, 3, padding="same", dilation_rate=2, activation="relu"),
            layers.MaxPooling1D(3),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ]
    )


def paint(model: cdl.Sequential, x: np.ndarray, kinds: np.ndarray, file: str) -> None:
    """Draw four series of each class with the predicted probability, and the class's mean."""
    import matplotlib.pyplot as plt

    found = model.predict(x, verbose=0)
    figure, axes = plt.subplots(3, 4, sharex=True, sharey=True, figsize=(7.2, 4.6))
    for kind, row in enumerate(axes):
        for ax, i in zip(row, np.flatnonzero(kinds == kind), strict=False):
            ax.plot(x[kinds == kind].mean(0)[:, 0], color="C4", linewidth=1)
            ax.plot(x[i, :, 0], ".-", color="C0" if found[i].argmax() == kind else "C1")
            title = f"{100 * found[i, kind]:.0f} % sure"
            ax.set_title(title, size=9, weight="normal", loc="center")
        row[0].set_ylabel(f"kind {kind}")
    figure.savefig(file)


def main(epochs: int = 15, series: int = 3000, picture: str | None = None) -> float:
    """Train, and return the accuracy on 5,000 other series."""
    cdl.utils.set_random_seed(0)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*draw(series, 1), epochs=epochs, verbose=0)
    print(f"{model.count_params()} weights, {epochs} epochs; 0.86 is what can be reached")
    if picture is not None:
        paint(model, *draw(5000, 2), picture)
    return model.evaluate(*draw(5000, 2), verbose=0, return_dict=True)["accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
