"""Vision transformer for handwritten digits: an image as 16 patches.

Each patch of 2 x 2 pixels becomes a vector with a position embedding. Two blocks of self-attention
follow, then the mean over the patches and a dense layer for the classes.

    pip install scikit-learn
    python examples/digits_transformer.py --epochs 40
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cdl
from cdl import explain, layers

WIDTH, PATCHES = 32, 16


def patches(images: np.ndarray) -> np.ndarray:
    """Images (n, 8, 8) as sequences of patches, (n, 16, 4)."""
    parts = images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
    return parts.reshape(-1, PATCHES, 4).astype(np.float32) / 16


class Places(layers.Layer):
    """Position embeddings, added to the vectors."""

    def build(self, input_shape) -> None:
        self.table = self.add_weight(input_shape[1:], "random_normal", name="table")

    def call(self, x):
        return x + self.table


def block(x, dropout: float = 0.1):
    """A transformer block: attention and a feed-forward net, each with a residual and a norm."""
    y = layers.MultiHeadAttention(num_heads=4, key_dim=WIDTH // 4, dropout=dropout)(x, x)
    x = layers.LayerNormalization()(layers.add([x, y]))
    y = layers.Dense(WIDTH)(layers.Dense(2 * WIDTH, activation="relu")(x))
    return layers.LayerNormalization()(layers.add([x, y]))


def draw(model: cdl.Model, x: np.ndarray, file: str) -> None:
    """Draw six digits, and below them the integrated gradients of their pixels."""
    import matplotlib.pyplot as plt

    def image(parts):
        """Patches (16, 4) as an image, (8, 8)."""
        return parts.reshape(4, 4, 2, 2).transpose(0, 2, 1, 3).reshape(8, 8)

    guesses = model.predict(x[:6], verbose=0).argmax(axis=1)
    matters = explain.integrated_gradients(model, x[:6])
    figure, axes = plt.subplots(2, 6, figsize=(7.2, 2.8))
    for column, parts, values, guess in zip(axes.T, x, matters, guesses, strict=False):
        column[0].imshow(image(parts), cmap="gray_r")
        column[0].set_title(f"taken for {guess}", size=9, weight="normal", loc="center")
        column[0].axis("off")
        explain.plot_image(image(values), ax=column[1])
    figure.savefig(file)


def main(epochs: int = 40, picture: str | None = None) -> float:
    """Train, and return the accuracy on digits that were held out."""
    cdl.utils.set_random_seed(1)
    digits = load_digits()
    x, later, y, truth = train_test_split(
        patches(digits.images), digits.target, test_size=0.25, random_state=1
    )
    image = layers.Input((PATCHES, 4))
    hidden = Places()(layers.Dense(WIDTH)(image))
    for _ in range(2):
        hidden = block(hidden)
    told = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(hidden))
    model = cdl.Model(image, told)
    model.compile(
        cdl.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    _, accuracy = model.evaluate(later, truth, verbose=0)
    print(f"{100 * accuracy:.1f} % of {len(later)} digits are told right")
    if picture is not None:
        draw(model, later, picture)
    return float(accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
