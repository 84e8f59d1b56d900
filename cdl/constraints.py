"""Constraints of weights after each update: one short class each.

Calling one projects an array in NumPy; in training the core does so after the optimizer's step, by
its own kernels or by the traced call. Norms are over `axis`: axis 0 of a Dense kernel takes the
incoming weights of each unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.public_names import publish
from cdl._common.validation import axes, number
from cdl._configs.arguments import Configured
from cdl._configs.identifiers import Registry
from cdl._tracing.graph import Graph, KerasTensor, trace
from cdl._tracing.untraced import attempt
from cdl._tracing.variable import RULES
from cdl.config import epsilon

Array = NDArray[np.float32]

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

CORE_EPSILON = 1e-7  # what the core adds to a norm; with another `epsilon()` it leaves it to NumPy

_family = Registry("constraint", "keras.constraints")
get, serialize, deserialize = _family.get, _family.serialize, _family.deserialize
RULES["constraint"] = get


class Constraint(Configured):
    """Base of constraints; a subclass overrides `__call__` and, with arguments, `get_config`."""

    def __call__(self, w: Any) -> Any:
        """Projection of a weight onto the constraint."""
        return w


@_family.add()
class MaxNorm(Constraint):
    """Upper bound of norms: ``w * clip(norm, 0, max_value) / (norm + 1e-7)``.

    Args:
        max_value: the largest norm.
        axis: the axis or axes that a norm is taken over.
    """

    def __init__(self, max_value: float = 2, axis: int | tuple[int, ...] = 0) -> None:
        number("MaxNorm", "max_value", max_value, low=0.0)
        self.max_value = max_value
        self.axis = axes("MaxNorm", "axis", axis)

    def __call__(self, w: ArrayLike) -> Any:
        weight, norm = _norm(w, self.axis)
        return weight * (np.clip(norm, 0, np.float32(self.max_value)) / _divisor(norm))


@_family.add()
class NonNeg(Constraint):
    """Nonnegativity of all elements: ``max(w, 0)``."""

    def __call__(self, w: ArrayLike) -> Any:
        return np.maximum(_weight(w), np.float32(0))


@_family.add()
class UnitNorm(Constraint):
    """Norms of 1: ``w / (norm + 1e-7)``.

    Args:
        axis: the axis or axes that a norm is taken over.
    """

    def __init__(self, axis: int | tuple[int, ...] = 0) -> None:
        self.axis = axes("UnitNorm", "axis", axis)

    def __call__(self, w: ArrayLike) -> Any:
        weight, norm = _norm(w, self.axis)
        return weight / _divisor(norm)


@_family.add()
class MinMaxNorm(Constraint):
    """Bounds of norms, approached by the fraction `rate` in each step.

    ``w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (norm + 1e-7)``

    Args:
        min_value: the smallest norm.
        max_value: the largest norm.
        rate: from 0, which leaves the weight alone, to 1.
        axis: the axis or axes that a norm is taken over.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | tuple[int, ...] = 0,
    ) -> None:
        number("MinMaxNorm", "min_value", min_value, low=0.0)
        number("MinMaxNorm", "max_value", max_value, low=min_value)
        number("MinMaxNorm", "rate", rate, low=0.0, high=1.0)
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axes("MinMaxNorm", "axis", axis)

    def __call__(self, w: ArrayLike) -> Any:
        weight, norm = _norm(w, self.axis)
        inside = np.clip(norm, np.float32(self.min_value), np.float32(self.max_value))
        rate = np.float32(self.rate)
        desired = rate * inside + (np.float32(1) - rate) * norm
        return weight * (desired / _divisor(norm))


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm


def compiled(
    constraint: Any, rank: int, matrix: bool
) -> tuple[str, tuple[float, float, float]] | None:
    """Kind and (low, high, rate) of a constraint of the core; None for another one.

    It knows norms of vectors and of the columns of matrices, so of all axes but the last only.

    Args:
        constraint: what the weight was given, or None.
        rank: the number of axes of the weight.
        matrix: whether the weight is the factor of a matrix product.
    """
    call = type(constraint).__call__ if isinstance(constraint, Constraint) else None
    if call is NonNeg.__call__:
        return "non_negative", (0.0, 0.0, 0.0)
    if call not in (MaxNorm.__call__, UnitNorm.__call__, MinMaxNorm.__call__):
        return None
    axis = constraint.axis if isinstance(constraint.axis, tuple) else (constraint.axis,)
    if not (matrix or rank == 1) or epsilon() != CORE_EPSILON:
        return None
    if sorted(n + rank if n < 0 else n for n in axis) != list(range(max(rank - 1, 1))):
        return None
    if call is UnitNorm.__call__:
        return "norm", (1.0, 1.0, 1.0)
    low, rate = getattr(constraint, "min_value", 0.0), getattr(constraint, "rate", 1.0)
    return "norm", (float(low), float(constraint.max_value), float(rate))


def traced(constraint: Any, shape: tuple[int, ...]) -> tuple[Graph | None, str]:
    """Trace a custom constraint: its graph, or None and the reason."""
    graph, reason = attempt(trace, constraint, (KerasTensor(shape, rows_per_sample=0),), {}, True)
    if graph is not None and graph.outputs.shape != shape:
        return None, f"it makes a weight of shape {shape} one of shape {graph.outputs.shape}"
    return graph, reason


def _weight(w: ArrayLike) -> Any:
    """Weight as an array; symbolic values stay so."""
    return w if isinstance(w, KerasTensor) else np.asanyarray(w, np.float32)


def _norm(w: ArrayLike, axis: int | tuple[int, ...]) -> tuple[Any, Any]:
    weight = _weight(w)
    return weight, np.sqrt(np.square(weight).sum(axis, keepdims=True))


def _divisor(norm: Any) -> Any:
    return norm + np.float32(epsilon())


publish(globals())
