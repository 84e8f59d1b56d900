"""Soft actor-critic (SAC) on gymnasium's Pendulum: continuous actions, two critics, a temperature.

A policy gives the mean and the deviation of a torque, squashed by tanh. Two critics learn what a
torque is worth, the policy what both of them like and still leaves it random; how random, a
temperature learns (Haarnoja et al., 2018). The whole update is one function, which `cdl.Steps`
records. An episode has 200 steps and returns -1,200 by chance; -160 is a pendulum that stands.

    pip install cdl-nn gymnasium
    python examples/pendulum_sac.py [--seeds 10]
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np

import cdl
from cdl import layers, ops

GAMMA, TAU, BATCH, START = 0.99, 0.005, 128, 500
EVERY = 8  # so many steps are taken, and then as many batches learned
TORQUE, WANTED_ENTROPY = 2.0, -1.0


def net(inputs: int, outputs: int) -> cdl.Sequential:
    """The policy, from a state to mean and deviation, or a critic of a state and a torque."""
    stack = [layers.Input((inputs,)), layers.Dense(64, "relu"), layers.Dense(64, "relu")]
    return cdl.Sequential([*stack, layers.Dense(outputs)])


def sampled(policy: Any, states: Any, noise: Any) -> tuple[Any, Any]:
    """Actions from -1 to 1 by numbers of a normal distribution, and log densities of these."""
    mean, spread = ops.split(policy(states), 2, axis=1)
    log_std = -5 + 3.5 * (ops.tanh(spread) + 1)
    raw = mean + ops.exp(log_std) * noise
    log_p = -0.5 * ops.square(noise) - log_std - 0.5 * math.log(2 * math.pi)
    return ops.tanh(raw), log_p - 2 * (math.log(2.0) - raw - ops.softplus(-2 * raw))


class Agent:
    """Nets and their optimizers; `learn` makes one update of all of them."""

    def __init__(self) -> None:
        self.policy, self.log_alpha = net(3, 2), cdl.Variable(np.zeros(1, "float32"))
        self.critics, self.targets = [net(4, 1), net(4, 1)], [net(4, 1), net(4, 1)]
        for target, critic in zip(self.targets, self.critics, strict=True):
            target.set_weights(critic.get_weights())
        self.weights = [weight for each in self.critics for weight in each.trainable_variables]
        self.slow = [weight for each in self.targets for weight in each.trainable_variables]
        self.of_critics, self.of_policy = cdl.optimizers.Adam(1e-3), cdl.optimizers.Adam(1e-3)
        self.policy_weights = [*self.policy.trainable_variables, self.log_alpha]
        self.critic_step = cdl.value_and_grad(self.critic_loss, variables=self.weights)
        self.policy_step = cdl.value_and_grad(self.policy_loss, variables=self.policy_weights)

    @cdl.Steps
    def learn(
        self, states: Any, actions: Any, rewards: Any, next_states: Any, noise: Any, next_noise: Any
    ) -> Any:
        """Update all nets by a batch; the critics' loss."""
        loss, gradients = self.critic_step(states, actions, rewards, next_states, next_noise)
        self.of_critics.apply(gradients, self.weights)
        _, gradients = self.policy_step(states, noise)
        self.of_policy.apply(gradients, self.policy_weights)
        for slow, fast in zip(self.slow, self.weights, strict=True):
            slow.assign(slow + TAU * (fast - slow))
        return loss

    def critic_loss(
        self, states: Any, actions: Any, rewards: Any, next_states: Any, next_noise: Any
    ) -> Any:
        """Squared errors of both critics; episodes end by time alone, so all states have a next."""
        next_actions, log_p = sampled(self.policy, next_states, next_noise)
        after = ops.concatenate([next_states, next_actions], axis=1)
        worth = ops.minimum(*[target(after) for target in self.targets])
        worth = rewards + GAMMA * (worth - ops.exp(self.log_alpha) * log_p)
        both = ops.concatenate([states, actions], axis=1)
        return sum(ops.mean(ops.square(critic(both) - worth)) for critic in self.critics)

    def policy_loss(self, states: Any, noise: Any) -> Any:
        """Negated worth by the critics, less the entropy; the temperature learns from a term apart.

        It rises where the entropy is less than wanted.
        """
        actions, log_p = sampled(self.policy, states, noise)
        both = ops.concatenate([states, actions], axis=1)
        worth = ops.minimum(*[critic(both) for critic in self.critics])
        alpha = ops.stop_gradient(ops.exp(self.log_alpha))
        lacking = ops.stop_gradient(log_p + WANTED_ENTROPY)
        return ops.mean(alpha * log_p - worth - self.log_alpha * lacking)

    def act(self, state: Any) -> np.ndarray:
        """The mean actions of the policy."""
        return np.tanh(self.policy(state)[:, :1])


def train(seed: int, steps: int) -> tuple[Agent, list[tuple[int, float]]]:
    """The agent after so many steps in the environment, and the return of each episode."""
    import gymnasium

    cdl.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    agent, env, returns = Agent(), gymnasium.make("Pendulum-v1"), []
    seen = [np.zeros((steps, width), np.float32) for width in (3, 1, 1, 3)]
    rows = np.arange(EVERY * BATCH).reshape(EVERY, BATCH)
    state, total = env.reset(seed=seed)[0], 0.0
    for step in range(steps):
        if step < START:
            action = rng.uniform(-1, 1, size=1)
        else:
            mean, spread = agent.policy(state[None])[0]
            deviation = math.exp(-5 + 3.5 * (math.tanh(spread) + 1))
            action = np.tanh(mean + deviation * rng.normal(size=1))
        next_state, reward, _, cut, _ = env.step(TORQUE * action)
        for column, value in zip(seen, (state, action, reward, next_state), strict=True):
            column[step] = value
        state, total = next_state, total + float(reward)
        if cut:
            returns.append((step, total))
            state, total = env.reset()[0], 0.0
        if step >= START and (step + 1) % EVERY == 0:
            drawn = rng.integers(step + 1, size=rows.size)
            noise = rng.normal(size=(2, rows.size, 1)).astype(np.float32)
            agent.learn.run([*(column[drawn] for column in seen), *noise], rows)
    return agent, returns


def evaluate(agent: Agent, seed: int, episodes: int = 20) -> float:
    """The mean return of new episodes, with mean actions."""
    import gymnasium

    env = gymnasium.make_vec("Pendulum-v1", num_envs=episodes, vectorization_mode="sync")
    states, total = env.reset(seed=seed)[0], np.zeros(episodes)
    for _ in range(200):
        states, rewards, *_ = env.step(TORQUE * agent.act(states))
        total += rewards
    return float(total.mean())


def draw(runs: list[list[tuple[int, float]]], file: str) -> None:
    """Draw the return of each episode by the steps taken so far, a line for each seed."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for run in runs:
        ax.plot(*np.transpose(run), linewidth=1)
    ax.set(xlabel="steps in the environment", ylabel="return of an episode")
    figure.savefig(file)


def main(seeds: int = 10, steps: int = 20_000, picture: str | None = None) -> float:
    """Train each seed, print what it reached, and return the mean."""
    start, scores, runs = time.process_time(), [], []
    for seed in range(seeds):
        agent, returns = train(seed, steps)
        runs.append(returns)
        scores.append(evaluate(agent, seed=1000 + seed))
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
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"mean return: {main(**vars(parser.parse_args())):.0f}")
