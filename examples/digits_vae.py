"""Variational autoencoder (VAE): handwritten digits as points of a plane, and drawn from them.

The encoder says where in the plane an image may lie, as a normal distribution; the decoder draws an
image from a point. The loss is how badly an image is drawn again, and how far the distributions are
from the standard one (Kingma and Welling, 2014). The step is that of Keras's example.

    pip install 'cdl-nn[sklearn]'
    python examples/digits_vae.py [--epochs 80]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import cdl
from cdl import layers, ops


class Sampling(layers.Layer):
    """A point of the normal distribution with this mean and logarithm of the variance."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = cdl.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        mean, log_var = inputs
        noise = cdl.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * noise


def build_encoder() -> cdl.Model:
    """An image to the mean, the logarithm of the variance, and a point that is drawn."""
    image = cdl.Input((8, 8, 1))
    x = layers.Conv2D(32, 3, activation="relu", padding="same")(image)
    x = layers.Conv2D(64, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    mean, log_var = layers.Dense(2, name="mean")(x), layers.Dense(2, name="log_var")(x)
    return cdl.Model(image, [mean, log_var, Sampling()([mean, log_var])], name="encoder")


def build_decoder() -> cdl.Model:
    """A point to an image."""
    point = cdl.Input((2,))
    x = layers.Dense(64, activation="relu")(point)
    x = layers.Dense(4 * 4 * 64, activation="relu")(x)
    x = layers.Reshape((4, 4, 64))(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu", strides=2, padding="same")(x)
    image = layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x)
    return cdl.Model(point, image, name="decoder")


class VAE(cdl.Model):
    """Encoder and decoder with one loss of two parts."""

    def __init__(self, encoder: cdl.Model, decoder: cdl.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.trackers = [cdl.metrics.Mean(name) for name in ("loss", "reconstruction", "kl")]

    @property
    def metrics(self) -> list[Any]:
        return self.trackers

    def train_step(self, data: Any) -> dict[str, Any]:
        with cdl.GradientTape() as tape:
            mean, log_var, point = self.encoder(data, training=True)
            drawn = self.decoder(point, training=True)
            error = cdl.losses.binary_crossentropy(data, drawn)
            reconstruction = ops.mean(ops.sum(error, axis=(1, 2)))
            kl = -0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var))
            kl = ops.mean(ops.sum(kl, axis=1))
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def draw(vae: VAE, images: np.ndarray, classes: np.ndarray, file: str) -> None:
    """Draw where images of each class lie in the plane, and what is drawn from its points."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3))
    places = vae.encoder.predict(images, verbose=0)[0]
    left.scatter(*places.T, c=classes, cmap="tab10", s=6)
    for k in range(10):
        left.text(*np.median(places[classes == k], axis=0), str(k), weight="bold", size=14)
    left.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), title="images", aspect="equal")
    n, edges = 15, np.linspace(-2, 2, 15)
    grid = np.stack(np.meshgrid(edges, edges[::-1]), axis=-1).reshape(-1, 2)
    drawn = vae.decoder.predict(grid, verbose=0).reshape(n, n, 8, 8)
    right.imshow(drawn.transpose(0, 2, 1, 3).reshape(n * 8, n * 8), cmap="gray_r")
    right.set(xticks=[], yticks=[], title="drawn from points between -2 and 2")
    figure.savefig(file)


def main(epochs: int = 80, picture: str | None = None) -> float:
    """Train, and return how many of 297 new images have the class of their nearest neighbors."""
    cdl.utils.set_random_seed(0)
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    vae = VAE(build_encoder(), build_decoder())
    vae.compile(optimizer=cdl.optimizers.Adam(2e-3))
    history = vae.fit(x[:1500], epochs=epochs, batch_size=64, verbose=0).history
    print("nats an image:", ", ".join(f"{each} {history[each][-1]:.1f}" for each in history))
    if picture is not None:
        draw(vae, x, digits.target, picture)
    places = vae.encoder.predict(x, verbose=0)[0]
    neighbors = KNeighborsClassifier(15).fit(places[:1500], digits.target[:1500])
    return neighbors.score(places[1500:], digits.target[1500:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"right by neighbors in the plane: {main(**vars(parser.parse_args())):.3f}")
