"""Muon: orthogonalized momentum for weight matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cdl import _core
from cdl._common.validation import flag, number, several, whole
from cdl._tracing.variable import Variable
from cdl.optimizers.base_optimizer import Optimizer, registry

if TYPE_CHECKING:
    from cdl.optimizers.schedules.schedule import LearningRateSchedule


@registry.add()
class Muon(Optimizer):
    """Muon optimizer: orthogonalized momentum for matrices, Adam for others (Jordan et al., 2024).

    For a matrix ``m = momentum * m + g`` and ``X = m``, or ``g + momentum * m`` with Nesterov's,
    divided by its norm. Then `ns_steps` times
    ``A = X X^T; X = muon_a X + (muon_b A + muon_c A^2) X``, and
    ``w -= rate * rms_rate * sqrt(longer side) * X``. All that is no matrix learns by Adam.

    Args:
        learning_rate: see `Optimizer`.
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

    The further arguments are those of `Optimizer`.
    """

    extra_arguments = (
        "adam_beta_1",
        "adam_beta_2",
        "epsilon",
        "exclude_layers",
        "muon_a",
        "muon_b",
        "muon_c",
        "adam_lr_ratio",
        "momentum",
        "ns_steps",
        "nesterov",
        "exclude_embeddings",
        "adam_weight_decay",
        "rms_rate",
    )

    row = "muon"

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
        for argument, value in (("adam_beta_1", adam_beta_1), ("adam_beta_2", adam_beta_2)):
            setattr(self, argument, number("Muon", argument, value, 0.0, below=1.0))
        numbers = {
            "muon_a": muon_a,
            "muon_b": muon_b,
            "muon_c": muon_c,
            "adam_lr_ratio": adam_lr_ratio,
        }
        for argument, value in numbers.items():
            setattr(self, argument, number("Muon", argument, value))
        self.epsilon = number("Muon", "epsilon", epsilon, 0.0)
        self.adam_weight_decay = adam_weight_decay
        if adam_weight_decay is not None:
            number("Muon", "adam_weight_decay", adam_weight_decay, low=0.0)
        self.momentum = number("Muon", "momentum", momentum, 0.0, 1.0)
        self.ns_steps = whole("Muon", "ns_steps", ns_steps)
        self.nesterov = flag("Muon", "nesterov", nesterov)
        self.exclude_embeddings = flag("Muon", "exclude_embeddings", exclude_embeddings)
        given = [] if exclude_layers is None else exclude_layers
        self.exclude_layers = several("Muon", "exclude_layers", given, "a list of patterns or None")
        self.rms_rate = None if rms_rate is None else number("Muon", "rms_rate", rms_rate, 0.0)

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
