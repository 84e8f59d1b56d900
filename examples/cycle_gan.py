"""CycleGAN on points: two nets that map one domain to another and back, learned without pairs.

Points of three clusters lie in one domain; in the other they are turned, stretched and moved, and
no point is known to belong to another. Two generators learn from two critics, which tell mapped
points from real ones, and from the cycle: there and back must end at the start (Zhu et al., 2017).
One loss is of both generators, one of both critics; each has its optimizer.

    pip install cdl-nn
    python examples/cycle_gan.py [--epochs 100]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

CENTRES = np.array([[0.0, 0.0], [2.0, 0.5], [0.5, 2.5]])
SHARES = [0.5, 0.3, 0.2]
TURN = np.array([[0.9, -0.7], [0.6, 1.0]])  # of the other domain
MOVE = np.array([0.5, -0.5])


def points(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points of the first domain, and the cluster of each."""
    cluster = rng.choice(3, n, p=SHARES)
    return CENTRES[cluster] + 0.15 * rng.normal(size=(n, 2)), cluster


def other(found: np.ndarray) -> np.ndarray:
    """Points of the first domain in the other one."""
    return found @ TURN.T + MOVE


def generator() -> cdl.Model:
    """A map of points that begins near the identity."""
    point = layers.Input((2,))
    hidden = layers.Dense(64, "tanh")(layers.Dense(64, "tanh")(point))
    return cdl.Model(point, point + layers.Dense(2)(hidden))


def critic() -> cdl.Sequential:
    """A judge of how real a point looks."""
    stack = [layers.Dense(64, "relu") for _ in range(2)]
    return cdl.Sequential([layers.Input((2,)), *stack, layers.Dense(1)])


class CycleGAN(cdl.Model):
    """Generators of both directions and critics of both domains."""

    def __init__(self) -> None:
        super().__init__()
        self.to_other, self.to_first = generator(), generator()
        self.of_first, self.of_other = critic(), critic()

    def compile(self, generators: Any, critics: Any) -> None:
        super().compile()
        self.generators_optimizer, self.critics_optimizer = generators, critics

    def generators_loss(self, first: Any, second: Any) -> Any:
        """Errors of mapped points that critics take for real ones, and of cycles."""
        mapped, back = self.to_other(first), self.to_first(second)
        seem = ops.mean(ops.square(self.of_other(mapped) - 1))
        seem += ops.mean(ops.square(self.of_first(back) - 1))
        cycle = ops.mean(ops.abs(self.to_first(mapped) - first))
        cycle += ops.mean(ops.abs(self.to_other(back) - second))
        return seem + 10.0 * cycle

    def critics_loss(self, first: Any, second: Any) -> Any:
        """Squared errors of critics that say 1 to real points and 0 to mapped ones."""
        loss = ops.mean(ops.square(self.of_other(second) - 1))
        loss += ops.mean(ops.square(self.of_other(self.to_other(first))))
        loss += ops.mean(ops.square(self.of_first(first) - 1))
        return loss + ops.mean(ops.square(self.of_first(self.to_first(second))))

    def train_step(self, data: Any) -> dict[str, Any]:
        logs = {}
        for name, loss, nets, optimizer in (
            ("critics", self.critics_loss, (self.of_first, self.of_other), self.critics_optimizer),
            (
                "generators",
                self.generators_loss,
                (self.to_first, self.to_other),
                self.generators_optimizer,
            ),
        ):
            weights = [weight for each in nets for weight in each.trainable_variables]
            logs[name], gradients = cdl.value_and_grad(loss, variables=weights)(*data)
            optimizer.apply(gradients, weights)
        return logs


def draw(
    first: np.ndarray, second: np.ndarray, mapped: np.ndarray, cluster: Any, file: str
) -> None:
    """Draw points of both domains, and those of the first mapped to the other, by clusters."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    axes[0].scatter(*first.T, c=cluster, s=4, cmap="viridis")
    axes[0].set(title="first domain")
    axes[1].scatter(*second.T, color="0.8", s=4, label="points of it")
    axes[1].scatter(*mapped.T, c=cluster, s=4, cmap="viridis", label="mapped ones")
    axes[1].legend()
    axes[1].set(title="other domain")
    figure.savefig(file)


def main(epochs: int = 100, picture: str | None = None) -> float:
    """Train, and return the share of points that are mapped to their cluster."""
    cdl.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    first, second = points(4096, rng)[0], other(points(4096, rng)[0])  # without pairs
    model, start = CycleGAN(), time.process_time()
    rate = cdl.optimizers.schedules.PolynomialDecay(2e-3, epochs * 64, 1e-5)
    model.compile(cdl.optimizers.Adam(rate, beta_1=0.5), cdl.optimizers.Adam(rate, beta_1=0.5))
    history = model.fit(first, second, batch_size=64, epochs=epochs, verbose=0).history
    print(f"{epochs} epochs, {time.process_time() - start:.1f} s of CPU")
    print({name: round(values[-1], 3) for name, values in history.items()})
    first, cluster = points(1000, rng)
    mapped = model.to_other.predict(first, verbose=0)
    distances = np.linalg.norm(mapped[:, None] - other(CENTRES), axis=-1)
    print(f"mean distance from where they belong: {np.abs(mapped - other(first)).mean():.3f}")
    if picture is not None:
        draw(first, second[:1000], mapped, cluster, picture)
    share = float((distances.argmin(axis=1) == cluster).mean())
    print(f"points mapped to their cluster: {share:.3f}")
    return share


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
