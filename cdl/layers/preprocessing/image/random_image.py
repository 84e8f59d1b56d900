"""RandomImage: base of random augmentation layers, active in training alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.validation import is_real
from cdl._ir import emit
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor, current_program
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import Layer
from cdl.layers.preprocessing.image.image_layer import ImageLayer
from cdl.ops.numpy.comparisons import where
from cdl.ops.random import random_uniform
from cdl.random import SeedGenerator, checked_seed

Range = tuple[float, float]


class RandomImage(ImageLayer):
    """Base of layers that change each image by its own random numbers, in training.

    The numbers follow from the seed, the step and the place of the image in the batch, not from
    threads. A call on arrays that says nothing about training is one of training.

    Args:
        seed: an int, or None for one drawn now.
    """

    training_by_default = True
    _needs_draws = True

    def __init__(
        self,
        seed: int | None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.seed = checked_seed(type(self).__name__, seed)
        self.seed_generator = SeedGenerator(self.seed)

    def _changes(self, training: bool) -> bool:
        return training

    def _uniform(self, low: float, high: float, *shape: int) -> Any:
        """Uniform numbers for each image: (n, *shape), or one that fits its axes."""
        sizes: tuple[Any, ...] = (SymbolicBatch(), *(shape or (1, 1, 1)))
        return random_uniform(sizes, float(low), float(high), seed=self.seed_generator)

    def _shared(self, *shape: int) -> Any:
        """Uniform numbers from 0 to 1 shared by a batch's images."""
        program = current_program()
        if program is None:
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: numbers that a batch shares are drawn where "
                "the layer itself is called, not within a `call` that is traced"
            )
        generator = self.seed_generator
        numbers = emit.draw(
            program,
            "uniform",
            shape,
            generator.seed,
            user_draw=program.draw_of(generator),
            shared=True,
        )
        return LoweredTensor(numbers, KerasTensor(shape, rows_per_sample=0))

    def _chance(self, factor: Range) -> Any:
        """Random choice of images, by a probability that is drawn itself."""
        return self._uniform(0.0, 1.0) < self._uniform(*factor)


def checked_range(
    layer: Layer,
    name: str,
    factor: Any,
    low: float,
    high: float,
    *,
    least: float | None = None,
    strict: bool = False,
    above: bool = False,
) -> Range:
    """Range from a number, or from two.

    Args:
        layer: whose argument it is.
        name: of the argument.
        factor: a number f for the range from -f, or `low`, to f; or two numbers, in either order.
        low: what the numbers must not be below.
        high: what they must not be above.
        least: where the range of a single number begins; None for -f, but not below `low`.
        strict: whether both of two numbers must lie within; else the range must reach inside.
        above: whether `low` itself is too low.

    Raises:
        ValueError: something else.
    """
    pair = isinstance(factor, (tuple, list))
    numbers = list(factor) if pair else [factor]
    fits = len(numbers) == (2 if pair else 1) and all(map(is_real, numbers))
    if fits and pair and not strict:
        fits = numbers[0] <= high and numbers[1] >= low
    elif fits:
        fits = all((low < n if above else low <= n) and n <= high for n in numbers)
    if not fits:
        limits = f"{'(' if above else '['}{low:g}, {high:g}]"
        raise ValueError(
            f"{type(layer).__name__}: {name} must be a number or two in {limits}, got {factor!r}"
        )
    if pair:
        first, last = sorted(numbers)
        return first, last
    size = abs(numbers[0])
    return (max(-size, low) if least is None else least), size


def checked_values(layer: Layer, value_range: float | Sequence[float]) -> Range:
    """Lowest and highest number of images, in order.

    Raises:
        ValueError: something else than two numbers that differ.
    """
    pair = list(value_range) if isinstance(value_range, (tuple, list)) else []
    low, high = sorted(pair) if len(pair) == 2 and all(map(is_real, pair)) else (0, 0)
    if not 0 < high - low < math.inf:
        raise ValueError(
            f"{type(layer).__name__}: value_range must be two numbers that differ, got "
            f"{value_range!r}"
        )
    return low, high


def scaled(images: ArrayLike, source: Any, target: Any) -> Any:
    """Numbers of one range mapped to another."""
    if source[0] == target[0] and source[1] == target[1]:
        return images
    factor = (target[1] - target[0]) / (source[1] - source[0])
    return (images - source[0]) * factor + target[0]


def chosen(condition: Any, changed: Any, images: ArrayLike) -> Any:
    """Changed images where a condition holds, (n, 1, 1, 1), else those before."""
    return where(condition, changed, images)
