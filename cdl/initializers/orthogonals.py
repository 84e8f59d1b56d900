"""Orthogonal initial values of weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cdl._common.orthonormal import orthonormal
from cdl._common.validation import number
from cdl.initializers.initializer import registry
from cdl.initializers.random import RandomInitializer
from cdl.random import SeedGenerator


@registry.add("OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """Random orthogonal matrix, or semi-orthogonal if it is not square (Saxe et al., 2014).

    It is Q of the QR decomposition of normal values whose R has a positive diagonal, which makes it
    uniform among all such matrices. Of more than two axes all but the last are taken as one.

    Args:
        gain: what the matrix is multiplied by.
        seed: an int, a SeedGenerator, or None for one drawn now.
    """

    def __init__(self, gain: float = 1.0, seed: int | SeedGenerator | None = None) -> None:
        self.gain = number("Orthogonal", "gain", gain)
        super().__init__(seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: shape must have at least 2 axes, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q = orthonormal(tall)
        q = self.gain * (q if rows >= columns else q.T)
        return q.reshape(shape).astype(np.float32)
