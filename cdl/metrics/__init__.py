"""Metrics: values that judge a model's predictions and are shown while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from cdl import losses
from cdl._common.overriding import is_users
from cdl._common.public_names import publish
from cdl.compat import short_names
from cdl.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import class_of
from cdl.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from cdl.metrics.auc import AUC
from cdl.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from cdl.metrics.core_metric import is_compiled as is_compiled
from cdl.metrics.correlation import (
    ConcordanceCorrelation,
    CosineSimilarity,
    PearsonCorrelation,
    concordance_correlation,
    pearson_correlation,
)
from cdl.metrics.f_score import F1Score, FBetaScore
from cdl.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from cdl.metrics.loss_metrics import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsolutePercentageError,
    MeanOfLoss,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from cdl.metrics.metric import Mean, MeanMetricWrapper, Metric, Sum, name_of, registry
from cdl.metrics.rate_at_rate import (
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from cdl.metrics.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)
from cdl.metrics.traced_metric import traced
from cdl.metrics.traced_metric import with_states as with_states

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
__getattr__ = short_names(__name__)  # mse and its like, of Keras 2

_accuracies: dict[str, type[Metric]] = {
    "binary": BinaryAccuracy,
    "sparse_categorical": SparseCategoricalAccuracy,
    "categorical": CategoricalAccuracy,
}


def resolve(
    identifier: Any,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    traces: bool = True,
) -> Metric:
    """The Metric of an identifier (name, function or object) for given target and output shapes.

    It is named as the identifier was written, or after the function that it is.

    Args:
        identifier: a name, a config, a Metric or a function; "accuracy" and "acc" are the accuracy
            that fits the shapes.
        y_shape: shape of the targets, batch axis included.
        output_shape: shape of the predictions, batch axis included.
        traces: whether a function of the user's is traced, if it can be.

    Raises:
        ValueError: nothing that a metric can be made of.
    """
    if identifier is None:
        raise registry.not_one(identifier)
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in ("accuracy", "acc"):
        return _accuracies[losses.kind_of_targets(y_shape, output_shape)](name=name)
    metric = get(identifier)
    if isinstance(metric, Metric):
        metric.name = name or metric.name
        return metric
    name = getattr(metric, "name", None) or name_of(metric)
    loss = class_of(metric)
    if loss is losses.CosineSimilarity or name not in registry.names():
        compiled = loss() if loss is not None else None  # a loss that is no metric by itself
        if isinstance(compiled, CompiledLoss):
            return MeanOfLoss(compiled, name)
    elif isinstance(metric, FunctionType) and not is_users(metric):
        shared: Metric = registry.find(name)(name=name)  # a function that a class stands for
        return shared
    mean = MeanMetricWrapper(metric, name=name)
    return traced(mean, y_shape, output_shape) if traces else mean


publish(globals())
