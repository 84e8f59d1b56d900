"""Random initial values of a fixed distribution.

Each object has one seed: an int given by the user, or one drawn when the object is made. It gives
the same values at every call, so one object in two layers of the same shape starts them equal.
With a SeedGenerator in its place each call gives other values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.dtypes import astype, standardize_dtype
from cdl._common.validation import number
from cdl._configs.serialization import deserialize, serialize
from cdl.initializers.initializer import Initializer, checked_shape, registry
from cdl.random import SeedGenerator, checked_seed, draw_seed


class RandomInitializer(Initializer):
    """Base of random initializers; a subclass overrides `draw`."""

    _inner: tuple[str, ...] = ("draw", "anew")

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, Mapping):
            seed = deserialize(seed)
        if not isinstance(seed, SeedGenerator):
            seed = checked_seed(type(self).__name__, seed)
        self._given_seed = seed
        self.seed = draw_seed() if seed is None else seed

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        """Array of that shape; the same at every call, unless the seed is a SeedGenerator."""
        seed = self.seed.next() if isinstance(self.seed, SeedGenerator) else self.seed
        values = self.draw(np.random.default_rng(seed), checked_shape(self, shape))
        return astype(values, standardize_dtype(dtype))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Float32 values from a fresh generator."""
        raise NotImplementedError

    def anew(self) -> Self:
        """Copy with the same arguments, whose seed is drawn if none was given."""
        found = copy.copy(self)
        if self._given_seed is None:
            found.seed = draw_seed()
        return found

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; the seed as given, so None if it was drawn."""
        return {**super().get_config(), "seed": serialize(self._given_seed)}


@registry.add("normal")
class RandomNormal(RandomInitializer):
    """Initializer of normal values.

    Args:
        mean: their mean.
        stddev: their standard deviation.
        seed: an int, a SeedGenerator, or None for one drawn now.
    """

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: int | SeedGenerator | None = None
    ) -> None:
        self.mean = number(type(self).__name__, "mean", mean)
        self.stddev = number(type(self).__name__, "stddev", stddev, low=0.0)
        super().__init__(seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return scaled(rng.standard_normal(shape, np.float32), self.stddev, self.mean)


@registry.add()
class TruncatedNormal(RandomNormal):
    """Initializer of normal values, redrawn beyond two standard deviations.

    Args:
        mean: mean of the normal distribution.
        stddev: its standard deviation before the cut.
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return scaled(cut_normal(rng, shape), self.stddev, self.mean)


@registry.add("uniform")
class RandomUniform(RandomInitializer):
    """Initializer of uniform values from `minval` to `maxval`.

    Args:
        minval: the lower end.
        maxval: the upper end.
        seed: an int, a SeedGenerator, or None for one drawn now.
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | SeedGenerator | None = None
    ) -> None:
        self.minval = number("RandomUniform", "minval", minval)
        self.maxval = number("RandomUniform", "maxval", maxval)
        super().__init__(seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return scaled(rng.random(shape, np.float32), self.maxval - self.minval, self.minval)


@registry.add()
class RandomSign(RandomInitializer):
    """Initializer of 1 and -1 with equal chance, as for the factors of members of an ensemble.

    Args:
        seed: an int, a SeedGenerator, or None for one drawn now.
    """

    def __init__(self, seed: int | SeedGenerator | None = None) -> None:
        super().__init__(seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return rng.choice(np.array([-1.0, 1.0], np.float32), shape)


def scaled(values: NDArray[np.float32], by: float, shift: float = 0.0) -> NDArray[np.float32]:
    """Affine map ``values * by + shift`` in float32."""
    return values * np.float32(by) + np.float32(shift)


def cut_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal values within 2 of 0: those beyond (4.6 %) are drawn again."""
    values = rng.standard_normal(math.prod(shape), np.float32)
    while (beyond := np.flatnonzero(np.abs(values) > 2)).size:
        values[beyond] = rng.standard_normal(beyond.size, np.float32)
    return values.reshape(shape)
