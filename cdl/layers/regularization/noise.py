"""GaussianNoise, GaussianDropout: Gaussian noise in training."""

from __future__ import annotations

import math

import numpy as np

from cdl._common.validation import number
from cdl.compat import renamed
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.regularization.dropout import checked_rate
from cdl.layers.regularization.random import Random


@registry.add()
class GaussianNoise(Random):
    """Additive Gaussian noise in training: ``x + stddev * z``, z standard normal.

    Args:
        stddev: from 0 to 1.

    Raises:
        ValueError: a standard deviation outside the limits.
    """

    by_lines = True
    _amount = "stddev"

    @renamed(sigma="stddev")
    def __init__(
        self, stddev: float, seed: int | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(seed, **kwargs)
        if isinstance(stddev, bool) or not isinstance(stddev, (int, float, np.number)):
            raise TypeError(f"GaussianNoise: stddev must be a number from 0 to 1, got {stddev!r}")
        number("GaussianNoise", "stddev", stddev, 0.0, 1.0)
        self.stddev = stddev

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the noise; nothing if there is none."""
        if self.stddev == 0:
            return x
        attributes = {"stddev": float(self.stddev), "multiplies": 0}
        return program.emit("noise", (x,), x.shape, (), **attributes, **self._draws(program))


@registry.add()
class GaussianDropout(Random):
    """Multiplicative Gaussian noise in training: ``x * (1 + s z)``, ``s^2 = rate / (1 - rate)``.

    Args:
        rate: as of `Dropout`, whose mean and variance this has; from 0 to 1.

    Raises:
        ValueError: a rate outside the limits.
    """

    by_lines = True

    @renamed(p="rate")
    def __init__(
        self, rate: float, seed: int | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = checked_rate("GaussianDropout", rate)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the noise; nothing if the rate is 0."""
        rate = float(self.rate)
        if rate == 0:
            return x
        if rate == 1:
            raise ValueError(
                f"GaussianDropout {self.name!r}: rate must be less than 1, got {self.rate}"
            )
        stddev = math.sqrt(rate / (1.0 - rate))
        attributes = {"stddev": stddev, "multiplies": 1}
        return program.emit("noise", (x,), x.shape, (), **attributes, **self._draws(program))
