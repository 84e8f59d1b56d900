"""Convolutional network with data augmentation and Grad-CAM: 8 x 8 handwritten digits.

Layers in front move and turn each image at random in training alone. Grad-CAM shows where a digit
was recognized.

    pip install 'cdl-nn[sklearn]' matplotlib
    python examples/digits_cnn.py
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cdl
from cdl import explain, layers


def build() -> cdl.Sequential:
    """The net, with raw scores as outputs: Grad-CAM sees more of them than of probabilities."""
    return cdl.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.RandomRotation(0.03, fill_mode="constant"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def draw(model: cdl.Sequential, images: np.ndarray, file: str) -> None:
    """Draw six digits, and below them their Grad-CAM heat maps."""
    import matplotlib.pyplot as plt

    maps = explain.grad_cam(model, images[:6])
    guesses = model.predict(images[:6], verbose=0).argmax(axis=1)
    figure, axes = plt.subplots(2, 6, figsize=(7.2, 2.8))
    for column, heat, image, guess in zip(axes.T, maps, images, guesses, strict=False):
        column[0].imshow(image[..., 0], cmap="gray_r")
        column[0].set_title(f"taken for {guess}", size=9, weight="normal", loc="center")
        column[0].axis("off")
        explain.plot_image(heat, image, ax=column[1])
    figure.savefig(file)


def main(epochs: int = 40, picture: str | None = None) -> float:
    """Train, and return the accuracy on a quarter of the digits that was held out."""
    cdl.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    images = x.reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(images, y, random_state=0, stratify=y)
    model = build()
    loss = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = cdl.optimizers.schedules.CosineDecay(0.003, epochs * -(-len(x_train) // 32))
    model.compile(cdl.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=32, epochs=epochs, verbose=0)
    print(f"{model.count_params()} weights, {epochs} epochs")
    if picture is not None:
        draw(model, x_test, picture)
    return model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
