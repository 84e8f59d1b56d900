"""Variance-scaling initial values, such as Glorot's, LeCun's and He's."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import number, one_of
from cdl.initializers.initializer import registry
from cdl.initializers.random import RandomInitializer, cut_normal, scaled
from cdl.random import SeedGenerator

# The standard deviation of a standard normal variable that is cut off at 2 sigma.
CUT_STDDEV = 0.87962566103423978


@registry.add()
class VarianceScaling(RandomInitializer):
    """Initializer of variance ``scale / n``, so that signals keep their size through layers.

    Args:
        scale: above 0.
        mode: what n is: "fan_in", "fan_out", or "fan_avg", their mean.
        distribution: "truncated_normal" (at two standard deviations; "normal" is the same),
            "untruncated_normal" or "uniform".
        seed: an int, a SeedGenerator, or None for one drawn now.
        input_axes: axes whose lengths multiply to fan_in; unless both are given, the last axis
            but one, times all before it.
        output_axes: the same for fan_out; the last axis, times all before the last but one.
    """

    _inner: tuple[str, ...] = ("with_axes",)
    _modes = ("fan_in", "fan_out", "fan_avg")
    _distributions = ("truncated_normal", "untruncated_normal", "uniform")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | SeedGenerator | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        owner = type(self).__name__
        self.scale = number(owner, "scale", scale, above=0.0)
        self.mode = one_of(owner, "mode", mode, self._modes)
        lower = distribution.lower() if isinstance(distribution, str) else distribution
        lower = "truncated_normal" if lower == "normal" else lower
        self.distribution = one_of(owner, "distribution", lower, self._distributions)
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        fan_in, fan_out = self._fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return scaled(rng.random(shape, np.float32), 2 * limit, -limit)
        if self.distribution == "untruncated_normal":
            return scaled(rng.standard_normal(shape, np.float32), math.sqrt(variance))
        return scaled(cut_normal(rng, shape), math.sqrt(variance) / CUT_STDDEV)

    def _fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Fan-in and fan-out of a weight of that shape."""
        if self.input_axes is not None and self.output_axes is not None:
            return (
                math.prod(shape[axis] for axis in self.input_axes),
                math.prod(shape[axis] for axis in self.output_axes),
            )
        if len(shape) < 2:
            return (math.prod(shape), math.prod(shape))
        window = math.prod(shape[:-2])
        return window * shape[-2], window * shape[-1]

    def with_axes(self, inputs: Sequence[int], outputs: Sequence[int]) -> Self:
        """Copy with the same seed and fans of these axes, unless this one has axes itself."""
        if self.input_axes is not None and self.output_axes is not None:
            return self
        found = copy.copy(self)
        found.input_axes, found.output_axes = list(inputs), list(outputs)
        return found


class _Scaling(VarianceScaling):
    """Base of named VarianceScalings; the class has (scale, mode, distribution)."""

    _arguments: tuple[float, str, str]
    _not_in_config = ("scale", "mode", "distribution")

    def __init__(
        self,
        seed: int | SeedGenerator | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._arguments, seed, input_axes, output_axes)


@registry.add()
class GlorotUniform(_Scaling):
    """Glorot (Xavier) uniform up to ``sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""

    _arguments = (1.0, "fan_avg", "uniform")


@registry.add()
class GlorotNormal(_Scaling):
    """Glorot (Xavier) truncated normal of variance ``2 / (fan_in + fan_out)`` (Glorot, 2010)."""

    _arguments = (1.0, "fan_avg", "truncated_normal")


@registry.add()
class LecunUniform(_Scaling):
    """LeCun uniform: up to ``sqrt(3 / fan_in)`` (LeCun et al., 1998)."""

    _arguments = (1.0, "fan_in", "uniform")


@registry.add()
class LecunNormal(_Scaling):
    """LeCun normal, truncated: variance ``1 / fan_in`` (LeCun et al., 1998)."""

    _arguments = (1.0, "fan_in", "truncated_normal")


@registry.add()
class HeUniform(_Scaling):
    """He uniform: up to ``sqrt(6 / fan_in)`` (He et al., 2015)."""

    _arguments = (2.0, "fan_in", "uniform")


@registry.add()
class HeNormal(_Scaling):
    """He normal, truncated: variance ``2 / fan_in`` (He et al., 2015)."""

    _arguments = (2.0, "fan_in", "truncated_normal")
