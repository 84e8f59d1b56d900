"""random.py - Random: base of the layers that draw random numbers in training."""

from __future__ import annotations

from typing import Any

from cdl.layers.same_shape import SameShape
from cdl.random import checked_seed, draw_seed


class Random(SameShape):
    """A layer with a stream of random numbers of its own.

    Args:
        seed: an int, or None for one drawn now.
        kwargs: see `Layer`.
    """

    def __init__(self, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = checked_seed(type(self).__name__, seed)
        self._stream = draw_seed() if self.seed is None else self.seed
        self._build_at_init()

    @property
    def _draws(self) -> dict[str, Any]:
        """What an instruction draws by: a seed that was given leaves out that of the run."""
        return {"seed": self._stream, "own": float(self.seed is not None)}

    @property
    def _seed_generators(self) -> list[Any]:
        return [self._stream]
