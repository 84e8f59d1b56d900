"""LogCosineCycles: cosine cycles, each twice as long as the one before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.elementary import cosine, logarithm
from cdl._common.validation import expected, positive_int
from cdl.optimizers.schedules.schedule import Formula, checked_name, registry


@registry.add()
class LogCosineCycles(Formula):
    """Cosine cycles on a logarithmic axis of steps: RealMLP's "coslog4" (Holzmüller et al., 2024).

    ``max_learning_rate * (1 - cos(2 pi log2(1 + (2^cycles - 1) * step / decay_steps))) / 2``: the
    rate rises from 0 and falls back to it in each cycle, which is twice as long as the one before,
    so that a training warms up by itself and ends at 0.

    Args:
        max_learning_rate: the rate in the middle of each cycle.
        decay_steps: the steps of all cycles; the rate is 0 afterwards.
        cycles: how many cycles there are, at most 30.

    Raises:
        ValueError: an argument that is no number, or not above 0 where it counts.

    Examples:
        >>> rate = cdl.optimizers.schedules.LogCosineCycles(0.04, decay_steps=1500)
        >>> rate([0, 50, 100, 200, 1500]).round(4)
        array([0.    , 0.0372, 0.    , 0.0372, 0.    ], dtype=float32)
    """

    # Steps whose rates are computed at once and kept, as a call takes as long as a step of a small
    # net: the formula is of sums and quotients, whose bits are the same in an array of any size.
    _ahead = 512

    def __init__(
        self,
        max_learning_rate: float,
        decay_steps: float,
        cycles: int = 4,
        name: str = "LogCosineCycles",
    ) -> None:
        self.max_learning_rate = max_learning_rate
        self.decay_steps = decay_steps
        if positive_int("LogCosineCycles", "cycles", cycles) > 30:
            raise expected("LogCosineCycles", "cycles", "an int from 1 to 30", cycles)
        self.cycles = cycles
        self.name = checked_name("LogCosineCycles", name)
        self.check("decay_steps", max_learning_rate=max_learning_rate, decay_steps=decay_steps)

    def rate(self, step: NDArray[Any]) -> Any:
        last = np.float32(self.decay_steps)
        part = np.minimum(step, last) / last
        grown = 1 + np.float32(2.0**self.cycles - 1) * part
        turns = np.float32(logarithm(grown)) / np.float32(math.log(2))
        angle = np.float32(2 * math.pi) * (turns - np.floor(turns))
        height = np.float32(0.5) * (1 - np.float32(cosine(angle)))
        return np.float32(self.max_learning_rate) * np.where(step < last, height, np.float32(0))
