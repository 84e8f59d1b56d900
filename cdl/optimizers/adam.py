"""adam.py - Adam: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from cdl._arguments import flag, number
from cdl.optimizers.optimizer import Optimizer, family


@family.add()
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014), in the form whose epsilon stands outside the corrected root.

    ``m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2)``, then
    ``w -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`` for t = 1, 2 ...

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how slowly m follows, from 0 to below 1.
        beta_2: how slowly v follows, from 0 to below 1.
        epsilon: keeps the division finite, at least 0.
        amsgrad: whether the largest v so far takes its place (Reddi et al., 2018).

    The further arguments are those of `Optimizer`.
    """

    late_slots = ("velocity_hat",)

    def __init__(
        self,
        learning_rate: Any = 0.001,
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
        self.beta_1 = number("Adam", "beta_1", beta_1, 0.0, below=1.0)
        self.beta_2 = number("Adam", "beta_2", beta_2, 0.0, below=1.0)
        self.epsilon = number("Adam", "epsilon", epsilon, 0.0)
        self.amsgrad = flag("Adam", "amsgrad", amsgrad)
        self.row = "adam_amsgrad" if self.amsgrad else "adam"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }
