"""Missing values of data that a layer learns from: NaN is left out, with a warning."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import warn
from cdl.data import as_numeric
from cdl.data.frames import names_of

Array = NDArray[Any]

_SHOWN = 5  # columns in a text


class Missing:
    """Missing values of data, by column.

    Args:
        owner: what errors and the warning begin with.
        then: what becomes of such values where the layer is used; "" if that needs no warning.
    """

    def __init__(self, owner: str, then: str) -> None:
        self._owner, self._then = owner, then
        self._counts: Counter[str] = Counter()
        self._last_axis = 0

    def read(self, data: Any) -> Array:
        """Array of some data, whose missing values are counted.

        Args:
            data: an array, list, frame or column; NaN is a missing value.

        Raises:
            ValueError: data that are no numbers, or infinite.
        """
        x = as_numeric(data, f"{self._owner}: data")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            names = names_of(data)
            infinite = self._columns(np.isinf(x), names)
            if infinite:
                raise ValueError(
                    f"{self._owner}: data must be finite, got infinite values: {_listed(infinite)}"
                )
            self._counts.update(self._columns(np.isnan(x), names))
        return x

    def _columns(self, where: Array, names: tuple[str, ...] | None) -> Counter[str]:
        """Number of marked values in each column, or place of the last axis."""
        if where.ndim < 2 or where.shape[-1] == 1:
            label = repr(names[0]) if names else ""
            return +Counter({label: int(where.sum())})
        counts = where.sum(tuple(range(where.ndim - 1)))
        places = np.flatnonzero(counts)
        return Counter(
            {(repr(names[i]) if names else f"column {i}"): int(counts[i]) for i in places}
        )

    def any(self) -> bool:
        """Whether a value was missing."""
        return bool(self._counts)

    def tell(self) -> None:
        """Warn if a value was missing."""
        if self._counts and self._then:
            warn(
                f"{self._owner}: missing values (NaN) were left out: {_listed(self._counts)}. "
                f"Where the layer is used {self._then}: fill them first, as by fillna or "
                "np.nan_to_num, or let utils.FeatureSpace.from_frame do so"
            )


def _listed(counts: Counter[str]) -> str:
    shown = [f"{n} in {label}" if label else f"{n}" for label, n in list(counts.items())[:_SHOWN]]
    more = len(counts) - _SHOWN
    return ", ".join(shown) + (f" and some in {more} more" if more > 0 else "")
