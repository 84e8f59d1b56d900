"""Proximal policy optimization (PPO) on gymnasium's CartPole, in one file as in CleanRL.

A policy plays in eight environments for 32 steps each, and then learns twenty times from what it
saw, by a loss that does not let it move far (Schulman et al., 2017). The settings are those of RL
Baselines3 Zoo: two nets of 64-64, generalized advantages, a learning rate that falls to 0.

    pip install cdl-nn gymnasium
    python examples/cartpole_ppo.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

ENVS, STEPS, EPOCHS = 8, 32, 20
GAMMA, LAMBDA, CLIP = 0.98, 0.8, 0.2


def net(outputs: int, gain: float) -> cdl.Sequential:
    """The policy, which gives logits of two actions, or the critic."""
    start = cdl.initializers.Orthogonal(2**0.5)
    return cdl.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(64, "tanh", kernel_initializer=start),
            layers.Dense(64, "tanh", kernel_initializer=start),
            layers.Dense(outputs, kernel_initializer=cdl.initializers.Orthogonal(gain)),
        ]
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of actions."""
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def loss_of(policy: cdl.Sequential, critic: cdl.Sequential) -> Any:
    """The function that PPO minimizes."""

    def loss(states: Any, actions: Any, before: Any, advantages: Any, returns: Any) -> Any:
        log_p = ops.sum(ops.log_softmax(policy(states)) * ops.one_hot(actions, 2), axis=1)
        ratio = ops.exp(log_p - before)
        clipped = ops.clip(ratio, 1 - CLIP, 1 + CLIP)
        gain = ops.mean(ops.minimum(advantages * ratio, advantages * clipped))
        return 0.5 * ops.mean(ops.square(critic(states)[:, 0] - returns)) - gain

    return loss


def advantages_of(rewards: Any, values: Any, ended: Any) -> np.ndarray:
    """Generalized advantage estimates (Schulman et al., 2016); values have one step more."""
    found, last = np.zeros_like(rewards), np.zeros(ENVS, np.float32)
    for step in reversed(range(STEPS)):
        alive = 1 - ended[step]
        delta = rewards[step] + GAMMA * alive * values[step + 1] - values[step]
        found[step] = last = delta + GAMMA * LAMBDA * alive * last
    return found


def train(seed: int, steps: int) -> tuple[cdl.Sequential, list[tuple[int, float]]]:
    """The policy after so many steps in all environments, and the return of each episode."""
    import gymnasium
    from gymnasium.vector import AutoresetMode

    cdl.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    policy, critic = net(2, 0.01), net(1, 1.0)
    weights = policy.trainable_variables + critic.trainable_variables
    value_and_grad = cdl.value_and_grad(loss_of(policy, critic), variables=weights)
    rounds = steps // (ENVS * STEPS)
    rate = cdl.optimizers.schedules.PolynomialDecay(1e-3, rounds * EPOCHS, 0.0)
    optimizer = cdl.optimizers.Adam(rate, epsilon=1e-5, global_clipnorm=0.5)

    @cdl.Steps
    def learn(*batch: Any) -> Any:
        value, gradients = value_and_grad(*batch)
        optimizer.apply(gradients, weights)
        return value

    env = gymnasium.make_vec(
        "CartPole-v1", ENVS, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
    )
    state, total, returns = env.reset(seed=seed)[0], np.zeros(ENVS), []
    states = np.zeros((STEPS, ENVS, 4), np.float32)
    actions = np.zeros((STEPS, ENVS), np.int32)
    log_p, rewards, ended = np.zeros((3, STEPS, ENVS), np.float32)
    for number in range(rounds):
        for step in range(STEPS):
            states[step] = state
            all_log_p = log_softmax(policy(state))
            action = (rng.random(ENVS) > np.exp(all_log_p[:, 0])).astype(np.int32)
            actions[step], log_p[step] = action, all_log_p[np.arange(ENVS), action]
            state, rewards[step], end, cut, _ = env.step(action)
            ended[step], total = end | cut, total + rewards[step]
            for i in np.flatnonzero(ended[step]):
                returns.append(((number * STEPS + step) * ENVS, float(total[i])))
                total[i] = 0.0
        values = critic(np.concatenate([states, state[None]]).reshape(-1, 4))
        values = values.reshape(STEPS + 1, ENVS)
        advantages = advantages_of(rewards, values, ended)
        returns_seen = advantages + values[:-1]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        seen = (states, actions, log_p, advantages, returns_seen)
        seen = [each.reshape(-1, *each.shape[2:]) for each in seen]
        learn.run(seen, np.tile(np.arange(ENVS * STEPS), (EPOCHS, 1)))
    return policy, returns


def draw(runs: list[list[tuple[int, float]]], file: str) -> None:
    """Draw the mean return of 20 episodes by the steps taken so far, a line for each seed."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for run in runs:
        steps, returns = np.transpose(run)
        smooth = np.convolve(returns, np.ones(20) / 20, "valid")
        ax.plot(steps[-len(smooth) :], smooth, linewidth=1)
    ax.set(xlabel="steps in the environments", ylabel="return of an episode")
    figure.savefig(file)


def main(seeds: int = 5, steps: int = 100_000, picture: str | None = None) -> float:
    """Train each seed, print the returns of its last 20 episodes, and return their mean."""
    start = time.process_time()
    runs = [train(seed, steps)[1] for seed in range(seeds)]
    seconds = (time.process_time() - start) / seeds
    scores = [np.mean([total for _, total in run[-20:]]) for run in runs]
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
