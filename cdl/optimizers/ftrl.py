"""FTRL: follow the regularized leader, for sparse linear models."""

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
class Ftrl(Optimizer):
    """FTRL-Proximal optimizer, "follow the regularized leader" (McMahan et al., 2013).

    With ``p = -learning_rate_power`` and ``g' = g + 2 * l2_shrinkage * w``: ``n = a + g^2``,
    ``z += g' - (n^p - a^p) / rate * w``, then
    ``w = (clip(z, -l1, l1) - z) / (n^p / rate + 2 * l2 + beta / rate)`` and ``a = n``. Where the
    divisor is 0, w is 0.

    Args:
        learning_rate_power: at most 0; -0.5 is the paper's.
        initial_accumulator_value: what a begins with, at least 0.
        l1_regularization_strength: at least 0; makes weights exactly 0.
        l2_regularization_strength: at least 0.
        l2_shrinkage_regularization_strength: at least 0; added to the gradient, not to
            its square.
        beta: a number added to the root.
    """

    row = "ftrl"
    learning_rate_power: float = hyper(high=0.0)
    initial_accumulator_value: float = hyper(0.0)
    l1_regularization_strength: float = hyper(0.0)
    l2_regularization_strength: float = hyper(0.0)
    l2_shrinkage_regularization_strength: float = hyper(0.0)
    beta: float = hyper()

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
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

    def row_of(self, variable: Variable) -> str:
        """The row with square roots, or that with any power."""
        del variable
        return "ftrl" if self.learning_rate_power == -0.5 else "ftrl_power"

    def first_values(self, slot: str, variable: Variable) -> NDArray[np.float32] | None:
        if slot != "accumulator":
            return None
        return np.full(variable.shape, self.initial_accumulator_value, np.float32)
