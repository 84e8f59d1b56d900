"""Quantile loss, also called pinball loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import expected
from cdl.losses.loss import Loss, function_of, registry

_DEFAULT = (0.1, 0.5, 0.9)


@registry.add()
class Quantile(Loss):
    """Quantile (pinball) loss: ``q e`` for positive ``e = y_true - y_pred``, else ``(q - 1) e``.

    Minimal where a share q of the targets is below the prediction (Koenker and Bassett, "Regression
    Quantiles", Econometrica 46, 1978). The last axis of the predictions has one number for each
    quantile. Targets lack that axis, or have 1 there: (n, 1) for predictions (n, q), (n, h) or
    (n, h, 1) for (n, h, q). Axes of the predictions before those of the targets, and axes where
    these have size 1, are heads that learn the same targets: (n, 1) or (n, h) for (n, k, h, q).

    Predictions of several quantiles may cross; those of the layer `Increasing` do not.

    Args:
        quantiles: between 0 and 1; or one number, for predictions that have the targets' shape.

    Raises:
        ValueError: a quantile that is none, or shapes that do not fit.
    """

    def __init__(
        self,
        quantiles: float | Sequence[float] = _DEFAULT,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "quantile",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        try:
            levels = np.asarray(quantiles, np.float64)
        except (TypeError, ValueError):
            levels = np.zeros(0)
        if levels.ndim > 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
            raise expected("Quantile", "quantiles", "numbers between 0 and 1", quantiles)
        self.quantiles: float | list[float] = levels.tolist()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over quantiles, of the shape of the predictions without their last axis.

        Args:
            y_true: targets.
            y_pred: predictions.
        """
        levels = np.asarray(self.quantiles, np.float32)
        heads = tuple(y_pred.shape[1:])
        if levels.ndim:
            if len(y_pred.shape) < 2 or heads[-1] != len(levels):
                raise ValueError(
                    f"Quantile: y_pred must have a last axis of {len(levels)}, one number for each "
                    f"quantile, got shape {tuple(y_pred.shape)}"
                )
            heads = heads[:-1]
        shape = self._fitted(tuple(y_true.shape), tuple(y_pred.shape), heads)
        if levels.ndim:
            shape = (*shape, 1)
        if tuple(y_true.shape[1:]) != shape:
            rows = -1 if y_true.shape[0] is None else y_true.shape[0]
            y_true = np.reshape(y_true, (rows, *shape))
        error = y_true - y_pred
        losses = np.maximum(levels * error, (levels - 1) * error)
        return np.mean(losses, axis=-1) if len(y_pred.shape) > 1 else losses

    def _fitted(
        self, y: tuple[Any, ...], p: tuple[Any, ...], heads: tuple[Any, ...]
    ) -> tuple[int, ...]:
        """Shape of a sample's targets that broadcasts to that of the heads; ValueError for none."""
        tried = [y[1:], y[1:-1]] if y[-1] == 1 and len(y) > 1 else [y[1:]]
        for shape in tried:
            wide = (1,) * (len(heads) - len(shape)) + shape
            if len(wide) == len(heads) and all(
                n in (1, m) for n, m in zip(wide, heads, strict=True)
            ):
                return wide
        wanted = (p[0], *(heads or (1,)))
        raise ValueError(
            f"Quantile: y_true must have shape {wanted}, or one that broadcasts to it, for y_pred "
            f"of shape {p}, got {y}"
        )


@function_of(Quantile, "pinball")
def quantile(
    y_true: ArrayLike, y_pred: ArrayLike, quantiles: float | Sequence[float] = _DEFAULT
) -> Any:
    """Quantile (pinball) loss, the mean of ``max(q e, (q - 1) e)`` with ``e = y_true - y_pred``.

    Args:
        y_true: targets, without the axis of the quantiles or with 1 there.
        y_pred: predictions, whose last axis has one number for each quantile.
    """
    return Quantile(quantiles).call(np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32))
