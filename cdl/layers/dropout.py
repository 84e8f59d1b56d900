"""dropout.py - Dropout: chance against overfitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._arguments import expected, not_yet, number
from cdl.layers.layer import Layer, family
from cdl.random import checked_seed, core_seed, draw_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl._program import Program, Value
    from cdl.layers.shapes import Shape


@family.add()
class Dropout(Layer):
    """In training each number is 0 with probability `rate`, and divided by ``1 - rate`` otherwise.

    Outside training ``y = x``.

    Args:
        rate: the probability, from 0 to 1.
        noise_shape: not supported yet, unless it says what is done anyway.
        seed: an int, or None for one drawn now.
        kwargs: see `Layer`.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(rate, (int, float, np.number)):
            raise TypeError(f"Dropout: rate must be a number from 0 to 1, got {rate!r}")
        number("Dropout", "rate", rate, 0.0, 1.0)
        self.rate = rate
        self.noise_shape = noise_shape
        if noise_shape is not None:
            if not isinstance(noise_shape, (list, tuple)):
                raise expected("Dropout", "noise_shape", "a tuple of sizes or None", noise_shape)
            not_yet("Dropout", noise_shape=(tuple(noise_shape), (None,) * len(noise_shape)))
        self.seed = checked_seed("Dropout", seed)
        self._stream = draw_seed() if self.seed is None else self.seed
        self._calls = 0  # in training mode on arrays; each has a mask of its own
        self.built = True

    def lower(self, program: Program, x: Value) -> Value:
        """Append the dropout; nothing if the rate is 0."""
        if self.rate == 0:
            return x
        rate, seed = float(self.rate), float(self._stream)
        return program.emit("dropout", (x,), x.shape, (), rate=rate, seed=seed)

    def _run(self, program: Program, x: NDArray[Any], training: bool) -> Any:
        if not training:
            return super()._run(program, x, training)
        executor = _core.Executor(program.fused(), len(x), training=True)
        executor.begin([x], len(x))
        rows = executor.forward(True, self._calls, core_seed())
        self._calls += 1
        return executor.output(0, rows)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the seed as it was given."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
            "noise_shape": self.noise_shape,
        }
