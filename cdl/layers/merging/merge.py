"""Add, Subtract, Multiply, Average, Maximum, Minimum: elementwise merging layers.

Each has a function too: `add([a, b])` is `Add()([a, b])`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from cdl import tree
from cdl._tracing.graph import operator_of
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.layer import Layer, registry


class Merge(Layer):
    """Base of layers that merge a list of inputs of broadcastable shapes.

    What has fewer axes gets axes of size 1 behind that of the samples. Masks are joined as in
    Keras: a line counts if it counts in one of the inputs, and all count where one has no mask.
    """

    _inner: tuple[str, ...] = ("most",)
    most: int | None = None  # inputs; None for any number
    tells_open_shapes = True

    def __init__(self, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def check_input(self, shape: Shape) -> None:
        """Check for a list of inputs of broadcastable shapes; ValueError.

        Raises:
            ValueError: they do not fit.
        """
        shapes = self._listed(shape)
        self._merged(shapes)

    def _listed(self, shape: Any) -> list[Shape]:
        owner = f"{type(self).__name__} {self.name!r}"
        if not isinstance(shape, (list, tuple)) or tree.is_shape(shape):
            raise ValueError(
                f"{owner}: inputs must be a list of values, got one of shape {shape}: A merge "
                "layer should be called on a list of inputs"
            )
        if self.most is not None and len(shape) != self.most:
            raise ValueError(
                f"{owner}: should be called on exactly {self.most} inputs, got {len(shape)} of "
                f"shapes {list(shape)}"
            )
        return [tuple(each) for each in shape]

    def _merged(self, shapes: Sequence[Shape]) -> Shape:
        """Shape that inputs of these shapes are broadcast to."""
        rank = max(map(len, shapes))
        result: list[int | None] = [None, *(1,) * (rank - 1)]
        for shape in shapes:
            full = (*shape[:1], *(1,) * (rank - len(shape)), *shape[1:])
            for axis, n in enumerate(full):
                known = result[axis]
                if axis == 0 or n in (known, 1):
                    continue
                if n is not None and known not in (None, 1):
                    raise ValueError(
                        f"{type(self).__name__} {self.name!r}: inputs must have shapes that can "
                        f"be broadcast to each other, got {list(shapes)}"
                    )
                result[axis] = n if known == 1 else None  # an open axis stays open, as in Keras
        return tuple(result)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape that the inputs are broadcast to, batch axis included."""
        return self._merged(self._listed(input_shape))

    def call(self, inputs: ArrayLike) -> Any:
        """Merged value of the inputs."""
        return self._merge_function(self._aligned(inputs))

    @staticmethod
    def _aligned(inputs: Any) -> list[Any]:
        """Inputs with as many axes as the one that has most."""
        rank = max(len(x.shape) for x in inputs)
        expand = operator_of("expand_dims")
        aligned = []
        for x in inputs:
            while len(x.shape) < rank:
                x = expand(x, 1)
            aligned.append(x)
        return aligned

    def _merge_function(self, inputs: list[Any]) -> Any:
        """Merge inputs of one rank."""
        raise NotImplementedError

    def build(self, input_shape: Shape) -> None:
        """Check the list of shapes; there are no weights."""
        self.check_input(input_shape)
        super().build(input_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Joined masks of the inputs; None if an input has none.

        Raises:
            ValueError: no lists, or lists of two lengths.
        """
        masks = self._masks(inputs, previous_mask)
        return None if any(mask is None for mask in masks) else joined(masks)

    def _masks(self, inputs: Any, masks: Any) -> list[Any]:
        """The masks of the inputs, one for each; ValueError."""
        if masks is None:
            return [None]
        owner = f"{type(self).__name__} {self.name!r}"
        for name, given in (("mask", masks), ("inputs", inputs)):
            if not isinstance(given, (list, tuple)):
                raise ValueError(f"{owner}: `{name}` should be a list, got {given!r}")
        if len(masks) != len(inputs):
            raise ValueError(
                f"{owner}: inputs and mask should have the same length, got {len(inputs)} inputs "
                f"and {len(masks)} masks"
            )
        return list(masks)


def joined(masks: Sequence[Any]) -> Any:
    """Union of masks: lines that count in at least one."""
    result = masks[0]
    for mask in masks[1:]:
        result = operator_of("logical_or")(result, mask)
    return result


def _folded(function: str) -> Any:
    """Make a `_merge_function` that folds the inputs one after the other."""

    def merge(self: Merge, inputs: list[Any]) -> Any:
        combine, result = operator_of(function), inputs[0]
        for x in inputs[1:]:
            result = combine(result, x)
        return result

    return merge


class MaskedMerge(Merge):
    """Base of merging layers that leave masked lines of an input out of the result."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Merged inputs, from the unmasked lines of each."""
        aligned = self._aligned(inputs)
        masks = [None] * len(inputs) if mask is None else self._masks(inputs, mask)
        expand = operator_of("expand_dims")
        whole = [
            None if m is None or len(x.shape) < len(y.shape) else expand(m, -1)
            for x, y, m in zip(inputs, aligned, masks, strict=True)
        ]
        if all(m is None for m in whole):
            return self._merge_function(aligned)
        return self._merge_masked(aligned, whole)

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> Any:
        """Merge inputs with masks that broadcast to them; None for an input without one."""
        raise NotImplementedError


def _shown(function: str) -> Any:
    """Make a `_merge_masked` for functions without a neutral element."""

    def merge(self: Merge, inputs: list[Any], masks: list[Any]) -> Any:
        combine, where = operator_of(function), operator_of("where")
        result, shown = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            other = x if mask is None else where(mask, x, result)
            result = result if shown is None else where(shown, result, other)
            shown = None if mask is None or shown is None else joined([shown, mask])
            result = combine(result, other)
        return result

    return merge


@registry.add()
class Add(Merge):
    """Elementwise sum of the inputs."""

    _merge_function = _folded("add")


@registry.add()
class Subtract(Merge):
    """Elementwise difference of two inputs: the first less the second."""

    most = 2
    _merge_function = _folded("subtract")


@registry.add()
class Multiply(MaskedMerge):
    """Elementwise product of the inputs.

    What an input's mask hides counts as 1, and the result as 0 where all masks hide it.
    """

    _merge_function = _folded("multiply")

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> Any:
        where = operator_of("where")
        shown = [
            x if mask is None else where(mask, x, 1.0)
            for x, mask in zip(inputs, masks, strict=True)
        ]
        product = self._merge_function(shown)
        if any(mask is None for mask in masks):
            return product
        return where(joined(masks), product, 0.0)


@registry.add()
class Average(Merge):
    """Elementwise mean of the inputs."""

    def _merge_function(self, inputs: list[Any]) -> Any:
        total = _folded("add")(self, inputs)
        return total / float(len(inputs))


@registry.add()
class Maximum(MaskedMerge):
    """Elementwise maximum of the inputs, of those that their masks show."""

    _merge_function = _folded("maximum")
    _merge_masked = _shown("maximum")


@registry.add()
class Minimum(MaskedMerge):
    """Elementwise minimum of the inputs, of those that their masks show."""

    _merge_function = _folded("minimum")
    _merge_masked = _shown("minimum")


def add(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Add`: `Add(**kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        kwargs: of the layer.
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Subtract`: `Subtract(**kwargs)(inputs)`.

    Args:
        inputs: a list of two values.
        kwargs: of the layer.
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Multiply`: `Multiply(**kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        kwargs: of the layer.
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Average`: `Average(**kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        kwargs: of the layer.
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Maximum`: `Maximum(**kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        kwargs: of the layer.
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Unpack[LayerArguments]) -> Any:
    """Functional form of `Minimum`: `Minimum(**kwargs)(inputs)`.

    Args:
        inputs: a list of values.
        kwargs: of the layer.
    """
    return Minimum(**kwargs)(inputs)
