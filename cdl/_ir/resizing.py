"""Resizing and resampling of images by weighted means of neighbours."""

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


def _cubic(x: Array) -> Array:
    """Keys's kernel (1981) with a = -0.5."""
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(radius: int) -> Callable[[Array], Array]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


# Weight of a place by its distance.
KERNELS: dict[str, Callable[[Array], Array]] = {
    "bilinear": lambda x: np.maximum(0.0, 1.0 - x),
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


def weights(
    kind: str,
    size: int,
    new: int,
    antialias: bool = False,
    scale: float | None = None,
    translation: float = 0.0,
) -> Array:
    """Resampling matrix (new, size): the weight of each old place for each new one.

    The centres of the first and the last place are half a place from the ends of the axis. What
    lies beyond the ends counts for nothing, and the rest for more; a place of the new axis that
    lies beyond them itself is 0.

    Args:
        kind: one of `KERNELS`.
        size: how many places there are.
        new: how many there are to be.
        antialias: whether the kernel is as wide as a new place is, where that is wider.
        scale: how many new places there are to one; None: so that all fill the new axis.
        translation: where the beginning of the axis lies on the new one.
    """
    inverse = size / new if scale is None else 1.0 / scale
    centres = (np.arange(new) + 0.5 - translation) * inverse - 0.5
    reach = max(inverse, 1.0) if antialias else 1.0
    found: Array = KERNELS[kind](np.abs(centres[:, None] - np.arange(size)) / reach)
    total = found.sum(1, keepdims=True)
    found = np.divide(found, total, out=np.zeros_like(found), where=np.abs(total) > 1e-4)
    found[(centres < -0.5) | (centres > size - 0.5)] = 0.0
    return found


def nearest(size: int, new: int) -> list[int]:
    """Nearest old places for each place of an axis of `new`."""
    return [(2 * i + 1) * size // (2 * new) for i in range(new)]


def weigh(program: Program, image: Value, axis: int, factor: Array) -> Value:
    """Weighted sums of places along an axis, by the rows of a matrix."""
    shape = image.shape
    lines = math.prod(shape[axis + 1 :])
    flat = reshape(program, image, (*shape[: axis + 1], lines))
    flat = product(program, program.constant(factor), flat)
    return reshape(program, flat, (*shape[:axis], len(factor), *shape[axis + 1 :]))


def resize(program: Program, image: Value, sizes: Sequence[int], kind: str) -> Value:
    """Image (sizes..., columns) in other sizes, by one of `KERNELS`."""
    for axis, new in enumerate(sizes):
        if image.shape[axis] != new:
            image = weigh(program, image, axis, weights(kind, image.shape[axis], new))
    return image


# Fill modes beyond the ends of an axis, in the core's order.
FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")


def resample(
    program: Program,
    image: Value,
    at: Value,
    sizes: Sequence[int],
    *,
    linear: bool,
    fill: str = "constant",
    value: float = 0.0,
) -> Value:
    """Image (axes..., columns) at other places.

    Args:
        image: of one to three axes beside the columns.
        at: where each new place lies, (axes, new places).
        sizes: of the axes of the result.
        linear: whether places are weighed by how near they are; else the nearest counts.
        fill: one of `FILLS`.
        value: what stands there with "constant".
    """
    shape = (*sizes, image.shape[-1])
    kind: dict[str, Any] = {"linear": int(linear), "fill": FILLS.index(fill)}
    return program.emit("resample", (image, at), shape, value=float(value), **kind)
