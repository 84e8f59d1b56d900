"""Regression metrics: error measures and the coefficient of determination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.errors import warn
from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import expected, one_of, whole
from cdl.metrics.core_metric import CompiledMetric, ElementMetric, Tally
from cdl.metrics.metric import Mean, registry

Array = NDArray[Any]


@registry.add("mse", "MSE")
@with_defaults(name="mean_squared_error")
class MeanSquaredError(CompiledMetric):
    """Mean squared error, ``(y_true - y_pred)^2``."""

    row = "mean_squared_error"
    _direction = "down"


@registry.add()
@with_defaults(name="root_mean_squared_error")
class RootMeanSquaredError(ElementMetric):
    """Root mean squared error: ``sqrt(mean((y_true - y_pred)^2))`` over all batches."""

    row = "mean_squared_error"
    _direction = "down"
    heeds_masks = False

    @staticmethod
    def finish(total: float, count: float) -> float:
        """The root of the mean."""
        return float(np.sqrt(Mean.finish(total, count)))


@registry.add("mae", "MAE")
@with_defaults(name="mean_absolute_error")
class MeanAbsoluteError(CompiledMetric):
    """Mean absolute error, ``|y_true - y_pred|``."""

    row = "mean_absolute_error"
    _direction = "down"


@registry.add()
class R2Score(Tally):
    """Coefficient of determination, ``1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2)``.

    Predictions and targets have shape (n, outputs).

    Args:
        class_aggregation: what becomes of the outputs' scores: None leaves them, "uniform_average"
            is their mean, "variance_weighted_average" that by the targets' variances.
        num_regressors: how many independent variables the score is adjusted for; 0 for none.

    Raises:
        ValueError: an invalid argument.
    """

    _direction = "up"
    row = "r2_score"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if np.dtype(self.dtype).kind != "f":
            raise expected("R2Score", "dtype", "a float", dtype)
        kinds = (None, "uniform_average", "variance_weighted_average")
        self.class_aggregation = one_of("R2Score", "class_aggregation", class_aggregation, kinds)
        self.num_regressors = whole("R2Score", "num_regressors", num_regressors)
        if num_regressors < 0:
            raise expected("R2Score", "num_regressors", "an int >= 0", num_regressors)
        self.num_samples = self.add_variable((), "zeros", name="num_samples")
        self._outputs: int | None = None

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check the shape of predictions; the first one makes the variables."""
        if len(shape) != 1 or self._outputs not in (None, *shape):
            raise ValueError(
                f"R2Score: y_pred must have shape (n, {self._outputs or 'outputs'}), "
                f"got {(None, *shape)}"
            )
        if self._outputs is None:
            self._outputs = shape[0]
            self.squared_sum = self.add_variable(shape, "zeros", name="squared_sum")
            self.sum = self.add_variable(shape, "zeros", name="sum")
            self.total_mse = self.add_variable(shape, "zeros", name="residual")
            self.count = self.add_variable(shape, "zeros", name="count")

    def sums(self, state: Array) -> Sequence[Array]:
        sums, squares, errors, weights = state[:-1].reshape(4, -1)
        return [state[-1], squares, sums, errors, weights]

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        y, p = self.of_one_shape(y_true, y_pred)
        self.check_shape(p.shape[1:])
        if sample_weight is not None and np.ndim(sample_weight) == 1:
            sample_weight = np.reshape(sample_weight, (-1, 1))
        self.add(y, p, self.weights_for(sample_weight, p.shape))

    def result(self) -> Any:
        """The score so far: a number, or one an output."""
        if self._outputs is None:
            raise ValueError("R2Score: no result before the first batch")
        count, squares, sums, errors, weights = (
            variable.numpy().astype(np.float64) for variable in self.variables
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            total = squares - sums * (sums / weights)
            raw = 1 - errors / total
        score = np.where(np.isinf(raw), 0.0, raw)
        if self.class_aggregation == "uniform_average":
            score = score.mean()
        elif self.class_aggregation == "variance_weighted_average":
            score = (total * score).sum() / total.sum()
        score = self._adjusted(score, float(count))
        return np.float32(score) if np.ndim(score) == 0 else score.astype(np.float32)

    def _adjusted(self, score: Any, n: float) -> Any:
        p = self.num_regressors
        if p == 0:
            return score
        if p >= n - 1:
            warn(
                f"R2Score: {p} num_regressors need more than {p + 1} targets to adjust the score "
                f"for, got {math.trunc(n)}: it is not adjusted"
            )
            return score
        return 1 - (1 - score) * (n - 1) / (n - p - 1)
