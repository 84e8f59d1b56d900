"""SGD: stochastic gradient descent with optional momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._common.validation import expected, flag
from cdl.optimizers.base_optimizer import Optimizer, registry

if TYPE_CHECKING:
    from cdl._tracing.variable import Variable
    from cdl.optimizers.schedules.schedule import LearningRateSchedule


@registry.add()
class SGD(Optimizer):
    """Stochastic gradient descent, with optional momentum and Nesterov momentum.

    ``w -= rate * g``; with momentum ``m = momentum * m - rate * g; w += m``; with Nesterov's
    ``w += momentum * m - rate * g`` for the new m.

    Args:
        learning_rate: see `Optimizer`.
        momentum: a float from 0.0, for none, to 1.0.
        nesterov: whether the momentum is Nesterov's.

    The further arguments are those of `Optimizer`.

    Raises:
        ValueError: a momentum that is no such float, or what `Optimizer` refuses.

    Examples:
        >>> rate = cdl.optimizers.schedules.CosineDecay(0.1, decay_steps=1000)
        >>> optimizer = cdl.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    """

    extra_arguments = ("momentum", "nesterov")

    row = "sgd"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        if not isinstance(momentum, float) or not 0.0 <= momentum <= 1.0:
            raise expected("SGD", "momentum", "a float from 0.0 to 1.0", momentum)
        self.momentum = momentum
        self.nesterov = flag("SGD", "nesterov", nesterov)

    def row_of(self, variable: Variable) -> str:
        """The row with momentum, Nesterov's or not, or that without."""
        del variable
        with_momentum = "sgd_nesterov" if self.nesterov else "sgd_momentum"
        return with_momentum if self.momentum else "sgd"
