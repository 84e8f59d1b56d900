"""Random: base of layers that draw random numbers in training."""

from __future__ import annotations

from typing import Any

from cdl.layers.arguments import LayerArguments, Lowering, Unpack
from cdl.layers.same_shape import SameShape
from cdl.random import SeedGenerator, checked_seed


class Random(SameShape):
    """Base of layers with their own stream of random numbers.

    Args:
        seed: an int, or None for one drawn now.
    """

    training_by_default = False
    _amount = "rate"  # the attribute that says how much it draws

    def __init__(self, seed: int | None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.seed = checked_seed(type(self).__name__, seed)
        self.seed_generator = SeedGenerator(self.seed)
        self._build_at_init()

    @property
    def _seed_generators(self) -> list[Any]:
        """Seed generators; none where the layer changes nothing, as in Keras."""
        return super()._seed_generators if getattr(self, self._amount) > 0 else []

    def _draws(self, program: Lowering) -> dict[str, Any]:
        """Arguments of the draw of the next instruction."""
        generator = self.seed_generator
        return {"seed": generator.seed, "user_draw": program.draw_of(generator)}
