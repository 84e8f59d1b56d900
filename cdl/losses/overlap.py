"""Overlap losses (Dice, Tversky): one number per batch, or per slice over some axes.

They are no sum over samples, so training takes their gradients from here, once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import number
from cdl._tracing import graph
from cdl._tracing.variable import in_traced_code
from cdl.losses.loss import Loss, function_of, registry

Array = NDArray[Any]

TINY = 1e-7


class _Overlap(Loss):
    """Base of overlap losses, ``1 - index``; a subclass has the index and its gradient."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        """One number for the axes that `axis` leaves, or one for all."""
        y, p = in_traced_code((y_true, y_pred))
        if not graph.tensors_in((y, p)):
            y, p = np.asarray(y), np.asarray(p)
        share, _ = self._share(y, p)
        return 1.0 - (np.reshape(share, ()) if self.axis is None else np.squeeze(share, self.axis))

    def gradients(self, y_true: Array, y_pred: Array, shares: Array) -> Array:
        """The gradient of the sum of `call`'s values, each times its share, by each prediction."""
        wide = shares if self.axis is None else np.expand_dims(shares, self.axis)
        return -self._share(y_true, y_pred)[1] * wide

    def _share(self, y: Array, p: Array) -> tuple[Array, Array]:
        raise NotImplementedError  # abstract


@registry.add()
@with_defaults(name="dice")
class Dice(_Overlap):
    """Dice loss, ``1 - 2 sum(y p) / (sum(y) + sum(p))`` over the whole batch, or over `axis`.

    Args:
        axis: the axes that the sums run over; None for all.
    """

    def _share(self, y: Array, p: Array) -> tuple[Array, Array]:
        both = np.sum(y * p, self.axis, keepdims=True)
        size = np.sum(y, self.axis, keepdims=True) + np.sum(p, self.axis, keepdims=True) + TINY
        return 2 * both / size, (2 * y - 2 * both / size) / size


@function_of(Dice)
def dice(y_true: ArrayLike, y_pred: ArrayLike, axis: int | Sequence[int] | None = None) -> Any:
    """Dice loss, ``1 - 2 sum(y p) / (sum(y) + sum(p))`` over the whole batch, or over `axis`."""
    return _value(Dice(axis=axis), y_true, y_pred)


@registry.add()
class Tversky(_Overlap):
    """Tversky loss, ``1 - tp / (tp + alpha fp + beta fn)`` over the whole batch, or over `axis`.

    Args:
        alpha: weight of ``fp = sum(y (1 - p))``; Keras names the two this way round.
        beta: weight of ``fn = sum((1 - y) p)``.
        axis: the axes that the sums run over; None for all.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: int | Sequence[int] | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, axis, dtype)
        self.alpha = number("Tversky", "alpha", alpha)
        self.beta = number("Tversky", "beta", beta)

    def _share(self, y: Array, p: Array) -> tuple[Array, Array]:
        both = np.sum(y * p, self.axis, keepdims=True)
        missed = np.sum(y * (1 - p), self.axis, keepdims=True)
        wrong = np.sum((1 - y) * p, self.axis, keepdims=True)
        size = both + self.alpha * missed + self.beta * wrong + TINY
        d_size = y - self.alpha * y + self.beta * (1 - y)
        return both / size, (y - both / size * d_size) / size


@function_of(Tversky)
def tversky(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: int | Sequence[int] | None = None,
) -> Any:
    """Tversky loss, ``1 - tp / (tp + alpha fp + beta fn)`` over the whole batch, or over `axis`."""
    return _value(Tversky(alpha, beta, axis=axis), y_true, y_pred)


def _value(loss: _Overlap, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
    def as_floats(x: Any) -> Any:
        told = isinstance(x, graph.KerasTensor) or getattr(x, "dtype", None) == "float32"
        return x if told else np.asarray(x, np.float32)

    return loss.call(as_floats(y_true), as_floats(y_pred))
