"""RMSprop: steps divided by the root of a running mean of squared gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import flag, given
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class RMSprop(Optimizer):
    """RMSprop optimizer (Tieleman and Hinton, 2012), with epsilon inside the root.

    ``v = rho * v + (1 - rho) * g^2; step = rate * g / sqrt(v + epsilon)``; centered, with
    ``a = rho * a + (1 - rho) * g``, the root is of ``v - a^2 + epsilon``. Then ``w -= step``, or
    with momentum ``m = momentum * m + step; w -= m``.

    Args:
        rho: how slowly v and a follow, from 0 to 1.
        momentum: from 0, for none, to 1.
        epsilon: keeps the division finite, at least 0.
        centered: whether the variance of the gradients takes the place of their mean square.
    """

    rho: float = hyper(0.0, 1.0)
    momentum: float = hyper(0.0, 1.0)
    epsilon: float = hyper(0.0)
    centered: bool = hyper(check=flag)
    late_slots = ("momentum", "average_gradient")

    row = "rmsprop"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        """The row for the arguments: centered, with momentum, both or neither."""
        del variable
        parts = ["rmsprop", *["centered"] * self.centered, *["momentum"] * (self.momentum > 0)]
        return "_".join(parts)
