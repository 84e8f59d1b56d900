"""Cropping1D, Cropping2D, Cropping3D: images without their borders."""

from __future__ import annotations

from typing import Any

from cdl._common.shared_arguments import with_defaults
from cdl.layers.arguments import LayerArguments, Shape, Unpack
from cdl.layers.layer import registry
from cdl.layers.reshaping.places import Pairs, Places, both_ends


class Cropping(Places):
    """Base of cropping layers, at the ends of each axis of an image."""

    _pairs: Pairs

    def __init__(
        self,
        cropping: Any = (1, 1),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._pairs = both_ends(type(self).__name__, "cropping", cropping, self.places)

    @property
    def cropping(self) -> Any:
        """Number of places cropped before and after each axis, a pair; pairs of several axes."""
        return self._pairs if self.places > 1 else self._pairs[0]

    def _size(self, axis: int, n: int) -> int:
        return n - sum(self._pairs[axis])

    def _taken(self, axis: int, n: int) -> range:
        before, behind = self._pairs[axis]
        return range(before, n - behind)

    def _unfit(self, shape: Shape) -> ValueError:
        return ValueError(
            f"{type(self).__name__} {self.name!r}: cropping must leave something of each axis, "
            f"got {self.cropping} for an input of shape {shape}"
        )


@registry.add()
class Cropping1D(Cropping):
    """1D cropping of the first and last steps of (n, steps, channels).

    Args:
        cropping: how many at each end, an int or two.

    Raises:
        ValueError: when called, an input of which nothing would be left.
    """

    places = 1
    _not_in_config = ("data_format",)

    def __init__(self, cropping: Any = (1, 1), **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(cropping, "channels_last", **kwargs)


@registry.add()
@with_defaults(cropping=((0, 0), (0, 0)))
class Cropping2D(Cropping):
    """2D cropping of the borders of (n, height, width, channels).

    Args:
        cropping: how wide they are: an int; two, for height and width; or two pairs, ``((top,
            bottom), (left, right))``.

    Raises:
        ValueError: when called, an input of which nothing would be left.
    """

    places = 2


@registry.add()
@with_defaults(cropping=((1, 1), (1, 1), (1, 1)))
class Cropping3D(Cropping):
    """3D cropping of the borders of (n, a, b, c, channels).

    Args:
        cropping: how wide they are: an int, three, or three pairs.

    Raises:
        ValueError: when called, an input of which nothing would be left.
    """

    places = 3
