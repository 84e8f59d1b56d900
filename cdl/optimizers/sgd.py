"""SGD: stochastic gradient descent with optional momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl._common.validation import expected, flag, given
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


def _momentum(owner: str, name: str, value: Any) -> float:
    if not isinstance(value, float) or not 0.0 <= value <= 1.0:
        raise expected(owner, name, "a float from 0.0 to 1.0", value)
    return value


@registry.add()
class SGD(Optimizer):
    """Stochastic gradient descent, with optional momentum and Nesterov momentum.

    ``w -= rate * g``; with momentum ``m = momentum * m - rate * g; w += m``; with Nesterov's
    ``w += momentum * m - rate * g`` for the new m.

    Args:
        momentum: a float from 0.0, for none, to 1.0.
        nesterov: whether the momentum is Nesterov's.

    Raises:
        ValueError: a momentum that is no such float, or what `Optimizer` refuses.

    Examples:
        >>> rate = cdl.optimizers.schedules.CosineDecay(0.1, decay_steps=1000)
        >>> optimizer = cdl.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    """

    momentum: float = hyper(check=_momentum)
    nesterov: bool = hyper(check=flag)

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
        super().__init__(**given(locals()))

    def row_of(self, variable: Variable) -> str:
        """The row with momentum, Nesterov's or not, or that without."""
        del variable
        with_momentum = "sgd_nesterov" if self.nesterov else "sgd_momentum"
        return with_momentum if self.momentum else "sgd"
