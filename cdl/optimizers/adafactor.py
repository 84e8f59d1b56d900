"""Adafactor: adaptive steps with factored second moments, by rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl import _core
from cdl._common.validation import flag, given
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


@registry.add()
class Adafactor(Optimizer):
    """Adafactor optimizer with factored second moments (Shazeer and Stern, 2018).

    With ``b = 1 - t^beta_2_decay`` for t = 1, 2 ...: for a matrix ``r = b * r + (1 - b) * mean of
    (g^2 + epsilon_1) over each row``, c likewise over each column, and ``v[i, j] = r[i] c[j] /
    mean(r)``; for a vector ``v = b * v + (1 - b) * (g^2 + epsilon_1)``. Then ``u = g / sqrt(v)``,
    ``w -= min(rate, 1 / sqrt(t)) * max(epsilon_2, rms(w)) * u / max(1, rms(u) / clip_threshold)``.
    More than two axes are matrices of the last two.

    Args:
        beta_2_decay: a number below 0.
        epsilon_1: at least 0.
        epsilon_2: at least 0.
        clip_threshold: above 0.
        relative_step: has no effect, as in Keras: the rate is never above 1 / sqrt(t).
    """

    beta_2_decay: float = hyper()
    epsilon_1: float = hyper(0.0)
    epsilon_2: float = hyper(0.0)
    clip_threshold: float = hyper(above=0.0)
    relative_step: bool = hyper(check=flag)

    row = "adafactor"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
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
        """The row with factors for two axes or more, else that without."""
        return "adafactor_factored" if len(variable.shape) > 1 else "adafactor"

    def _like(self, variable: Variable, name: str) -> Variable:
        """A slot variable; row and column slots have their own shape and, in Keras, name."""
        if name not in ("row", "column"):
            return super()._like(variable, name)
        *outer, height, width = variable.shape
        shape = (*outer, height if name == "row" else width)
        slot = Variable(shape, None, name=variable.name, trainable=False)
        slot.path = f"{self.name}/{variable.name}"
        return slot

    def _slots_as_listed(self, variable: Variable) -> list[tuple[str, State | Variable]]:
        """A vector has two numbers in place of rows and columns, so that all weights have three.

        Not if a `LossScaleOptimizer` has built it: then Keras has no such numbers.
        """
        slots = super()._slots_as_listed(variable)
        if self._lists_nothing and len(slots) < len(_core.OPTIMIZERS["adafactor_factored"].slots):
            nothing = ("", State(0, dtype="int32", name=variable.name))
            slots = [nothing, nothing, *slots]
        return slots
