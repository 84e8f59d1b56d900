"""LAMB: Adam with layer-wise adaptive steps, for large batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import given
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Lamb(Optimizer):
    """LAMB optimizer: layer-wise adaptive Adam for large batches (You et al., 2019).

    m and v as Adam's, ``d = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)``, then
    ``w -= rate * |w| / |d| * d`` with the norms of the whole weight; the quotient is 1 if one is 0.

    Args:
        beta_1: how slowly m follows, from 0 to below 1.
        beta_2: how slowly v follows, from 0 to below 1.
        epsilon: keeps the division finite, at least 0.
    """

    beta_1: float = hyper(0.0, below=1.0)
    beta_2: float = hyper(0.0, below=1.0)
    epsilon: float = hyper(0.0)

    row = "lamb"

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
