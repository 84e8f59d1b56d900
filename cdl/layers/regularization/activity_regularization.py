"""ActivityRegularization: a penalty on activations."""

from __future__ import annotations

from typing import Any

from cdl import regularizers
from cdl.layers.arguments import CommonArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class ActivityRegularization(SameShape):
    """Identity with an activity penalty, ``(l1 * sum(|x|) + l2 * sum(x^2)) / samples``.

    Args:
        l1: factor of the absolute values, at least 0.
        l2: factor of the squares, at least 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1 = l1
        self.l2 = l2
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append nothing: the penalty is that of any layer's activity regularizer."""
        return x

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("activity_regularizer")
        return {**config, "l1": self.l1, "l2": self.l2}
