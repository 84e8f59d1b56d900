"""Adamax: Adam in the infinity norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._common.validation import number
from cdl.optimizers.base_optimizer import Optimizer, registry

if TYPE_CHECKING:
    from cdl.optimizers.schedules.schedule import LearningRateSchedule


@registry.add()
class Adamax(Optimizer):
    """Adamax optimizer: Adam in the infinity norm (Kingma and Ba, 2014, section 7).

    ``m += (g - m) (1 - beta_1); u = max(beta_2 * u, |g|)``, then
    ``w -= rate / (1 - beta_1^t) * m / (u + epsilon)`` for t = 1, 2 ...

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how slowly m follows, from 0 to below 1.
        beta_2: how slowly u falls, from 0 to 1.
        epsilon: keeps the division finite, at least 0.

    The further arguments are those of `Optimizer`.
    """

    extra_arguments = ("beta_1", "beta_2", "epsilon")

    row = "adamax"

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
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        self.beta_1 = number("Adamax", "beta_1", beta_1, 0.0, below=1.0)
        self.beta_2 = number("Adamax", "beta_2", beta_2, 0.0, 1.0)
        self.epsilon = number("Adamax", "epsilon", epsilon, 0.0)
