"""JAX: a jitted step a batch, and a scan over a whole epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def scores(case: Case, weights, x):
    for kernel, bias in weights[:-1]:
        x = ACTIVATIONS[case.activation](x @ kernel + bias)
    return x @ weights[-1][0] + weights[-1][1]


def loss(case: Case, weights, x, y):
    z = scores(case, weights, x)
    if case.loss == "mse":
        return jnp.mean((z - y) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))


def step(case: Case, state, x, y):
    """One update by Adam or SGD; the state is (weights, m, v, number of updates)."""
    weights, m, v, t = state
    gradient = jax.grad(partial(loss, case))(weights, x, y)
    if case.optimizer == "sgd":
        return jax.tree.map(lambda w, g: w - cases.RATE * g, weights, gradient), m, v, t + 1
    t = t + 1
    m = jax.tree.map(lambda m, g: m + (g - m) * (1 - cases.BETA_1), m, gradient)
    v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - cases.BETA_2), v, gradient)
    rate = cases.RATE * jnp.sqrt(1 - cases.BETA_2**t) / (1 - cases.BETA_1**t)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + cases.EPSILON), weights, m, v
    )
    return weights, m, v, t


def pairs(weights: list[np.ndarray]) -> list[tuple]:
    arrays = [jnp.array(w) for w in weights]  # copies: the state is donated
    return list(zip(arrays[::2], arrays[1::2], strict=True))


class Trainer:
    """Data and state live on the device; the gather is inside the compiled function."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        self.case, self.data = case, data
        x = jnp.asarray(data.x)
        y = jnp.asarray(data.y if data.classes is None else data.classes)

        def batch(state, rows, x, y):
            return step(case, state, x[rows], y[rows])

        def epoch(state, order, x, y):
            return jax.lax.scan(lambda s, rows: (batch(s, rows, x, y), None), state, order)[0]

        one_step, one_epoch = jax.jit(batch, donate_argnums=0), jax.jit(epoch, donate_argnums=0)
        self.step = lambda state, rows: one_step(state, rows, x, y)
        self.epoch = lambda state, order: one_epoch(state, order, x, y)
        self.scan = variant == "scan"
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        zeros = [np.zeros_like(w) for w in self.data.weights]
        self.state = pairs(self.data.weights), pairs(zeros), pairs(zeros), jnp.float32(0)

    def train(self, epochs: int, shuffle: bool = True) -> None:
        rows = len(self.data.x)
        for _ in range(epochs):
            order = self.rng.permutation(rows) if shuffle else np.arange(rows)
            order = order.astype(np.int32).reshape(self.case.steps, self.case.batch)
            if self.scan:
                self.state = self.epoch(self.state, order)
            else:
                for rows_of_batch in order:
                    self.state = self.step(self.state, rows_of_batch)
        jax.block_until_ready(self.state)

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(w) for pair in self.state[0] for w in pair]


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    device = pairs(weights)

    def probabilities(weights, x):
        z = scores(case, weights, x)
        return jax.nn.softmax(z) if case.loss == "softmax" else z

    run = jax.jit(probabilities)
    return {"predict": lambda x: np.asarray(run(device, x))}
