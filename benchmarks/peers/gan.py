"""Step of a GAN, both nets 64-128-64: cdl, PyTorch eager and compiled, JAX jitted.

    python -m benchmarks.peers.gan cdl|torch|torch_compile|jax

A judge (64-128-64-1) learns to tell 64 points of data from 64 that a maker (64-128-64) makes of
noise, then the maker from the judge, each by Adam; a step is both. Prints CPU microseconds, the
least of some rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH, UNITS, STEPS, ROUNDS = 64, (64, 128, 64), 500, 7
RNG = np.random.default_rng(0)
REAL, NOISE = RNG.normal(size=(2, BATCH * STEPS, 64)).astype(np.float32)
Run = Callable[[], Any]


def cdl() -> Run:
    """Steps by `cdl.Steps`, all rows in one call."""
    import cdl
    from cdl import layers

    def net(*units: int) -> Any:
        hidden = [layers.Dense(n, "relu") for n in units[:-1]]
        return cdl.Sequential([cdl.Input((64,)), *hidden, layers.Dense(units[-1])])

    maker, judge = net(128, 64), net(128, 64, 1)
    of_judge, of_maker = cdl.optimizers.Adam(2e-4), cdl.optimizers.Adam(2e-4)
    softplus, mean = cdl.ops.softplus, cdl.ops.mean

    def judge_loss(real: Any, noise: Any) -> Any:
        return mean(softplus(-judge(real))) + mean(softplus(judge(maker(noise))))

    judged = cdl.value_and_grad(judge_loss, variables=judge.trainable_variables)
    made = cdl.value_and_grad(
        lambda noise: mean(softplus(-judge(maker(noise)))), variables=maker.trainable_variables
    )

    @cdl.Steps
    def step(real: Any, noise: Any) -> Any:
        loss, gradients = judged(real, noise)
        of_judge.apply(gradients, judge.trainable_variables)
        _, gradients = made(noise)
        of_maker.apply(gradients, maker.trainable_variables)
        return loss

    rows = np.arange(len(REAL)).reshape(STEPS, BATCH)
    return lambda: step.run((REAL, NOISE), rows)


def torch(compiled: bool = False) -> Run:
    """The loop that a tutorial has, with fused Adam."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    maker = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    judge = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    of_judge = torch.optim.Adam(judge.parameters(), 2e-4, fused=True)
    of_maker = torch.optim.Adam(maker.parameters(), 2e-4, fused=True)
    softplus = nn.functional.softplus

    def judge_loss(real: Any, noise: Any) -> Any:
        made = maker(noise).detach()
        return softplus(-judge(real)).mean() + softplus(judge(made)).mean()

    def maker_loss(noise: Any) -> Any:
        return softplus(-judge(maker(noise))).mean()

    if compiled:
        judge_loss, maker_loss = torch.compile(judge_loss), torch.compile(maker_loss)
    real, noise = torch.from_numpy(REAL), torch.from_numpy(NOISE)

    def run() -> None:
        for start in range(0, len(REAL), BATCH):
            part = slice(start, start + BATCH)
            of_judge.zero_grad()
            judge_loss(real[part], noise[part]).backward()
            of_judge.step()
            of_maker.zero_grad()
            maker_loss(noise[part]).backward()
            of_maker.step()

    return run


def torch_compile() -> Run:
    """Loop of `torch` with compiled losses."""
    return torch(compiled=True)


def jax() -> Run:
    """A jitted step of both, called a batch at a time."""
    import jax
    import jax.numpy as jnp

    def net(*units: int) -> Any:
        pairs = zip((64, *units[:-1]), units, strict=True)
        return [(RNG.normal(size=(k, n)).astype("f") / k**0.5, np.zeros(n, "f")) for k, n in pairs]

    def call(weights: Any, x: Any) -> Any:
        for i, (kernel, bias) in enumerate(weights):
            x = (jax.nn.relu(x) if i else x) @ kernel + bias
        return x

    def adam(weights: Any, gradients: Any, state: Any) -> Any:
        count, means, squares = state
        count = count + 1
        tree = jax.tree.map
        means = tree(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
        squares = tree(lambda s, g: 0.999 * s + 0.001 * g * g, squares, gradients)
        rate = 2e-4 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = tree(lambda w, m, s: w - rate * m / (jnp.sqrt(s) + 1e-7), weights, means, squares)
        return weights, (count, means, squares)

    def judge_loss(judge: Any, maker: Any, real: Any, noise: Any) -> Any:
        of_made = jax.nn.softplus(call(judge, call(maker, noise)))
        return jax.nn.softplus(-call(judge, real)).mean() + of_made.mean()

    def maker_loss(maker: Any, judge: Any, noise: Any) -> Any:
        return jax.nn.softplus(-call(judge, call(maker, noise))).mean()

    @jax.jit
    def step(state: Any, real: Any, noise: Any) -> Any:
        judge, of_judge, maker, of_maker = state
        judge, of_judge = adam(judge, jax.grad(judge_loss)(judge, maker, real, noise), of_judge)
        maker, of_maker = adam(maker, jax.grad(maker_loss)(maker, judge, noise), of_maker)
        return judge, of_judge, maker, of_maker

    def begun(weights: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, weights)
        return weights, (0.0, zeros, zeros)

    state = [(*begun(net(128, 64, 1)), *begun(net(128, 64)))]

    def run() -> None:
        for start in range(0, len(REAL), BATCH):
            part = slice(start, start + BATCH)
            state[0] = step(state[0], REAL[part], NOISE[part])
        jax.block_until_ready(state[0])

    return run


def main(name: str) -> float:
    """CPU microseconds of a step by a peer."""
    run, found = globals()[name](), []
    run()
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        found.append((time.process_time() - start) / STEPS * 1e6)
    return min(found)


if __name__ == "__main__":
    print(sys.argv[1], f"{main(sys.argv[1]):.1f} us a step")
