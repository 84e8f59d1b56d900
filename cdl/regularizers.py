"""Regularizers: penalties on weights, one short class each, found by name.

Calling one gives its value in NumPy; in training the core adds it and its gradient from `l1` and
`l2`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.central_differences import by_element, steps
from cdl._common.public_names import publish
from cdl._common.validation import number, one_of
from cdl._configs.arguments import Configured
from cdl._configs.identifiers import Registry
from cdl._tracing.graph import Graph, KerasTensor, trace
from cdl._tracing.untraced import attempt
from cdl._tracing.variable import RULES, in_traced_code
from cdl.config import epsilon

Array = NDArray[Any]

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]

_family = Registry("regularizer", "keras.regularizers")
get, serialize, deserialize = _family.get, _family.serialize, _family.deserialize
RULES["regularizer"] = get


class Regularizer(Configured):
    """Base of regularizers (penalties); a subclass overrides `__call__` and `get_config`."""

    def __call__(self, x: Any) -> Any:
        """Penalty of a weight, a scalar."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement get_config()")


@_family.add()
class L1L2(Regularizer):
    """L1 and L2 penalty: ``l1 * sum(|x|) + l2 * sum(x^2)``.

    Args:
        l1: factor of the absolute values, at least 0; None is 0.
        l2: factor of the squares, at least 0; None is 0.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = number("L1L2", "l1", 0.0 if l1 is None else l1, low=0.0)
        self.l2 = number("L1L2", "l2", 0.0 if l2 is None else l2, low=0.0)

    def __call__(self, x: ArrayLike) -> Any:
        w = _weight(x)
        return _number(self.l1 * np.sum(np.abs(w)) + self.l2 * np.sum(np.square(w)))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


@_family.add()
class L1(Regularizer):
    """L1 (lasso) penalty: ``l1 * sum(|x|)``.

    Args:
        l1: the factor, at least 0; None is 0.01.
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = number("L1", "l1", 0.01 if l1 is None else l1, low=0.0)

    def __call__(self, x: ArrayLike) -> Any:
        return _number(self.l1 * np.sum(np.abs(_weight(x))))

    def get_config(self) -> dict[str, Any]:
        return {"l1": float(np.float32(self.l1))}  # as Keras, which keeps it in float32


@_family.add()
class L2(Regularizer):
    """L2 (ridge) penalty: ``l2 * sum(x^2)``, without the half of some books.

    Args:
        l2: the factor, at least 0; None is 0.01.
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = number("L2", "l2", 0.01 if l2 is None else l2, low=0.0)

    def __call__(self, x: ArrayLike) -> Any:
        return _number(self.l2 * np.sum(np.square(_weight(x))))

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


@_family.add()
class OrthogonalRegularizer(Regularizer):
    """Penalty on rows or columns of a matrix that are not orthogonal.

    ``factor * mean(|r_i . r_j|)`` over all pairs of different rows (or columns) of length 1.

    Args:
        factor: at least 0.
        mode: "rows" or "columns".
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = number("OrthogonalRegularizer", "factor", factor, low=0.0)
        self.mode = one_of("OrthogonalRegularizer", "mode", mode, ("rows", "columns"))

    def __call__(self, x: ArrayLike) -> Any:
        """Penalty of a matrix, a scalar; ValueError for anything but two axes."""
        w = _weight(x)
        if w.ndim != 2:
            raise ValueError(
                f"OrthogonalRegularizer: the weight must have 2 axes, got shape {w.shape}"
            )
        rows = w if self.mode == "rows" else w.T
        squares = np.maximum(np.sum(rows * rows, axis=1, keepdims=True), epsilon() ** 2)
        rows = rows / np.sqrt(squares)
        n = len(rows)
        products = np.matmul(rows, rows.T) * (1 - np.eye(n, dtype=np.float32))
        # The gradient of |0| is 1, as in L1 and on Keras's JAX backend.
        sizes = products * np.where(products >= 0, np.float32(1), np.float32(-1))
        return _number(self.factor * np.sum(sizes) / max(1, n * (n - 1)))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, the factor as a float32 as in Keras."""
        return {"factor": float(np.float32(self.factor)), "mode": self.mode}


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def compiled(regularizer: Any) -> tuple[float, float] | None:
    """Factors (l1, l2) of a penalty of the core; None for another one."""
    call = type(regularizer).__call__ if isinstance(regularizer, Regularizer) else None
    if call not in (L1.__call__, L2.__call__, L1L2.__call__):
        return None
    return getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)


def traced(regularizer: Any, shape: tuple[int, ...]) -> tuple[Graph | None, str]:
    """Trace a custom penalty: its graph, or None and the reason."""
    return attempt(trace, regularizer, (KerasTensor(shape, rows_per_sample=0),), {}, True)


def gradient(regularizer: Any, w: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Penalty of a weight, and its derivative by each element.

    It is of a penalty that cannot be traced: central differences in float64, two calls for each
    element, which is slow.
    """
    exact = w.astype(np.float64)
    value = np.asarray(regularizer(exact))
    gradients = by_element(regularizer, exact, steps(exact, value, 1e-2))
    return float(value), gradients.astype(np.float32)


def _weight(x: ArrayLike) -> Any:
    """Weight as an array; symbolic values stay so."""
    x = in_traced_code(x)
    return x if isinstance(x, KerasTensor) else np.asarray(x, np.float32)


def _number(value: Any) -> Any:
    return value if isinstance(value, KerasTensor) else np.float32(value)


publish(globals())
