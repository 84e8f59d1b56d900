"""Adadelta: adaptive steps scaled by running averages of earlier updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import given
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Adadelta(Optimizer):
    """Adadelta optimizer (Zeiler, 2012), with epsilon inside both roots.

    ``a = rho * a + (1 - rho) * g^2; d = sqrt(b + epsilon) / sqrt(a + epsilon) * g``, then
    ``b = rho * b + (1 - rho) * d^2; w -= rate * d``. The paper's own rate is 1.

    Args:
        rho: how slowly a and b follow, from 0 to 1.
        epsilon: where the steps begin, and keeps the division finite; at least 0.
    """

    rho: float = hyper(0.0, 1.0)
    epsilon: float = hyper(0.0)

    row = "adadelta"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        rho: float = 0.95,
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
