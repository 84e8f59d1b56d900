"""Correlation metrics: cosine similarity, Pearson's and Lin's coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import described_by, with_defaults
from cdl._common.validation import axes
from cdl.losses import rowwise
from cdl.losses.loss import as_array
from cdl.metrics.core_metric import CompiledMetric
from cdl.metrics.metric import registry


class AlongAxis(CompiledMetric):
    """Base of correlation metrics with an `axis`; the core computes those of the last one.

    Args:
        axis: the one that a line runs along: the columns of each sample, unless it is 0.
    """

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = axes(type(self).__name__, "axis", axis)
        self.in_core = self.axis == -1

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The value of each line."""
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        axis: Any = self.axis
        y, p = rowwise.last_axis(owner, axis, *rowwise.aligned(owner, "values", y, p))
        return rowwise.values_of(self.op, self.row, y, p, self.parameters())


@registry.add()
@with_defaults(name="cosine_similarity")
class CosineSimilarity(AlongAxis):
    """Mean cosine similarity, ``sum(y_true y_pred) / (|y_true| |y_pred|)``, from -1 to 1.

    Args:
        axis: the one that vectors lie along.
    """

    row = "cosine_similarity"
    _direction = "up"
    _not_in_config = ("axis",)


@registry.add()
@with_defaults(name="pearson_correlation")
class PearsonCorrelation(AlongAxis):
    """Mean Pearson correlation, ``covariance / (deviation of y_true * deviation of y_pred)``."""

    row = "pearson_correlation"
    _direction = "up"


@registry.add()
@with_defaults(name="concordance_correlation")
class ConcordanceCorrelation(AlongAxis):
    """Mean of Lin's concordance, ``2 covariance / (variances + (difference of means)^2)``."""

    row = "concordance_correlation"
    _direction = "up"


def pearson_correlation(
    y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1
) -> NDArray[np.float32]:
    """Pearson correlation coefficient of each line along an axis.

    Args:
        y_true: targets.
        y_pred: predictions.
        axis: the axis of the formula; the last one.
    """
    return PearsonCorrelation(axis=axis).call(y_true, y_pred)


@described_by(pearson_correlation)
def concordance_correlation(
    y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1
) -> NDArray[np.float32]:
    """Lin's concordance correlation coefficient of each line along an axis."""
    return ConcordanceCorrelation(axis=axis).call(y_true, y_pred)
