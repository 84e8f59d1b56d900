"""regularizers.py - penalties on weights: one short class each, found by its Keras name.

Calling one gives its value in NumPy; in training the core adds it and its slope from `l1` and `l2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._arguments import number
from cdl._named import Family

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

_family = Family("regularizer", "keras.regularizers")
get, serialize, deserialize = _family.get, _family.serialize, _family.deserialize


class Regularizer:
    """Base of penalties; a subclass overrides `__call__` and `get_config`."""

    def __call__(self, x: Any) -> Any:
        """The penalty of a weight, a scalar."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} does not implement get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new one from what `get_config` gave."""
        return cls(**config)


@_family.add()
class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x^2)``.

    Args:
        l1: factor of the absolute values, at least 0; None is 0.
        l2: factor of the squares, at least 0; None is 0.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = number("L1L2", "l1", 0.0 if l1 is None else l1, low=0.0)
        self.l2 = number("L1L2", "l2", 0.0 if l2 is None else l2, low=0.0)

    def __call__(self, x: Any) -> np.float32:
        """The penalty of a weight, a scalar."""
        w = np.asarray(x, np.float32)
        return np.float32(self.l1 * np.abs(w).sum() + self.l2 * np.square(w).sum())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


@_family.add()
class L1(Regularizer):
    """``l1 * sum(|x|)``.

    Args:
        l1: the factor, at least 0; None is 0.01.
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = number("L1", "l1", 0.01 if l1 is None else l1, low=0.0)

    def __call__(self, x: Any) -> np.float32:
        """The penalty of a weight, a scalar."""
        return np.float32(self.l1 * np.abs(np.asarray(x, np.float32)).sum())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1}


@_family.add()
class L2(Regularizer):
    """``l2 * sum(x^2)``, without the half that some books have.

    Args:
        l2: the factor, at least 0; None is 0.01.
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = number("L2", "l2", 0.01 if l2 is None else l2, low=0.0)

    def __call__(self, x: Any) -> np.float32:
        """The penalty of a weight, a scalar."""
        return np.float32(self.l2 * np.square(np.asarray(x, np.float32)).sum())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l2": self.l2}


l1, l2, l1_l2 = L1, L2, L1L2


def compiled(regularizer: Any) -> tuple[float, float] | None:
    """The factors (l1, l2) of a penalty that the core knows; None if it is another one."""
    call = type(regularizer).__call__ if isinstance(regularizer, Regularizer) else None
    if call not in (L1.__call__, L2.__call__, L1L2.__call__):
        return None
    return getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)


def slope(regularizer: Any, w: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """The penalty of a weight, and its derivative by each element.

    A regularizer may have a method `gradient(x)`. Otherwise the derivative is taken by central
    differences in float64: two calls for each element, which is slow for a large weight.
    """
    value = float(regularizer(w))
    if hasattr(regularizer, "gradient"):
        return value, np.asarray(regularizer.gradient(w), np.float32)
    moved = np.array(w, np.float64)
    exact = np.asarray(regularizer(moved)).dtype.itemsize > 4
    h = (6e-6 if exact else 5e-3) * np.maximum(np.abs(moved), 1e-2)
    slopes = np.empty(w.shape, np.float32)
    for i in np.ndindex(w.shape):
        at = moved[i]
        moved[i] = at + h[i]
        above = float(regularizer(moved))
        moved[i] = at - h[i]
        slopes[i] = (above - float(regularizer(moved))) / (2 * h[i])
        moved[i] = at
    return value, slopes
