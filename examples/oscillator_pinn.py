"""Solve a differential equation with a neural network and L-BFGS: the damped harmonic oscillator.

The equation is u'' + 2 d u' + w^2 u = 0 with u(0) = 1 and u'(0) = 0. The net learns from the
equation alone, at 100 points of time; the start is built into it. `compile` takes L-BFGS, whose
iterations see all points at once; beside it stands Adam, for as many passes.

    pip install cdl-nn
    python examples/oscillator_pinn.py [--iterations 1000]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

DAMPING, FREQUENCY = 1.0, 12.0


def exact(t: np.ndarray) -> np.ndarray:
    """The solution in closed form."""
    w = np.sqrt(FREQUENCY**2 - DAMPING**2)
    return np.exp(-DAMPING * t) * (np.cos(w * t) + DAMPING / w * np.sin(w * t))


class Oscillator(cdl.Model):
    """u of t, which starts at 1 with slope 0 whatever the net gives."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [layers.Dense(32, activation="tanh") for _ in range(2)]
        first = layers.Rescaling(FREQUENCY, -FREQUENCY / 2)
        self.net = cdl.Sequential([layers.Input((1,)), first, *hidden, layers.Dense(1)])

    def call(self, t: Any) -> Any:
        return 1.0 + (1.0 - ops.exp(-ops.square(FREQUENCY * t))) * self.net(t)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        """Mean square of what the equation is off by, in units of w^2."""
        slope = cdl.grad(self)
        off = cdl.grad(slope)(x) + 2 * DAMPING * slope(x) + FREQUENCY**2 * y_pred
        return ops.mean(ops.square(off / FREQUENCY**2))


def draw(found: dict[str, np.ndarray], losses: dict[str, list[float]], file: str) -> None:
    """Draw u by both optimizers beside the exact solution, and their losses."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    t = np.linspace(0, 1, 500)
    left.plot(t, exact(t), color="black", linewidth=4, alpha=0.2, label="exact")
    for name, u in found.items():
        left.plot(t, u, label=name)
        right.plot(losses[name], label=name)
    left.set(xlabel="t", ylabel="u")
    left.legend()
    right.set(yscale="log", xlabel="iteration or epoch", ylabel="loss")
    figure.savefig(file)


def main(iterations: int = 1000, picture: str | None = None) -> float:
    """Train, print the largest error of both, and return by how much L-BFGS has less."""
    t = np.linspace(0, 1, 100, dtype="float32")[:, None]
    new, found, losses, errors = np.linspace(0, 1, 500), {}, {}, []
    for optimizer in (cdl.optimizers.Adam(3e-3), cdl.optimizers.LBFGS()):
        cdl.utils.set_random_seed(0)
        model, name = Oscillator(), type(optimizer).__name__
        model.compile(optimizer)
        history = model.fit(t, t, batch_size=len(t), epochs=iterations, verbose=0)
        losses[name] = history.history["loss"]
        found[name] = model.predict(new[:, None], verbose=0)[:, 0]
        errors.append(np.abs(found[name] - exact(new)).max())
        print(f"{name}: loss {losses[name][-1]:.1e}, largest error {errors[-1]:.4f}")
    if picture is not None:
        draw(found, losses, picture)
    return float(errors[0] / errors[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"times the error of L-BFGS by Adam: {main(**vars(parser.parse_args())):.1f}")
