"""ZeroPadding1D, ZeroPadding2D, ZeroPadding3D: zeros around images."""

from __future__ import annotations

from typing import Any

from cdl._common.shared_arguments import with_defaults
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.layer import registry
from cdl.layers.reshaping.places import Pairs, Places, both_ends


class ZeroPadding(Places):
    """Base of zero padding layers."""

    _pairs: Pairs

    def __init__(
        self, padding: Any = 1, data_format: str | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._pairs = both_ends(type(self).__name__, "padding", padding, self.places)

    @property
    def padding(self) -> Any:
        """Number of zeros before and after each axis, a pair; pairs of several axes."""
        return self._pairs if self.places > 1 else self._pairs[0]

    def _size(self, axis: int, n: int) -> int:
        return n + sum(self._pairs[axis])

    def _taken(self, axis: int, n: int) -> list[int]:
        before, behind = self._pairs[axis]
        return [*[-1] * before, *range(n), *[-1] * behind]


@registry.add()
class ZeroPadding1D(ZeroPadding):
    """1D zero padding before and after the steps of (n, steps, channels).

    Args:
        padding: how many steps at each end, an int or two.
    """

    places = 1


@registry.add()
@with_defaults(padding=(1, 1))
class ZeroPadding2D(ZeroPadding):
    """2D zero padding around (n, height, width, channels).

    Args:
        padding: how many at each end: an int; two, for height and width; or two pairs, ``((top,
            bottom), (left, right))``.
    """

    places = 2


@registry.add()
@with_defaults(padding=((1, 1), (1, 1), (1, 1)))
class ZeroPadding3D(ZeroPadding):
    """3D zero padding around (n, a, b, c, channels).

    Args:
        padding: how many at each end: an int, three, or three pairs.
    """

    places = 3
