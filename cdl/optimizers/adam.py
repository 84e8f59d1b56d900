"""Adam and AdamW: steps scaled by running moments of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import expected, flag, given
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Adam(Optimizer):
    """Adam optimizer (Kingma and Ba, 2014), with epsilon outside the corrected root.

    ``m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2)``, then
    ``w -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`` for t = 1, 2 ...

    Args:
        beta_1: how slowly m follows, from 0 to below 1.
        beta_2: how slowly v follows, from 0 to below 1.
        epsilon: keeps the division finite, at least 0.
        amsgrad: whether the largest v so far takes its place (Reddi et al., 2018).

    Examples:
        >>> model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1)])
        >>> model.compile(cdl.optimizers.Adam(1e-3, clipnorm=1.0), "mse")
    """

    beta_1: float = hyper(0.0, below=1.0)
    beta_2: float = hyper(0.0, below=1.0)
    epsilon: float = hyper(0.0)
    amsgrad: bool = hyper(check=flag)
    late_slots = ("velocity_hat",)

    row = "adam"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        """The row with the largest v so far, or that without."""
        del variable
        return "adam_amsgrad" if self.amsgrad else "adam"


@registry.add()
class AdamW(Adam):
    """Adam with decoupled weight decay, ``w -= w * weight_decay * rate`` (Loshchilov, 2019).

    The decay comes before the update, does not enter the gradient, and concerns all weights that
    `exclude_from_weight_decay` does not name.

    Args:
        weight_decay: a number.
        amsgrad: whether the largest v so far takes its place.

    Raises:
        ValueError: a weight decay of None, or what `Optimizer` refuses.

    Examples:
        >>> optimizer = cdl.optimizers.AdamW(1e-3, weight_decay=1e-2)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        if weight_decay is None:
            raise expected("AdamW", "weight_decay", "a number", None)
