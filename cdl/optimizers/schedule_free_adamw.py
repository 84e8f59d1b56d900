"""Schedule-free AdamW: averages of the weights in place of a learning rate schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import given, whole
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class ScheduleFreeAdamW(Optimizer):
    """AdamW with averaged weights in place of a learning rate schedule (Defazio et al., 2024).

    Gradients are taken at the weights ``w = (1 - beta_1) z + beta_1 x``, where z makes the steps
    and x is their mean: ``v += (g^2 - v) (1 - beta_2)``,
    ``z -= rate * g / (sqrt(v / (1 - beta_2^t)) + epsilon); x += (z - x) / t`` for t = 1, 2 ... In
    the first `warmup_steps` steps the rate is multiplied by ``t / warmup_steps``.

    Args:
        beta_1: how near to the mean the gradients are taken, above 0 and at most 1.
        beta_2: how slowly v follows, from 0 to below 1.
        epsilon: keeps the division finite, at least 0.
        warmup_steps: at least 0.
    """

    beta_1: float = hyper(above=0.0, high=1.0)
    beta_2: float = hyper(0.0, below=1.0)
    epsilon: float = hyper(0.0)
    warmup_steps: int = hyper(check=whole)

    row = "schedule_free_adamw"
    begins_alike = False

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
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
        """Initial values of a slot: the weight itself for z."""
        return variable.numpy() if slot == "momentum" else None
