"""Stable-Baselines3 (PyTorch) and SBX (JAX): agents with the settings of examples.

python -m benchmarks.peers.reinforcement ppo stable_baselines3|sbx
python -m benchmarks.peers.reinforcement sac stable_baselines3|sbx UNITS BATCH
python -m benchmarks.peers.reinforcement sac_whole stable_baselines3|sbx UNITS BATCH
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv


class _Returns(BaseCallback):
    """Returns of the episodes that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def _on_step(self) -> bool:
        self.found += [each["episode"]["r"] for each in self.locals["infos"] if "episode" in each]
        return True


def _package(name: str) -> Any:
    """Package of a name: Stable-Baselines3 or SBX."""
    if name == "sbx":
        import sbx

        return sbx
    import stable_baselines3
    import torch

    torch.set_num_threads(1)
    return stable_baselines3


def ppo(name: str, steps: int = 100_000, seed: int = 0) -> dict[str, float]:
    """CPU seconds of PPO on CartPole, and the mean return of the last 20 episodes.

    Settings are those of examples/cartpole_ppo.py, which are RL Baselines3 Zoo's.
    """
    package, returns = _package(name), _Returns()
    env = DummyVecEnv([_monitored("CartPole-v1")] * 8)
    settings = {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gae_lambda": 0.8, "gamma": 0.98}
    start = time.process_time()
    agent = package.PPO(
        "MlpPolicy", env, learning_rate=lambda left: 1e-3 * left, seed=seed, **settings
    )
    agent.learn(steps, callback=returns)
    seconds = time.process_time() - start
    return {"seconds": seconds, "return": float(np.mean(returns.found[-20:]))}


def _monitored(name: str) -> Any:
    from stable_baselines3.common.monitor import Monitor

    return lambda: Monitor(gymnasium.make(name))


def sac(name: str, units: int, batch: int, updates: int = 2000) -> dict[str, float]:
    """CPU microseconds of an update of SAC's nets for Pendulum, after one run to compile."""
    package = _package(name)
    agent = package.SAC(
        "MlpPolicy", DummyVecEnv([_monitored("Pendulum-v1")]), learning_rate=1e-3, seed=0,
        batch_size=batch, policy_kwargs={"net_arch": [units, units]},
    )  # fmt: skip
    agent.learn(500)
    found = []
    for _ in range(3):
        start = time.process_time()
        agent.train(updates, batch)
        found.append((time.process_time() - start) / updates * 1e6)
    return {"us": min(found)}


def sac_whole(name: str, units: int, batch: int, steps: int = 20_000) -> dict[str, float]:
    """CPU seconds of SAC on Pendulum, and the mean return of the last 10 episodes."""
    package, returns = _package(name), _Returns()
    start = time.process_time()
    agent = package.SAC(
        "MlpPolicy", DummyVecEnv([_monitored("Pendulum-v1")]), learning_rate=1e-3, seed=0,
        batch_size=batch, policy_kwargs={"net_arch": [units, units]},
    )  # fmt: skip
    agent.learn(steps, callback=returns)
    return {"seconds": time.process_time() - start, "return": float(np.mean(returns.found[-10:]))}


if __name__ == "__main__":
    import sys

    _, what, name, *numbers = sys.argv
    print(what, name, numbers, globals()[what](name, *map(int, numbers)))
