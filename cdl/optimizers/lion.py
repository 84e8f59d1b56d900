"""Lion: steps along the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import given
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Lion(Optimizer):
    """Lion optimizer: steps along the sign of the momentum (Chen et al., 2023).

    ``w -= rate * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g``

    Args:
        learning_rate: see `Optimizer`; a tenth of Adam's is usual.
        beta_1: how much of the step m is, above 0 and at most 1.
        beta_2: how slowly m follows, from 0 to 1.
    """

    beta_1: float = hyper(above=0.0, high=1.0)
    beta_2: float = hyper(0.0, 1.0)

    row = "lion"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
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
