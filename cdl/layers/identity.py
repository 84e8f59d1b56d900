"""Identity: a layer that returns its input."""

from __future__ import annotations

from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class Identity(SameShape):
    """Identity layer, ``y = x``: a placeholder."""

    _moves = True
    by_lines = True

    def __init__(self, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        return x
