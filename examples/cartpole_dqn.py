"""Deep Q-learning (DQN) on gymnasium's CartPole: replay buffer and target network.

A net says what each action is worth. It learns from pairs of states in a buffer: the worth of an
action is its reward and what a slower copy of the net says of the best action in the next state
(Mnih et al., 2015). Nets are as in CleanRL's dqn.py. Several seeds are trained, since one run of
reinforcement learning says little; an episode ends after 500 steps at the latest. `cdl.Steps`
records the update, and learns from many batches of rows of the buffer in one call.

    pip install cdl-nn gymnasium
    python examples/cartpole_dqn.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

GAMMA, BATCH = 0.99, 64
EVERY = 256  # so many steps are taken, and then as many batches learned


class Buffer:
    """Transitions that were seen so far."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.states, self.next_states = np.zeros((2, size, 4), np.float32)
        self.actions = np.zeros(size, np.int32)
        self.rewards, self.ended = np.zeros((2, size), np.float32)

    def add(self, state: Any, action: int, reward: float, next_state: Any, ended: bool) -> None:
        i = self.count
        self.states[i], self.actions[i], self.rewards[i] = state, action, reward
        self.next_states[i], self.ended[i] = next_state, ended
        self.count += 1

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        return self.states, self.actions, self.rewards, self.next_states, self.ended


def net() -> cdl.Sequential:
    """The worth of both actions in a state: position, speed, angle and its speed."""
    stack = [layers.Input((4,)), layers.Dense(120, "relu"), layers.Dense(84, "relu")]
    return cdl.Sequential([*stack, layers.Dense(2)])


def train(seed: int, steps: int) -> tuple[cdl.Sequential, list[tuple[int, float]]]:
    """The net after so many steps in the environment, and the return of each episode."""
    import gymnasium

    cdl.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    q, target = net(), net()
    target.set_weights(q.get_weights())
    optimizer = cdl.optimizers.Adam(1e-3)

    def loss(states: Any, actions: Any, rewards: Any, next_states: Any, ended: Any) -> Any:
        worth = rewards + GAMMA * (1 - ended) * ops.max(target(next_states), axis=1)
        chosen = ops.sum(q(states) * ops.one_hot(actions, 2), axis=1)
        return ops.mean(ops.square(chosen - worth))

    value_and_grad = cdl.value_and_grad(loss, variables=q.trainable_variables)

    @cdl.Steps
    def learn(*batch: Any) -> Any:
        value, gradients = value_and_grad(*batch)
        optimizer.apply(gradients, q.trainable_variables)
        return value

    env, buffer, returns = gymnasium.make("CartPole-v1"), Buffer(steps), []
    state, total = env.reset(seed=seed)[0], 0.0
    for step in range(steps):
        explore = max(0.04, 1 - step / (0.16 * steps))
        greedy = rng.random() >= explore
        action = int(q(state[None])[0].argmax()) if greedy else int(rng.integers(2))
        next_state, reward, ended, cut, _ = env.step(action)
        buffer.add(state, action, reward, next_state, ended)
        state, total = next_state, total + float(reward)
        if ended or cut:
            returns.append((step, total))
            state, total = env.reset()[0], 0.0
        if step >= 1000 and step % EVERY == 0:
            target.set_weights(q.get_weights())
            learn.run(buffer.columns, rng.integers(buffer.count, size=(EVERY, BATCH)))
    return q, returns


def evaluate(q: cdl.Sequential, seed: int, episodes: int = 20) -> float:
    """The mean return of new episodes, in which the better action is always taken."""
    import gymnasium

    env = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="sync")
    states, alive, total = env.reset(seed=seed)[0], np.ones(episodes, bool), np.zeros(episodes)
    while alive.any():
        states, rewards, ended, cut, _ = env.step(q(states).argmax(axis=1))
        total += rewards * alive
        alive &= ~(ended | cut)
    return float(total.mean())


def draw(runs: list[list[tuple[int, float]]], file: str) -> None:
    """Draw the return of each episode by the steps taken so far, a line for each seed."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for run in runs:
        ax.plot(*np.transpose(run), linewidth=1)
    ax.set(xlabel="steps in the environment", ylabel="return of an episode")
    figure.savefig(file)


def main(seeds: int = 5, steps: int = 50_000, picture: str | None = None) -> float:
    """Train each seed, print what it reached, and return the mean."""
    start, scores, runs = time.process_time(), [], []
    for seed in range(seeds):
        q, returns = train(seed, steps)
        runs.append(returns)
        scores.append(evaluate(q, seed=1000 + seed))
    seconds = (time.process_time() - start) / seeds
    if picture is not None:
        draw(runs, picture)
    print(f"{steps} steps, {seconds:.1f} s of CPU a seed; by seed", *np.round(scores))
    rng = np.random.default_rng(0)
    low, high = np.quantile(rng.choice(scores, (10_000, seeds)).mean(axis=1), (0.025, 0.975))
    print(f"mean return, 95 % interval by bootstrap: {low:.0f} to {high:.0f}")
    return float(np.mean(scores))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"mean return: {main(**vars(parser.parse_args())):.0f}")
