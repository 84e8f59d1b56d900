"""Dot: inner products of two values along an axis of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._tracing.graph import operator_of
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.layer import registry
from cdl.layers.merging.merge import Merge


@registry.add()
class Dot(Merge):
    """Dot product of two inputs, ``sum_k a[..., k, ...] b[..., k, ...]``, along an axis of each.

    The other axes of a, then those of b, are the result's; without any there is one of size 1.

    Args:
        axes: the axis of both, or one for each; not that of the samples.
        normalize: whether both are divided by their Euclidean norm along the axis first, so that
            the product is the cosine of their angle.

    Raises:
        TypeError: axes that are no numbers.
        ValueError: not one or two of them; when called on shapes that do not fit.
    """

    most = 2

    def __init__(
        self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(f"Dot: axes must be an int or two of them, got {axes!r}")
            if len(axes) != 2 or not all(isinstance(axis, int) for axis in axes):
                raise ValueError(f"Dot: axes must be an int or two of them, got {axes!r}")
        self.axes = axes
        self.normalize = normalize

    def _places(self, shapes: Sequence[Shape]) -> list[int]:
        axes = [self.axes] * 2 if isinstance(self.axes, int) else list(self.axes)
        for axis, shape in zip(axes, shapes, strict=True):
            if not -len(shape) <= axis < len(shape) or axis % len(shape) == 0:
                raise ValueError(
                    f"Dot {self.name!r}: axes must be axes of the inputs, not that of the samples, "
                    f"got {self.axes} for shapes {list(shapes)}"
                )
        return [axis % len(shape) for axis, shape in zip(axes, shapes, strict=True)]

    def _merged(self, shapes: Sequence[Shape]) -> Shape:
        (a, b), (i, j) = shapes, self._places(shapes)
        if a[i] != b[j]:
            raise ValueError(
                f"Dot {self.name!r}: Incompatible input shapes: axis values {a[i]} (at axis {i}) "
                f"!= {b[j]} (at axis {j}). Full input shapes: {a}, {b}"
            )
        rest = [n for k, n in enumerate(a) if k not in (0, i)]
        rest += [n for k, n in enumerate(b) if k not in (0, j)]
        return (None, *(rest or [1]))

    def call(self, inputs: Any) -> Any:
        a, b = inputs
        i, j = self._places([a.shape, b.shape])
        if self.normalize:
            unit = operator_of("normalize")
            a, b = unit(a, axis=i), unit(b, axis=j)
        if len(a.shape) == len(b.shape) == 2:
            return operator_of("sum")(a * b, axis=1, keepdims=True)
        move, join = operator_of("moveaxis"), operator_of("reshape")
        a, b = move(a, i, -1), move(b, j, 1)
        rest = (*a.shape[1:-1], *b.shape[2:])
        a = join(a, (-1, _product(a.shape[1:-1]), a.shape[-1]))
        b = join(b, (-1, b.shape[1], _product(b.shape[2:])))
        return join(operator_of("matmul")(a, b), (-1, *rest))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: lines of the result are not those of the inputs."""
        return None


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def dot(inputs: Any, axes: int | Sequence[int] = -1, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Dot`: `Dot(axes, **kwargs)(inputs)`.

    Args:
        inputs: a list of two values.
        axes: the axis of both, or one for each.
        kwargs: of the layer.
    """
    return Dot(axes=axes, **kwargs)(inputs)
