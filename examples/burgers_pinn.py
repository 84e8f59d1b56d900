"""Physics-informed neural network (PINN) for Burgers' equation, trained by Adam and L-BFGS.

The equation is u_t + u u_x = nu u_xx for x from -1 to 1, with u = -sin(pi x) at t = 0, u = 0 at
both ends and nu = 0.01 / pi: a wave that becomes a shock. The net learns from the equation alone,
at points of x and t (Raissi et al., 2019); the start and the ends are built into it. The error is
the relative one in the L2 norm, against the solution by the Cole-Hopf transformation in NumPy.

    pip install cdl-nn
    python examples/burgers_pinn.py [--epochs 2000] [--iterations 1500]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

NU = 0.01 / np.pi


def reference(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The solution by Gauss-Hermite quadrature of the integrals of Cole and Hopf."""
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    width = np.sqrt(4 * NU * np.maximum(t, 1e-12))
    places = x[..., None] - width[..., None] * nodes
    factors = weights * np.exp(-(np.cos(np.pi * places) + 1) / (2 * np.pi * NU))
    return -(np.sin(np.pi * places) * factors).sum(axis=-1) / factors.sum(axis=-1)


class Burgers(cdl.Model):
    """u of (x, t): a net of tanh, bent so that it starts at -sin(pi x) and ends at 0."""

    def __init__(self, units: int = 24, depth: int = 4) -> None:
        super().__init__()
        hidden = [layers.Dense(units, activation="tanh") for _ in range(depth)]
        self.net = cdl.Sequential([layers.Input((2,)), *hidden, layers.Dense(1)])

    def call(self, points: Any) -> Any:
        x, t = points[:, :1], points[:, 1:]
        return -ops.sin(np.pi * x) + t * (1 - ops.square(x)) * self.net(points)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        """Mean square of what the equation is off by."""
        slopes = cdl.grad(self)
        by_x, by_t = ops.split(slopes(x), 2, axis=1)
        by_xx = cdl.grad(lambda points: slopes(points)[:, :1])(x)[:, :1]
        return ops.mean(ops.square(by_t + y_pred * by_x - NU * by_xx))


def points(n: int) -> np.ndarray:
    """Points of x and t, evenly spread at random, more of them where the shock will be."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, 1, n // 2), rng.normal(0, 0.1, n - n // 2).clip(-1, 1)])
    return np.stack([x, rng.uniform(0, 1, n)], axis=1).astype(np.float32)


def draw(u: np.ndarray, exact: np.ndarray, loss: list[float], file: str) -> None:
    """Draw u over x and t, u at three times beside the reference, and the loss by epochs."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3))
    image = axes[0].imshow(u, origin="lower", extent=(0, 1, -1, 1), aspect="auto", cmap="RdBu_r")
    figure.colorbar(image)
    axes[0].set(xlabel="t", ylabel="x", title="u")
    axes[0].grid(visible=False)
    for k, color in ((25, "C0"), (50, "C1"), (100, "C2")):
        axes[1].plot(np.linspace(-1, 1, len(u)), u[:, k], color=color, label=f"t = {k / 100:g}")
        axes[1].plot(np.linspace(-1, 1, len(u)), exact[:, k], "k:", linewidth=1)
    axes[1].legend(title="dots: reference")
    axes[1].set(xlabel="x")
    axes[2].plot(loss)
    axes[2].set(yscale="log", xlabel="epoch or iteration", title="loss")
    figure.savefig(file)


def main(epochs: int = 2000, iterations: int = 1500, picture: str | None = None) -> float:
    """Train, print the relative error of u on a grid of 256 x 101 points, and return 1 less it."""
    cdl.utils.set_random_seed(0)
    model, where = Burgers(), points(2000)
    nothing = np.zeros(len(where), np.float32)
    start, loss = time.process_time(), []
    for optimizer, steps in (
        (cdl.optimizers.Adam(2e-3), epochs),
        (cdl.optimizers.LBFGS(), iterations),
    ):
        model.compile(optimizer)
        history = model.fit(where, nothing, batch_size=len(where), epochs=steps, verbose=0)
        loss += history.history["loss"]
        print(f"{type(optimizer).__name__}: loss {loss[-1]:.1e} after {len(loss)} passes")
    x, t = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 1, 101), indexing="ij")
    u = model.predict(np.stack([x, t], axis=-1).reshape(-1, 2), verbose=0).reshape(x.shape)
    exact = reference(x, t)
    print(f"{time.process_time() - start:.1f} s of CPU")
    if picture is not None:
        draw(u, exact, loss, picture)
    error = float(np.linalg.norm(u - exact) / np.linalg.norm(exact))
    print(f"relative error: {error:.4f}")
    return 1.0 - error


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
