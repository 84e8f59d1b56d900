"""Hyperparameter tuning as in KerasTuner: `build_model(hp)` and successive halving.

The nets classify wines by vineyard. 27 of them are drawn; all train for a few epochs, the best
third goes on for three times as many, and so on until one is left. `train_many` trains the nets of
a round in parallel, and each goes on where it was.

    pip install 'cdl-nn[sklearn]'
    python examples/tuner.py
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import cdl
from cdl import layers


class HyperParameters:
    """Random hyperparameters for a `build_model`; `values` has those that it drew."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self.values: dict[str, Any] = {}

    def Choice(self, name: str, values: list[Any]) -> Any:  # noqa: N802 - KerasTuner's name
        return self.values.setdefault(name, self._source.choice(values))

    def Int(self, name: str, min_value: int, max_value: int) -> int:  # noqa: N802
        return self.values.setdefault(name, self._source.randint(min_value, max_value))

    def Float(self, name: str, min_value: float, max_value: float) -> float:  # noqa: N802
        low, high = np.log(min_value), np.log(max_value)
        return self.values.setdefault(name, float(np.exp(self._source.uniform(low, high))))


def build_model(hp: HyperParameters) -> cdl.Sequential:
    """A net with hyperparameters drawn from `hp`: the user's part."""
    model = cdl.Sequential([layers.Input((13,)), layers.BatchNormalization()])
    for i in range(hp.Int("layers", 1, 2)):
        units = hp.Int(f"units_{i}", 4, 64)
        model.add(layers.Dense(units, hp.Choice("activation", ["relu", "tanh"])))
    model.add(layers.Dense(3, "softmax"))
    rate = hp.Float("learning_rate", 1e-4, 1e-1)
    loss = "sparse_categorical_crossentropy"
    model.compile(cdl.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def search(
    build: Callable[[HyperParameters], cdl.Sequential],
    data: tuple[Any, Any, Any, Any],
    nets: int = 27,
    epochs: int = 5,
    seed: int = 0,
) -> tuple[cdl.Sequential, dict[str, Any], list[list[float]]]:
    """The best net after rounds of halving, its hyperparameters, and the losses of all nets."""
    x, y, x_val, y_val = data
    source = random.Random(seed)
    drawn = [HyperParameters(source) for _ in range(nets)]
    running = [(build(hp), hp) for hp in drawn]
    curves: list[list[float]] = [[] for _ in drawn]
    left = np.arange(nets)  # which of them go on
    while len(running) > 1:
        jobs = [(model, x, y, {"validation_data": (x_val, y_val)}) for model, _ in running]
        histories = cdl.train_many(jobs, epochs=epochs, batch_size=16)
        losses = [history.history["val_loss"][-1] for history in histories]
        for i, history in zip(left, histories, strict=True):
            curves[i] += history.history["val_loss"]
        best = np.argsort(losses)[: max(1, len(running) // 3)]
        print(f"{len(running):3} nets, {epochs:3} epochs: the best has a loss of {min(losses):.3f}")
        running, left, epochs = [running[i] for i in best], left[best], 3 * epochs
    model, hp = running[0]
    return model, hp.values, curves


def draw(curves: list[list[float]], file: str) -> None:
    """Draw the validation loss of each net for as long as it was trained."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    lengths = sorted({len(curve) for curve in curves})
    for curve in sorted(curves, key=len):
        rank = lengths.index(len(curve))
        colour, width = ("C4", "C0", "C1")[min(rank, 2)], 1 + rank / 2
        ax.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=width)
    ax.set(
        title="Rounds of halving: two thirds stop each time",
        xlabel="epoch",
        ylabel="loss in validation",
        yscale="log",
    )
    figure.savefig(file)


def main(nets: int = 27, epochs: int = 5, picture: str | None = None) -> float:
    """Search, and return the accuracy on wines that were held out."""
    cdl.utils.set_random_seed(0)
    x, y = load_wine(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    model, values, curves = search(build_model, (x, y, x_val, y_val), nets, epochs)
    print(values)
    if picture is not None:
        draw(curves, picture)
    return float(model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
