"""Adagrad: steps divided by the root of the sum of squared gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import given
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Adagrad(Optimizer):
    """Adagrad optimizer (Duchi et al., 2011), with epsilon inside the root.

    ``a += g^2; w -= rate * g / sqrt(a + epsilon)``

    Args:
        initial_accumulator_value: what a begins with, at least 0.
        epsilon: keeps the division finite, at least 0.
    """

    initial_accumulator_value: float = hyper(0.0)
    epsilon: float = hyper(0.0)

    row = "adagrad"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        initial_accumulator_value: float = 0.1,
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

    def first_values(self, slot: str, variable: Variable) -> NDArray[np.float32] | None:
        return np.full(variable.shape, self.initial_accumulator_value, np.float32)
