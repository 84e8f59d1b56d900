"""Image segmentation with a U-Net: discs and squares in noisy images.

Each pixel is classified: disc, square or background. The images are drawn here. The net goes down
to a quarter of the size and up again, and the feature maps of the way down are joined to those of
the way up (Ronneberger et al., 2015).

    python examples/shapes.py
"""

from __future__ import annotations

import argparse

import numpy as np

import cdl
from cdl import layers

SIZE = 32


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with a disc and a square each, and the class of each pixel: 0, disc 1, square 2."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = rng.normal(0.4, 0.2, (n, SIZE, SIZE, 1)).astype(np.float32)
    classes = np.zeros((n, SIZE, SIZE), np.int32)
    for image, mask in zip(images, classes, strict=True):
        for kind in (1, 2):
            radius = rng.integers(5, 8)
            y, x = rng.integers(radius, SIZE - radius, 2)
            down, right = np.abs(rows - y), np.abs(columns - x)
            inside = (
                down**2 + right**2 <= radius**2 if kind == 1 else (down < radius) & (right < radius)
            )
            image[inside] += 0.6
            mask[inside] = kind
    return images, classes


def block(x, filters: int):
    """Two convolutions with batch normalization and ReLU."""
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
    return x


def build() -> cdl.Model:
    """The net: for each pixel a probability of each class."""
    inputs = x = layers.Input((SIZE, SIZE, 1))
    seen = []
    for filters in (8, 16):
        x = block(x, filters)
        seen.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, 32)
    for filters in (16, 8):
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = block(layers.Concatenate()([x, seen.pop()]), filters)
    return cdl.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))


def paint(images: np.ndarray, mask: np.ndarray, found: np.ndarray, file: str) -> None:
    """Draw images, their true classes and the predicted ones."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 6, figsize=(7.2, 3.9))
    for row, pictures, label in zip(
        axes, (images, mask, found), ("image", "what is there", "what is found"), strict=True
    ):
        for ax, picture in zip(row, pictures, strict=False):
            ax.imshow(picture.squeeze(), cmap="gray" if label == "image" else "viridis")
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        row[0].set_ylabel(label, size=9)
    figure.savefig(file)


def main(epochs: int = 8, images: int = 600, picture: str | None = None) -> float:
    """Train, and return the intersection over the union of shapes, a mean of both kinds."""
    cdl.utils.set_random_seed(0)
    model = build()
    model.compile(cdl.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(*draw(images, 1), batch_size=20, epochs=epochs)
    x, mask = draw(100, 2)
    found = model.predict(x, verbose=0).argmax(-1)
    shares = []
    for kind, name in ((1, "discs"), (2, "squares")):
        both, either = (found == kind) & (mask == kind), (found == kind) | (mask == kind)
        shares.append(both.sum() / either.sum())
        print(f"{name}: {shares[-1]:.3f} of the union is the intersection")
    if picture is not None:
        paint(x, mask, found, picture)
    return float(np.mean(shares))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"intersection over union: {main(**vars(parser.parse_args())):.3f}")
