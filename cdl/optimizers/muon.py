"""Muon: orthogonalized momentum for weight matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cdl import _core
from cdl._common.validation import flag, given, several, whole
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import hyper


def _patterns(owner: str, name: str, value: Any) -> list[str]:
    return several(owner, name, [] if value is None else value, "a list of patterns or None")


@registry.add()
class Muon(Optimizer):
    """Muon optimizer: orthogonalized momentum for matrices, Adam for others (Jordan et al., 2024).

    For a matrix ``m = momentum * m + g`` and ``X = m``, or ``g + momentum * m`` with Nesterov's,
    divided by its norm. Then `ns_steps` times
    ``A = X X^T; X = muon_a X + (muon_b A + muon_c A^2) X``, and
    ``w -= rate * rms_rate * sqrt(longer side) * X``. All that is no matrix learns by Adam.

    Args:
        adam_beta_1: see `Adam`.
        adam_beta_2: see `Adam`.
        adam_weight_decay: of the weights that learn by Adam, or None.
        epsilon: see `Adam`.
        weight_decay: of the weights that learn by Muon, or None.
        exclude_layers: patterns; weights whose path has one of them learn by Adam.
        exclude_embeddings: whether those with "embedding" in their path do.
        muon_a: coefficient of X.
        muon_b: coefficient of A X.
        muon_c: coefficient of A^2 X.
        adam_lr_ratio: what the rate is multiplied by for Adam.
        momentum: from 0 to 1.
        ns_steps: rounds, at least 0.
        nesterov: whether the momentum is Nesterov's.
        rms_rate: the size of an element of a step at rate 1; None leaves X as it is.
    """

    adam_beta_1: float = hyper(0.0, below=1.0)
    adam_beta_2: float = hyper(0.0, below=1.0)
    epsilon: float = hyper(0.0)
    exclude_layers: list[str] = hyper(check=_patterns)
    muon_a: float = hyper()
    muon_b: float = hyper()
    muon_c: float = hyper()
    adam_lr_ratio: float = hyper()
    momentum: float = hyper(0.0, 1.0)
    ns_steps: int = hyper(check=whole)
    nesterov: bool = hyper(check=flag)
    exclude_embeddings: bool = hyper(check=flag)
    adam_weight_decay: float | None = hyper(0.0, none=True)
    rms_rate: float | None = hyper(0.0, none=True)

    row = "muon"
    reads_paths = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**given(locals()))

    def row_of(self, variable: Variable) -> str:
        """The row of Muon for matrices that are not excluded, that of Adam for others."""
        path = variable.path
        excluded = len(variable.shape) != 2
        excluded |= self.exclude_embeddings and "embedding" in path.lower()
        excluded |= any(re.search(pattern, path) for pattern in self.exclude_layers)
        return "muon_adam" if excluded else "muon"

    def decay_of(self, variable: Variable) -> float:
        """Weight decay of a weight; 0 for none."""
        if not self.decays(variable):
            return 0.0
        decay = self.weight_decay if self.row_of(variable) == "muon" else self.adam_weight_decay
        return decay or 0.0

    def hypers(self, row: str) -> dict[str, float]:
        """Hyper-parameters of the row; None is a negative number in the core."""
        rate = -1.0 if self.rms_rate is None else self.rms_rate
        names = _core.OPTIMIZERS[row].hypers
        return {name: rate if name == "rms_rate" else float(getattr(self, name)) for name in names}
