"""Cosine schedules, with and without restarts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.elementary import cosine, logarithm, power
from cdl._common.validation import whole
from cdl.optimizers.schedules.schedule import Formula, checked_name, registry

Array = NDArray[Any]


@registry.add()
class CosineDecay(Formula):
    """Cosine decay after a linear warm-up.

    ``start * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)``.

    Args:
        decay_steps: steps of the decay, without those of the warm-up.
        alpha: the last rate as a part of the start.
        warmup_target: the rate at the end of the warm-up, from which the cosine starts; None for no
            warm-up.
        warmup_steps: steps in which the rate goes straight from the first to `warmup_target`.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = checked_name("CosineDecay", name)
        self.warmup_target = warmup_target
        self.warmup_steps = whole("CosineDecay", "warmup_steps", warmup_steps)
        self.check(
            "decay_steps",
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            alpha=alpha,
            warmup_target=0.0 if warmup_target is None else warmup_target,
        )

    def rate(self, step: Array) -> Any:
        first = np.float32(self.initial_learning_rate)
        if self.warmup_target is None:
            return self._cosine(step, first)
        target, warm = np.float32(self.warmup_target), np.float32(self.warmup_steps)
        rising = first + (target - first) * step / np.maximum(warm, np.float32(1))
        return np.where(step < warm, rising, self._cosine(step - warm, target))

    def _cosine(self, step: Array, start: np.float32) -> Any:
        part = np.minimum(step, np.float32(self.decay_steps)) / np.float32(self.decay_steps)
        height = np.float32(0.5) * (1 + np.float32(cosine(np.float32(math.pi) * part)))
        return start * ((1 - np.float32(self.alpha)) * height + np.float32(self.alpha))


@registry.add()
class CosineDecayRestarts(Formula):
    """Cosine decay with warm restarts (SGDR; Loshchilov and Hutter, 2017).

    Args:
        first_decay_steps: steps of the first period.
        t_mul: how much longer each period is than the one before.
        m_mul: how much higher its start is.
        alpha: the last rate of a period as a part of the initial rate.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = checked_name("CosineDecayRestarts", name)
        self.check(
            "first_decay_steps",
            initial_learning_rate=initial_learning_rate,
            first_decay_steps=first_decay_steps,
            t_mul=t_mul,
            m_mul=m_mul,
            alpha=alpha,
        )

    def rate(self, step: Array) -> Any:
        """Rate at `step`; period i starts at (1 - t_mul^i) / (1 - t_mul) first periods."""
        time, t_mul = step / np.float32(self.first_decay_steps), np.float32(self.t_mul)
        if t_mul == 1:
            period = np.floor(time)
            part = time - period
        else:
            lasting = np.float32(logarithm(1 - time * (1 - t_mul)))
            period = np.floor(lasting / np.float32(logarithm(t_mul)))
            factor = np.float32(power(t_mul, period))
            part = (time - (1 - factor) / (1 - t_mul)) / factor
        first = np.float32(power(np.float32(self.m_mul), period))
        height = np.float32(0.5) * first * (1 + np.float32(cosine(np.float32(math.pi) * part)))
        alpha = np.float32(self.alpha)
        return np.float32(self.initial_learning_rate) * ((1 - alpha) * height + alpha)
