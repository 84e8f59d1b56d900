"""Places: base of layers that rearrange the places of an image along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import expected, per_axis
from cdl._ir.emit import pick
from cdl.config import standardize_data_format
from cdl.layers.arguments import LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer
from cdl.layers.shapes import batch_of, image_of

Pairs = tuple[tuple[int, ...], ...]


class Places(Layer):
    """Base of layers that rearrange an image along each of its `places` axes.

    Args:
        data_format: "channels_last", or "channels_first" for inputs and outputs of shape (n,
            channels, sizes...); None is the configured one.
    """

    _moves = True
    _inner: tuple[str, ...] = ("places",)
    places: int  # axes beside those of the samples and of the channels

    def __init__(self, data_format: str | None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, type(self).__name__)
        self.input_spec = InputSpec(ndim=self.places + 2)
        self._build_at_init()

    def _size(self, axis: int, n: int) -> int:
        """Number of output places along an axis of n."""
        raise NotImplementedError

    def _taken(self, axis: int, n: int) -> Sequence[int]:
        """Input place of each output place; -1 for zeros."""
        raise NotImplementedError

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the selection of places, axis by axis."""
        self.compute_output_shape((None, *x.shape))  # refuses images that are too small
        first = 0 if self.data_format == "channels_last" else 1
        for axis in range(self.places):
            x = pick(program, x, first + axis, self._taken(axis, x.shape[first + axis]))
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output, in the layer's data format.

        Raises:
            ValueError: the input has another number of axes, or nothing would be left of it.
        """
        shape = tuple(input_shape)
        self.check_input(shape)
        image, channels = image_of(shape, self.data_format)
        sizes = tuple(None if n is None else self._size(axis, n) for axis, n in enumerate(image))
        if any(size is not None and size < 1 for size in sizes):
            raise self._unfit(shape)
        return batch_of(shape[0], sizes, channels, self.data_format)

    def _unfit(self, shape: Shape) -> ValueError:
        return ValueError(f"{type(self).__name__} {self.name!r}: nothing is left of shape {shape}")


def both_ends(owner: str, name: str, value: Any, axes: int) -> Pairs:
    """Pair of numbers, before and after, for each axis.

    Args:
        owner: the layer's class, for errors.
        name: the argument's name.
        value: an int for all ends; one for each axis, or a pair; for one axis a pair.
        axes: how many there are.

    Raises:
        ValueError: it is something else, or has numbers below 0.
    """
    if axes == 1:
        return (per_axis(owner, name, value, 2, least=0),)
    what = f"an int >= 0, {axes} of them, or {axes} pairs"
    try:
        given = [value] * axes if isinstance(value, int) else list(value)
        pairs = tuple(per_axis(owner, name, each, 2, least=0) for each in given)
    except (TypeError, ValueError):
        raise expected(owner, name, what, value) from None
    if len(pairs) != axes:
        raise expected(owner, name, what, value)
    return pairs
