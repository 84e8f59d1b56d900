"""Images of other sizes: each place of the result is a weighted mean of places around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._ir.emit import product, reshape

if TYPE_CHECKING:
    from cdl._ir.instruction import Value
    from cdl._ir.program import Program

Array = np.ndarray[Any, np.dtype[Any]]


def _linear(x: Array) -> Array:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: Array) -> Array:
    """Keys's kernel (1981) with a = -0.5."""
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(radius: int) -> Callable[[Array], Array]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


# What a place counts at a distance.
KERNELS: dict[str, Callable[[Array], Array]] = {
    "bilinear": _linear,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


def weights(kind: str, size: int, new: int) -> Array:
    """What each place along an axis of `size` counts for each of `new` ones: (new, size).

    The centres of the first and the last place are half a place from the ends of the axis. What
    lies beyond the ends counts for nothing, and the rest for more.
    """
    centres = (np.arange(new) + 0.5) * (size / new) - 0.5
    found = KERNELS[kind](np.abs(centres[:, None] - np.arange(size)))
    found /= found.sum(1, keepdims=True)
    return found


def resize(program: Program, image: Value, sizes: Sequence[int], kind: str) -> Value:
    """An image, (sizes..., columns), in other sizes, by one of `KERNELS`."""
    for axis, new in enumerate(sizes):
        shape = image.shape
        if shape[axis] == new:
            continue
        lines = math.prod(shape[axis + 1 :])
        flat = reshape(program, image, (*shape[: axis + 1], lines))
        factor = program.constant(weights(kind, shape[axis], new))
        image = product(program, factor, flat)
        image = reshape(program, image, (*shape[:axis], new, *shape[axis + 1 :]))
    return image
