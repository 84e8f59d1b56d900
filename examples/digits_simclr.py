"""Contrastive learning without labels (SimCLR), and a linear probe: handwritten digits.

Two random variants of an image are to be nearer to each other than to those of all other images in
the batch (Chen et al., 2020). A logistic regression then learns the classes from ten labelled
images of each, on what the encoder gives; beside it stand the pixels, and the encoder untrained.

    pip install 'cdl-nn[sklearn]'
    python examples/digits_simclr.py [--epochs 60]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import cdl
from cdl import layers, ops


def build_augmenter() -> cdl.Sequential:
    """An image to a random variant: moved, turned, scaled, and darker or lighter."""
    return cdl.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.RandomTranslation(0.15, 0.15, fill_mode="constant"),
            layers.RandomRotation(0.05, fill_mode="constant"),
            layers.RandomZoom(0.15, fill_mode="constant"),
            layers.GaussianNoise(0.1),
        ]
    )


def build_encoder() -> cdl.Sequential:
    """An image to 64 numbers."""
    return cdl.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
        ]
    )


class SimCLR(cdl.Model):
    """An encoder that trains by pairs of variants, with a projection head for training alone."""

    def __init__(self, encoder: cdl.Sequential, temperature: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.augmenter = encoder, build_augmenter()
        self.head = cdl.Sequential(
            [layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(32)]
        )
        self.temperature = temperature

    def call(self, images: Any) -> Any:
        return self.encoder(images)

    def contrastive_loss(self, first: Any, second: Any) -> Any:
        """Cross-entropy of finding the other variant of an image among all in the batch."""
        first, second = ops.normalize(first, axis=1), ops.normalize(second, axis=1)
        similarities = ops.matmul(first, ops.transpose(second)) / self.temperature
        which = np.arange(len(first))
        to_second = cdl.losses.sparse_categorical_crossentropy(which, similarities, True)
        to_first = cdl.losses.sparse_categorical_crossentropy(
            which, ops.transpose(similarities), True
        )
        return ops.mean(to_second + to_first) / 2

    def train_step(self, images: Any) -> dict[str, Any]:
        first = self.augmenter(images, training=True)
        second = self.augmenter(images, training=True)
        with cdl.GradientTape() as tape:
            projections = [
                self.head(self.encoder(each, training=True), training=True)
                for each in (first, second)
            ]
            loss = self.contrastive_loss(*projections)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return {"loss": loss}


def probe(x: np.ndarray, classes: np.ndarray, x_new: np.ndarray, classes_new: np.ndarray) -> float:
    """Accuracy on new images of a logistic regression, mean over 20 draws of ten a class."""
    rng, scores = np.random.default_rng(0), []
    for _ in range(20):
        some = [rng.choice(np.flatnonzero(classes == k), 10, replace=False) for k in range(10)]
        some = np.concatenate(some)
        spread = x.std() + 1e-9
        model = LogisticRegression(max_iter=2000).fit(x[some] / spread, classes[some])
        scores.append(model.score(x_new / spread, classes_new))
    return float(np.mean(scores))


def draw(accuracies: dict[str, float], model: SimCLR, images: np.ndarray, file: str) -> None:
    """Draw images with two random variants of each, and the accuracy of each linear probe."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
    some = images[:8]
    variants = [model.augmenter(some, training=True)[..., 0] for _ in range(2)]
    rows = np.stack([some[..., 0], *variants])
    left.imshow(rows.transpose(0, 2, 1, 3).reshape(24, 64), cmap="gray_r", vmin=0, vmax=1)
    left.set(xticks=[], yticks=[], title="images and variants")
    bars = right.barh(list(accuracies), list(accuracies.values()))
    right.bar_label(bars, fmt="%.3f", padding=3)
    right.set(xlim=(0, 1.15), title="accuracy by ten labels a class")
    right.grid(visible=False)
    figure.savefig(file)


def main(epochs: int = 60, picture: str | None = None) -> float:
    """Train without labels, print the accuracy of each probe, and return that of SimCLR."""
    cdl.utils.set_random_seed(0)
    digits = load_digits()
    x, classes = (digits.images[..., None] / 16).astype(np.float32), digits.target
    model = SimCLR(build_encoder())
    model.compile(optimizer=cdl.optimizers.Adam(1e-3))
    known, new = slice(None, 1200), slice(1200, None)
    features = {
        "pixels": x.reshape(-1, 64),
        "encoder, untrained": model.encoder.predict(x, verbose=0),
    }
    model.fit(x[known], batch_size=200, epochs=epochs, verbose=0)
    features["encoder, SimCLR"] = model.encoder.predict(x, verbose=0)
    accuracies = {
        name: probe(each[known], classes[known], each[new], classes[new])
        for name, each in features.items()
    }
    if picture is not None:
        draw(accuracies, model, x, picture)
    for name, accuracy in accuracies.items():
        print(f"{name}: {accuracy:.3f}")
    return accuracies["encoder, SimCLR"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy by ten labels a class: {main(**vars(parser.parse_args())):.3f}")
