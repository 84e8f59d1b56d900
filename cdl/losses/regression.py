"""regression.py - losses of numbers: the error itself, averaged over the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl.losses.compiled import CompiledLoss
from cdl.losses.loss import family, function_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@family.add()
class MeanSquaredError(CompiledLoss):
    """``mean((y_true - y_pred)^2)`` over the last axis."""

    row = "mean_squared_error"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


@function_of(MeanSquaredError, "mse", "MSE")
def mean_squared_error(y_true: Any, y_pred: Any) -> NDArray[np.float32]:
    """``mean((y_true - y_pred)^2)`` over the last axis."""
    return MeanSquaredError().call(y_true, y_pred)


@family.add()
class MeanAbsoluteError(CompiledLoss):
    """``mean(|y_true - y_pred|)`` over the last axis."""

    row = "mean_absolute_error"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


@function_of(MeanAbsoluteError, "mae", "MAE")
def mean_absolute_error(y_true: Any, y_pred: Any) -> NDArray[np.float32]:
    """``mean(|y_true - y_pred|)`` over the last axis."""
    return MeanAbsoluteError().call(y_true, y_pred)
