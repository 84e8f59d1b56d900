"""The net written out by hand: what NumPy and its BLAS reach without a library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data


def activate(kind: str, z: np.ndarray) -> np.ndarray:
    if kind == "relu":
        return np.maximum(z, 0, out=z)
    if kind == "tanh":
        return np.tanh(z, out=z)
    np.exp(np.negative(z, out=z), out=z)
    z += 1
    return np.reciprocal(z, out=z)


def derivative(kind: str, y: np.ndarray) -> np.ndarray:
    if kind == "relu":
        return y > 0
    return 1 - y * y if kind == "tanh" else y * (1 - y)


def softmax(z: np.ndarray) -> np.ndarray:
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


class Trainer:
    """Forward, backward and Adam, in place where that is plain."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        self.case, self.data = case, data
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        self.w = [w.copy() for w in self.data.weights]
        self.m = [np.zeros_like(w) for w in self.w]
        self.v = [np.zeros_like(w) for w in self.w]
        self.t = 0

    def train(self, epochs: int, shuffle: bool = True) -> None:
        rows, batch = len(self.data.x), self.case.batch
        for _ in range(epochs):
            order = self.rng.permutation(rows) if shuffle else np.arange(rows)
            for start in range(0, rows, batch):
                which = order[start : start + batch]
                self.learn(self.gradient(self.data.x[which], self.data.y[which]))

    def gradient(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        kind, values = self.case.activation, [x]
        last = len(self.w) - 2
        for i in range(0, last, 2):
            z = values[-1] @ self.w[i]
            z += self.w[i + 1]
            values.append(activate(kind, z))
        z = values[-1] @ self.w[last]
        z += self.w[last + 1]
        if self.case.loss == "softmax":
            dz = softmax(z)
            dz -= y
            dz /= np.float32(len(x))
        else:
            dz = z
            dz -= y
            dz *= np.float32(2 / z.size)
        found: list[np.ndarray] = [x] * len(self.w)
        for i in range(last, -1, -2):
            found[i] = values[i // 2].T @ dz
            found[i + 1] = dz.sum(axis=0)
            if i:
                dz = dz @ self.w[i].T
                dz *= derivative(kind, values[i // 2])
        return found

    def learn(self, gradient: list[np.ndarray]) -> None:
        self.t += 1
        if self.case.optimizer == "sgd":
            for w, g in zip(self.w, gradient, strict=True):
                g *= np.float32(cases.RATE)
                w -= g
            return
        rate = cases.RATE * (1 - cases.BETA_2**self.t) ** 0.5 / (1 - cases.BETA_1**self.t)
        rate = np.float32(rate)
        for w, g, m, v in zip(self.w, gradient, self.m, self.v, strict=True):
            m += (g - m) * np.float32(1 - cases.BETA_1)
            v += (g * g - v) * np.float32(1 - cases.BETA_2)
            root = np.sqrt(v)
            root += np.float32(cases.EPSILON)
            np.divide(m, root, out=root)
            root *= rate
            w -= root

    def weights(self) -> list[np.ndarray]:
        return self.w


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    def predict(x: np.ndarray) -> np.ndarray:
        for i in range(0, len(weights) - 2, 2):
            z = x @ weights[i]
            z += weights[i + 1]
            x = activate(case.activation, z)
        z = x @ weights[-2]
        z += weights[-1]
        return softmax(z) if case.loss == "softmax" else z

    return {"predict": predict}


def products(kind: str, a: np.ndarray, b: np.ndarray, threads: int) -> Callable[[], object]:
    """The matrices may be transposed views, as a layer's backward pass has them."""
    out = np.empty((a.shape[0], b.shape[1]), np.float32)
    return lambda: np.matmul(a, b, out=out)
