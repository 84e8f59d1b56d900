"""Last-layer Laplace approximation: a classifier that knows what it does not know.

A trained net is sure of classes far away from all data. The second derivatives of its loss by the
weights of the last layer, `cdl.hessian`, say how well the data determine these weights; with that
spread the probabilities fall towards one half where there are no data (Kristiadi et al., 2020).

    pip install cdl-nn
    python examples/laplace.py
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

PRIOR = 0.1  # precision of the weights of the last layer


def moons(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of two half moons with noise, and which moon each is of."""
    rng = np.random.default_rng(seed)
    kind, angle = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
    x = np.where(kind, 1 - np.cos(angle), np.cos(angle))
    y = np.where(kind, 0.5 - np.sin(angle), np.sin(angle))
    return (np.stack([x, y], 1) + rng.normal(0, 0.15, (n, 2))).astype(np.float32), kind


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function of each number."""
    return 0.5 * (1 + np.tanh(0.5 * x))


class Laplace:
    """Predictions of a net whose last weights are spread as their loss is curved.

    Args:
        net: trained, with one logit as its output.
        x: the data of its training, and `y`, the classes 0 and 1.
    """

    def __init__(self, net: cdl.Sequential, x: np.ndarray, y: np.ndarray) -> None:
        self.features = cdl.Model(net.inputs, net.layers[-2].output)
        last = np.concatenate([each.ravel() for each in net.layers[-1].get_weights()])
        phi, classes = self.with_one(x), y.astype(np.float32)

        def loss(weights: Any) -> Any:
            logits = ops.matmul(phi, weights)
            misfit = ops.sum(ops.softplus(logits) - classes * logits)
            return misfit + PRIOR / 2 * ops.sum(ops.square(weights))

        self.mean = last
        self.covariance = np.linalg.inv(cdl.hessian(loss)(last).astype(np.float64))

    def with_one(self, x: np.ndarray) -> np.ndarray:
        """Inputs of the last layer, with a one behind for its bias."""
        phi = self.features.predict(x, verbose=0)
        return np.concatenate([phi, np.ones((len(phi), 1), np.float32)], axis=1)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The probability of class 1, over all weights (MacKay's approximation)."""
        phi = self.with_one(x)
        variance = np.einsum("ni,ij,nj->n", phi, self.covariance, phi)
        return sigmoid(phi @ self.mean / np.sqrt(1 + np.pi / 8 * variance))


def draw(maps: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, file: str) -> None:
    """Draw how sure the net is of a class in the plane, without and with the approximation."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, (name, p) in zip(axes, maps.items(), strict=True):
        sure = np.maximum(p, 1 - p)
        image = ax.imshow(sure, origin="lower", extent=(-6, 7, -6, 6), vmin=0.5, vmax=1.0)
        ax.scatter(*x.T, c=np.where(y, "C1", "white"), s=3)
        ax.set_title(name)
        ax.grid(visible=False)
    figure.colorbar(image, ax=axes, label="probability of the likelier class")
    figure.savefig(file)


def main(epochs: int = 150, picture: str | None = None) -> float:
    """Train, print how sure both are, and return the share of far points of which Laplace is not.

    Far points are on a circle of radius 20.
    """
    cdl.utils.set_random_seed(0)
    x, y = moons(300, 0)
    stack = [layers.Input((2,)), layers.Dense(32, "relu"), layers.Dense(16, "relu")]
    net = cdl.Sequential([*stack, layers.Dense(1)])
    net.compile(cdl.optimizers.Adam(0.01), cdl.losses.BinaryCrossentropy(from_logits=True))
    net.fit(x, y, epochs=epochs, verbose=0)
    laplace = Laplace(net, x, y)
    both = {
        "net alone": lambda at: sigmoid(net.predict(at, verbose=0)[:, 0]),
        "with Laplace": laplace.predict,
    }
    x_new, y_new = moons(2000, 1)
    angle = np.linspace(0, 2 * np.pi, 360)
    far = 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for name, probability in both.items():
        p, p_far = np.clip(probability(x_new), 1e-7, 1 - 1e-7), probability(far)
        loss = -np.mean(np.where(y_new, np.log(p), np.log(1 - p)))
        sure = np.maximum(p_far, 1 - p_far)
        right = ((p > 0.5) == y_new).mean()
        print(f"{name}: accuracy {right:.3f}, loss {loss:.3f} on new points")
        certain = (sure > 0.99).mean()
        print(f"    far away: {sure.mean():.3f} sure on the mean, {certain:.0%} over 99 %")
    if picture is not None:
        grid = np.stack(np.meshgrid(np.linspace(-6, 7, 131), np.linspace(-6, 6, 121)), axis=-1)
        maps = {name: p(grid.reshape(-1, 2)).reshape(121, 131) for name, p in both.items()}
        draw(maps, x, y, picture)
    return float((sure < 0.99).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"far points of which it is less than 99 % sure: {main(**vars(parser.parse_args())):.0%}")
