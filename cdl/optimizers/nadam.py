"""Nadam: Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl._common.validation import given
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Nadam(Optimizer):
    """Nadam optimizer: Adam with Nesterov momentum (Dozat, 2016).

    With ``u_i = beta_1 (1 - 0.5 * 0.96^i)`` and ``U_t = u_1 u_2 ... u_t``: m and v as Adam's, then
    ``d = u_(t+1) m / (1 - U_(t+1)) + (1 - u_t) g / (1 - U_t)`` and
    ``w -= rate * d / (sqrt(v / (1 - beta_2^t)) + epsilon)`` for t = 1, 2 ...

    Args:
        beta_1: how slowly m follows, from 0 to below 1.
        beta_2: how slowly v follows, from 0 to below 1.
        epsilon: keeps the division finite, at least 0.
    """

    beta_1: float = hyper(0.0, below=1.0)
    beta_2: float = hyper(0.0, below=1.0)
    epsilon: float = hyper(0.0)

    row = "nadam"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**given(locals()))

    @property
    def variables(self) -> list[State | Variable]:
        """Variables of every optimizer, and U_t, which follows from the number of updates."""
        if not self.built:
            return super().variables
        product = 1.0
        for i in range(1, int(self.iterations) + 1):
            product *= self.beta_1 * (1 - 0.5 * 0.96**i)
            if not np.float32(product):
                break
        return [*super().variables, State(product, name="variable")]
