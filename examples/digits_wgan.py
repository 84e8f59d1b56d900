"""WGAN-GP: a generative adversarial network with gradient penalty draws handwritten digits.

A critic says how real an image is, and a generator makes images that it takes for real. The slope
of the critic is held at 1 by a penalty, which is a gradient of a gradient (Gulrajani et al., 2017).
The step is that of Keras's example. The score is that of Salimans et al. (2016) by a classifier of
digits: 1 if all images were alike or of no class, 10 if all are clear and each class as frequent.

    pip install 'cdl-nn[sklearn]'
    python examples/digits_wgan.py [--epochs 50]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import cdl
from cdl import layers, ops

NOISE = 16


def build_generator() -> cdl.Sequential:
    """Noise to an image of 8 x 8 pixels from -1 to 1."""
    return cdl.Sequential(
        [
            layers.Input((NOISE,)),
            layers.Dense(2 * 2 * 64, activation="relu"),
            layers.Reshape((2, 2, 64)),
            layers.Conv2DTranspose(64, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(1, 3, padding="same", activation="tanh"),
        ]
    )


def build_critic() -> cdl.Sequential:
    """An image to how real it looks."""
    return cdl.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="leaky_relu"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="leaky_relu"),
            layers.Flatten(),
            layers.Dense(64, activation="leaky_relu"),
            layers.Dense(1),
        ]
    )


class WGAN(cdl.Model):
    """Critic and generator with an optimizer each."""

    def __init__(self, critic: Any, generator: Any, critic_steps: int = 3, weight: float = 10.0):
        super().__init__()
        self.critic, self.generator = critic, generator
        self.critic_steps, self.weight = critic_steps, weight

    def compile(self, critic_optimizer: Any, generator_optimizer: Any) -> None:
        super().compile()
        self.critic_optimizer = critic_optimizer
        self.generator_optimizer = generator_optimizer

    def gradient_penalty(self, real: Any, fake: Any) -> Any:
        """Mean squared distance of the critic's slope from 1 between real and generated images."""
        alpha = cdl.random.uniform((len(real), 1, 1, 1))
        with cdl.GradientTape() as tape:
            images = tape.watch(real + alpha * (fake - real))
            worth = self.critic(images, training=True)
        gradients = tape.gradient(worth, images)
        norm = ops.sqrt(ops.sum(ops.square(gradients), axis=(1, 2, 3)))
        return ops.mean(ops.square(norm - 1.0))

    def train_step(self, real: Any) -> dict[str, Any]:
        for _ in range(self.critic_steps):
            fake = self.generator(cdl.random.normal((len(real), NOISE)), training=True)
            with cdl.GradientTape() as tape:
                distance = ops.mean(self.critic(real, training=True))
                distance -= ops.mean(self.critic(fake, training=True))
                loss = self.weight * self.gradient_penalty(real, fake) - distance
            gradients = tape.gradient(loss, self.critic.trainable_variables)
            self.critic_optimizer.apply_gradients(
                zip(gradients, self.critic.trainable_variables, strict=True)
            )
        noise = cdl.random.normal((len(real), NOISE))
        with cdl.GradientTape() as tape:
            loss = -ops.mean(self.critic(self.generator(noise, training=True), training=True))
        gradients = tape.gradient(loss, self.generator.trainable_variables)
        self.generator_optimizer.apply_gradients(
            zip(gradients, self.generator.trainable_variables, strict=True)
        )
        return {"distance": distance}


def score(images: np.ndarray, real: np.ndarray, classes: np.ndarray) -> float:
    """The exponential of the mutual information of image and class, as a classifier sees it."""
    judge = cdl.sklearn.CDLClassifier((64,), max_iter=200, tol=0.0, random_state=0)
    judge.fit(real.reshape(-1, 64), classes)
    p = np.clip(judge.predict_proba(images.reshape(-1, 64)), 1e-7, 1.0)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


def draw(images: np.ndarray, real: np.ndarray, distance: list[float], file: str) -> None:
    """Draw digits from the data, digits of the generator, and the distance of both by epochs."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    for ax, some, title in zip(axes, (real, images), ("data", "generated"), strict=False):
        tiles = np.pad(some[:64, :, :, 0], ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        rows = tiles.reshape(8, 8, 10, 10).transpose(0, 2, 1, 3).reshape(80, 80)
        ax.imshow(rows, cmap="gray_r")
        ax.grid(visible=False)
        ax.set(xticks=[], yticks=[], title=title)
    axes[2].plot(distance)
    axes[2].set(xlabel="epoch", title="distance by the critic")
    figure.savefig(file)


def main(epochs: int = 50, picture: str | None = None) -> float:
    """Train, and return the score of 1,000 generated digits."""
    cdl.utils.set_random_seed(0)
    digits = load_digits()
    real = (digits.images[..., None] / 8 - 1).astype(np.float32)
    gan = WGAN(build_critic(), build_generator())
    gan.compile(*(cdl.optimizers.Adam(5e-4, beta_1=0.5, beta_2=0.9) for _ in range(2)))
    history = gan.fit(real, batch_size=64, epochs=epochs, verbose=0)
    images = gan.generator.predict(cdl.random.normal((1000, NOISE), seed=1), verbose=0)
    if picture is not None:
        draw(images, real, history.history["distance"], picture)
    print(f"score of the data: {score(real, real, digits.target):.2f}")
    return score(images, real, digits.target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"score of generated digits: {main(**vars(parser.parse_args())):.2f}")
