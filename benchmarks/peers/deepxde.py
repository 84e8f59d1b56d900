"""Burgers' equation by DeepXDE on PyTorch: its own example, with its error as it trains.

python -m benchmarks.peers.deepxde
"""

from __future__ import annotations

import os

os.environ["DDE_BACKEND"] = "pytorch"  # before it is imported

import time

import deepxde as dde
import numpy as np
import torch

from examples.burgers_pinn import NU, reference

ADAM, EVERY = 15_000, 500  # steps as in DeepXDE's example; errors are asked for so often


def residual(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Residual of the equation by u and its derivatives."""
    by_x = dde.grad.jacobian(y, x, i=0, j=0)
    by_t = dde.grad.jacobian(y, x, i=0, j=1)
    return by_t + y * by_x - NU * dde.grad.hessian(y, x, i=0, j=0)


def model() -> dde.Model:
    """The problem and the net of DeepXDE's page "Burgers equation"."""
    where = dde.geometry.Interval(-1, 1)
    when = dde.geometry.TimeDomain(0, 0.99)
    both = dde.geometry.GeometryXTime(where, when)
    ends = dde.icbc.DirichletBC(both, lambda x: 0, lambda _, on_boundary: on_boundary)
    start = dde.icbc.IC(
        both, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on_initial: on_initial
    )
    counts = {"num_domain": 2540, "num_boundary": 80, "num_initial": 160}
    data = dde.data.TimePDE(both, residual, [ends, start], **counts)
    return dde.Model(data, dde.nn.FNN([2] + [20] * 3 + [1], "tanh", "Glorot normal"))


class Errors(dde.callbacks.Callback):
    """Relative error of u on the grid of examples/burgers_pinn.py, by CPU seconds."""

    def __init__(self) -> None:
        super().__init__()
        x, t = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 1, 101), indexing="ij")
        self.points = np.stack([x, t], axis=-1).reshape(-1, 2).astype(np.float32)
        self.exact = reference(x, t).reshape(-1, 1)
        self.start, self.steps = time.process_time(), 0
        self.found: list[tuple[float, float]] = []

    def on_epoch_end(self) -> None:
        self.steps += 1
        if self.steps % EVERY == 0:
            self.note()

    def note(self) -> None:
        """Ask for the error now; the time that this takes does not count."""
        now = time.process_time()
        off = self.model.predict(self.points) - self.exact
        self.found.append(
            (now - self.start, float(np.linalg.norm(off) / np.linalg.norm(self.exact)))
        )
        print(
            f"{self.found[-1][0]:.1f} s of CPU: relative error {self.found[-1][1]:.4f}", flush=True
        )
        self.start += time.process_time() - now


def errors(threads: int = 1, seed: int = 0) -> list[tuple[float, float]]:
    """CPU seconds and the error then, by Adam and then L-BFGS."""
    torch.set_num_threads(threads)
    dde.config.set_random_seed(seed)
    made = model()
    made.compile("adam", lr=1e-3)
    noted = Errors()
    made.train(iterations=ADAM, callbacks=[noted], verbose=0, display_every=ADAM)
    made.compile("L-BFGS")
    made.train(callbacks=[noted], verbose=0, display_every=ADAM)
    noted.note()
    return noted.found


if __name__ == "__main__":
    errors()
