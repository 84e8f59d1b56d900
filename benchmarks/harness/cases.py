"""The nets that are measured, their data and first weights, and their arithmetic."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

RATE = 0.001  # of Adam and of SGD, everywhere
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Case:
    """A fully connected net and how it is trained; an epoch has `steps` whole batches."""

    name: str
    sizes: tuple[int, ...]
    batch: int
    steps: int
    activation: str = "relu"  # relu, sigmoid, tanh
    loss: str = "softmax"  # softmax: class probabilities and cross-entropy; mse: linear outputs
    optimizer: str = "adam"  # adam, sgd

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def layers(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def parameters(self) -> int:
        return sum(k * n + n for k, n in self.layers)

    @property
    def step_flops(self) -> float:
        """The FLOP of a step: x W and x^T dy of every layer, dy W^T of all but the first."""
        products = [2.0 * self.batch * k * n for k, n in self.layers]
        return 3 * sum(products) - products[0]

    @property
    def row_flops(self) -> float:
        """Floating-point operations of a prediction, a row."""
        return sum(2.0 * k * n for k, n in self.layers)

    def describe(self) -> str:
        """`100-64-10, batch 32` and what differs from relu, Adam and the loss of the width."""
        runs: list[list[int]] = []
        for size in self.sizes:
            if runs and runs[-1][0] == size:
                runs[-1][1] += 1
            else:
                runs.append([size, 1])
        text = "-".join(
            f"{count}x{size}" if count > 3 else "-".join([str(size)] * count)
            for size, count in runs
        )
        unusual = [self.activation] * (self.activation != "relu")
        unusual += [self.optimizer] * (self.optimizer != "adam")
        return ", ".join([text, f"batch {self.batch}", self.loss, *unusual])


CASES = [
    Case("tiny", (4, 16, 3), 16, 1024),
    Case("seed", (100, 64, 10), 32, 512),
    Case("digits", (64, 128, 64, 10), 32, 256),
    Case("tabular", (30, 128, 128, 1), 256, 128, loss="mse"),
    Case("mnist", (784, 512, 512, 10), 128, 32),
    Case("deep", (*[256] * 20, 10), 64, 16),
    Case("wide", (1024, 4096, 4096, 1024), 512, 2, loss="mse"),
]

# Cases beyond the table: odd widths, tiny batches, much depth, other gradients, plain SGD.
OTHERS = [
    Case("odd-37", (37, 37, 37, 7), 37, 512),
    Case("odd-1001", (1001, 1001, 1001, 10), 100, 8),
    Case("batch-1", (100, 64, 10), 1, 1024),
    Case("batch-7", (100, 64, 10), 7, 1024),
    Case("mnist-1", (784, 512, 512, 10), 1, 64),
    Case("layers-64", (*[64] * 64, 10), 32, 32),
    Case("sigmoid", (100, 64, 64, 10), 32, 256, activation="sigmoid"),
    Case("tanh", (784, 512, 512, 10), 128, 16, activation="tanh"),
    Case("sgd-seed", (100, 64, 10), 32, 512, optimizer="sgd"),
    Case("sgd-mnist", (784, 512, 512, 10), 128, 32, optimizer="sgd"),
]


def find(names: list[str]) -> list[Case]:
    """Cases by name, by `all` or `others`, or spelled out: `100-64-10/32/tanh/mse/sgd`."""
    known = {case.name: case for case in [*CASES, *OTHERS]}
    found: list[Case] = []
    for name in names:
        if name == "all":
            found += CASES
        elif name == "others":
            found += OTHERS
        elif name in known:
            found.append(known[name])
        elif "/" in name:
            found.append(parse(name))
        else:
            raise SystemExit(f"no case {name!r}; there are: all, others, {', '.join(known)}")
    return found


def parse(text: str) -> Case:
    """A case spelled out: widths, batch and, in any order, activation, loss and optimizer."""
    widths, batch, *words = text.split("/")
    sizes = tuple(int(width) for width in widths.split("-"))
    kinds = {"relu": "activation", "sigmoid": "activation", "tanh": "activation"}
    kinds |= {"softmax": "loss", "mse": "loss", "adam": "optimizer", "sgd": "optimizer"}
    chosen = {kinds[word]: word for word in words}
    case = Case(text, sizes, int(batch), 1, **chosen)
    return dataclasses.replace(case, steps=steps_for(case))


def steps_for(case: Case) -> int:
    """Steps for an epoch of some 2 GFLOP, from 2 to 1,024."""
    return max(2, min(1024, round(2e9 / case.step_flops)))


@dataclass(frozen=True)
class Data:
    """The data that every peer trains on; which form of the targets it takes is its own choice."""

    x: np.ndarray  # float32
    y: np.ndarray  # float32: one-hot classes, or the values of mse
    classes: np.ndarray | None  # int64, for softmax
    weights: list[np.ndarray]  # float32: kernel, bias, kernel, bias, ...


def data(case: Case, seed: int = 0) -> Data:
    """Normal x, and targets of a random linear teacher with some noise: there is much to learn."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((case.rows, case.sizes[0]), np.float32)
    teacher = rng.standard_normal((case.sizes[0], case.sizes[-1]), np.float32)
    scores = x @ teacher / np.float32(math.sqrt(case.sizes[0]))
    scores += 0.5 * rng.standard_normal(scores.shape, np.float32)
    classes = scores.argmax(axis=1) if case.loss == "softmax" else None
    y = scores if classes is None else np.eye(case.sizes[-1], dtype=np.float32)[classes]
    return Data(x, y, classes, weights(case, rng))


def weights(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    """He et al.'s uniform kernels for relu, Glorot's for the others; zero biases."""
    found = []
    for k, n in case.layers:
        limit = math.sqrt(6.0 / k if case.activation == "relu" else 6.0 / (k + n))
        found.append(rng.uniform(-limit, limit, (k, n)).astype(np.float32))
        found.append(np.zeros(n, np.float32))
    return found


def loss(case: Case, weights: list[np.ndarray], data: Data, rows: int = 4096) -> float:
    """The loss of the first rows in float64, which all peers must agree on."""
    activation = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
    }[case.activation]
    h = data.x[:rows].astype(np.float64)
    for i in range(0, len(weights), 2):
        h = h @ np.asarray(weights[i], np.float64) + np.asarray(weights[i + 1], np.float64)
        if i + 2 < len(weights):
            h = activation(h)
    if data.classes is None:
        return float(np.mean((h - data.y[:rows]) ** 2))
    h -= h.max(axis=1, keepdims=True)
    h -= np.log(np.exp(h).sum(axis=1, keepdims=True))
    return float(-np.mean(np.take_along_axis(h, data.classes[:rows, None], 1)))
