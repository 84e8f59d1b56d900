"""Inverse problem of the Lorenz system by a physics-informed net: its parameters from its path.

x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z, with sigma = 10, rho = 15 and
beta = 8/3, is seen at 25 of 400 times up to t = 3, as in DeepXDE's example. A net of t learns to
pass through what was seen and to obey the equations, whose parameters are weights as well.

    pip install cdl-nn
    python examples/lorenz_inverse.py [--steps 20000]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

TRUE = np.array([10.0, 15.0, 8 / 3])
END, TIMES, SEEN = 3.0, 400, 25
SCALE = np.array([[10.0, 10.0, 25.0]], np.float32)  # of x, y, z


def slopes(state: np.ndarray) -> np.ndarray:
    """Derivatives of x, y and z by t."""
    x, y, z = state
    sigma, rho, beta = TRUE
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def path(times: int, parts: int = 50) -> np.ndarray:
    """The path from (-8, 7, 27), by the Runge-Kutta method of fourth order."""
    state, step = np.array([-8.0, 7.0, 27.0]), END / (times - 1) / parts
    found = [state]
    for _ in range(times - 1):
        for _ in range(parts):
            a = slopes(state)
            b = slopes(state + step / 2 * a)
            c = slopes(state + step / 2 * b)
            state = state + step / 6 * (a + 2 * b + 2 * c + slopes(state + step * c))
        found.append(state)
    return np.array(found)


class Lorenz(cdl.Model):
    """x, y and z by t, with the parameters of their equations."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [layers.Dense(40, "tanh") for _ in range(3)]
        self.net = cdl.Sequential([layers.Input((1,)), *hidden, layers.Dense(3)])
        self.parameters = self.add_weight((3,), "ones", name="parameters")

    def call(self, t: Any) -> Any:
        return SCALE * self.net(t * (2 / END) - 1)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        """Squared errors of the equations at all times, and of the path where it was seen."""
        _, by_t = cdl.jvp(self, (x,), (ops.ones_like(x),))
        px, py, pz = ops.split(y_pred, 3, axis=1)
        sigma, rho, beta = ops.split(10 * self.parameters, 3)
        wanted = [sigma * (py - px), px * (rho - pz) - py, px * py - beta * pz]
        off = (by_t - ops.concatenate(wanted, axis=1)) / (10 * SCALE)
        path, is_seen = y[:, :3], y[:, 3:]
        errors = is_seen * ops.square((y_pred - path) / SCALE)
        return ops.mean(ops.square(off)) + TIMES / SEEN * ops.mean(errors)


class Parameters(cdl.callbacks.Callback):
    """The parameters after each hundredth epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch % 100 == 0:
            self.found.append(10 * self.model.parameters.numpy())


def draw(predicted: np.ndarray, exact: np.ndarray, seen: Any, found: Any, file: str) -> None:
    """Draw x, y and z as seen, as they are and by the net, and the parameters by steps."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    t = np.linspace(0, END, TIMES)
    for k, name in enumerate("xyz"):
        axes[0].plot(t, exact[:, k], "k:", linewidth=1)
        axes[0].plot(t, predicted[:, k], color=f"C{k}", label=name)
        axes[0].plot(t[seen], exact[seen, k], "o", color=f"C{k}", markersize=3)
        axes[1].axhline(TRUE[k], color="k", linestyle=":", linewidth=1)
        label = ("sigma", "rho", "beta")[k]
        axes[1].plot(0.1 * np.arange(len(found)), np.array(found)[:, k], label=label)
    axes[0].legend(title="dots: seen")
    axes[0].set(xlabel="t")
    axes[1].legend(loc=(0.7, 0.3))
    axes[1].set(xlabel="thousands of steps")
    figure.savefig(file)


def main(steps: int = 20_000, picture: str | None = None) -> float:
    """Train, print the parameters, and return 1 less the largest relative error of one."""
    cdl.utils.set_random_seed(0)
    exact = path(TIMES)
    seen = np.sort(np.random.default_rng(0).choice(TIMES, SEEN, replace=False))
    is_seen = np.isin(np.arange(TIMES), seen)[:, None]
    t = np.linspace(0, END, TIMES)[:, None]
    y = np.concatenate([np.where(is_seen, exact, 0.0), is_seen], axis=1)
    model, start = Lorenz(), time.process_time()
    model.compile(cdl.optimizers.Adam(cdl.optimizers.schedules.CosineDecay(3e-3, steps)))
    noted = Parameters()
    model.fit(t, y, batch_size=TIMES, epochs=steps, verbose=0, callbacks=[noted])
    print(f"{steps} steps, {time.process_time() - start:.1f} s of CPU")
    if picture is not None:
        draw(model.predict(t, verbose=0), exact, seen, noted.found, picture)
    found = 10 * model.parameters.numpy()
    for name, value, true in zip(("sigma", "rho", "beta"), found, TRUE, strict=True):
        print(f"{name}: {value:.3f}, true {true:.3f}")
    error = float(np.abs(found / TRUE - 1).max())
    print(f"largest relative error: {error:.4f}")
    return 1.0 - error


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
