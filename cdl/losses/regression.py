"""Regression losses: error measures averaged over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import number, whole
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import function_of, registry


@registry.add()
@with_defaults(name="mean_squared_error")
class MeanSquaredError(CompiledLoss):
    """Mean squared error, ``mean((y_true - y_pred)^2)`` over the last axis.

    Examples:
        >>> loss = cdl.losses.MeanSquaredError()
        >>> float(loss(np.array([[0.0], [1.0]]), np.array([[2.0], [1.0]])))
        2.0
    """

    row = "mean_squared_error"


@function_of(MeanSquaredError, "mse", "MSE")
def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Mean squared error, ``mean((y_true - y_pred)^2)`` over the last axis."""
    return MeanSquaredError().call(y_true, y_pred)


@registry.add()
@with_defaults(name="mean_absolute_error")
class MeanAbsoluteError(CompiledLoss):
    """Mean absolute error, ``mean(|y_true - y_pred|)`` over the last axis."""

    row = "mean_absolute_error"


@function_of(MeanAbsoluteError, "mae", "MAE")
def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Mean absolute error, ``mean(|y_true - y_pred|)`` over the last axis."""
    return MeanAbsoluteError().call(y_true, y_pred)


@registry.add()
@with_defaults(name="mean_absolute_percentage_error")
class MeanAbsolutePercentageError(CompiledLoss):
    """Mean absolute percentage error, ``100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))``."""

    row = "mean_absolute_percentage_error"


@function_of(MeanAbsolutePercentageError, "mape", "MAPE")
def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Mean absolute percentage error, ``100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))``."""
    return MeanAbsolutePercentageError().call(y_true, y_pred)


@registry.add()
@with_defaults(name="mean_squared_logarithmic_error")
class MeanSquaredLogarithmicError(CompiledLoss):
    """Mean of ``(log(1 + y_true) - log(1 + y_pred))^2``, both at least 1e-7."""

    row = "mean_squared_logarithmic_error"


@function_of(MeanSquaredLogarithmicError, "msle", "MSLE")
def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Mean of ``(log(1 + y_true) - log(1 + y_pred))^2``, both at least 1e-7."""
    return MeanSquaredLogarithmicError().call(y_true, y_pred)


@registry.add()
@with_defaults(name="log_cosh")
class LogCosh(CompiledLoss):
    """Logarithm of the hyperbolic cosine of the error, ``mean(log(cosh(y_pred - y_true)))``."""

    row = "log_cosh"


@function_of(LogCosh)
def log_cosh(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Logarithm of the hyperbolic cosine of the error, ``mean(log(cosh(y_pred - y_true)))``."""
    return LogCosh().call(y_true, y_pred)


@registry.add()
@with_defaults(name="poisson")
class Poisson(CompiledLoss):
    """Poisson loss, ``mean(y_pred - y_true log(y_pred + 1e-7))`` over the last axis."""

    row = "poisson"


@function_of(Poisson)
def poisson(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Poisson loss, ``mean(y_pred - y_true log(y_pred + 1e-7))`` over the last axis."""
    return Poisson().call(y_true, y_pred)


@registry.add()
class Huber(CompiledLoss):
    """Huber loss: the mean of ``e^2 / 2`` up to delta, of ``delta |e| - delta^2 / 2`` beyond.

    Args:
        delta: where the parabola ends.
    """

    row = "huber"
    _not_in_config = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = number("Huber", "delta", delta)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; a delta of 1, as in Keras, is left out."""
        delta = {} if self.delta == 1.0 else {"delta": self.delta}
        return {**super().get_config(), **delta}


@function_of(Huber)
def huber(y_true: ArrayLike, y_pred: ArrayLike, delta: float = 1.0) -> NDArray[np.float32]:
    """Huber loss: the mean of ``e^2 / 2`` up to delta, of ``delta |e| - delta^2 / 2`` beyond."""
    return Huber(delta).call(y_true, y_pred)


@registry.add()
class CosineSimilarity(CompiledLoss):
    """Negative cosine similarity, ``-sum(a b)`` of normalized targets and predictions.

    Args:
        axis: the axis of the vectors.
    """

    row = "cosine_similarity"
    _not_in_config = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = whole("CosineSimilarity", "axis", axis)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; an axis of -1, as in Keras, is left out."""
        axis = {} if self.axis == -1 else {"axis": self.axis}
        return {**super().get_config(), **axis}


@function_of(CosineSimilarity)
def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[np.float32]:
    """Negative cosine similarity, ``-sum(a b)`` of normalized targets and predictions."""
    return CosineSimilarity(axis).call(y_true, y_pred)
